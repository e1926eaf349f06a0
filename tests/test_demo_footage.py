"""The rendered footage is what its ground truth says: frame by frame, and in its sound."""

import itertools
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from silero_vad import get_speech_timestamps, load_silero_vad

from demo.footage import FORMS, VIDEO_S, RenderedVideo, Shot, render_footage, render_video
from demo.scenes import KINDS
from demo.sound import SOUNDS, VOICE_RATE_HZ, make_sound
from store.errors import InputError


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    told: list[tuple[int, int]] = []
    rendered = render_footage(tmp_path_factory.mktemp("footage"), 10, 1, lambda done, of: told.append((done, of)))
    assert told == [(k, len(FORMS)) for k in range(1, len(FORMS) + 1)]
    return rendered


@pytest.fixture(scope="module")
def frames_of(videos: list[RenderedVideo]) -> dict[Path, list[np.ndarray]]:
    """Every frame as displayed, uint8 RGB."""
    shown = {}
    for video in videos:
        with av.open(video.path) as container:
            frames = [(f.to_ndarray(format="rgb24"), f.rotation) for f in container.decode(video=0)]
        shown[video.path] = [np.ascontiguousarray(np.rot90(rgb, rotation // 90)) for rgb, rotation in frames]
    return shown


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def transitions(videos: list[RenderedVideo], kind: str) -> list[tuple[RenderedVideo, int, int]]:
    found = [(v, t.start_frame, t.end_frame) for v in videos for t in v.transitions if t.kind == kind]
    assert found, f"the footage has no {kind}"
    return found


def test_every_frame_lies_at_the_tick_that_the_truth_says(videos: list[RenderedVideo]) -> None:
    for video in videos:
        with av.open(video.path) as container:
            assert container.streams.video[0].time_base == video.time_base
            assert tuple(frame.pts for frame in container.decode(video=0)) == video.frame_pts


def test_shots_and_transitions_cover_every_frame_once(videos: list[RenderedVideo]) -> None:
    for video in videos:
        shots = [(shot.start_frame, shot.end_frame) for shot in video.shots]
        spans = sorted(shots + [(joint.start_frame, joint.end_frame) for joint in video.transitions])
        assert spans[0][0] == 0
        assert spans[-1][1] == len(video.frame_pts)
        assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))
        for shot in video.shots:
            assert shot.start_pts == video.frame_pts[shot.start_frame]
            assert shot.end_frame == len(video.frame_pts) or shot.end_pts == video.frame_pts[shot.end_frame]


def test_every_form_is_what_its_name_says(videos: list[RenderedVideo], frames_of: dict[Path, list[np.ndarray]]) -> None:
    by_form = {video.form: video for video in videos}
    assert set(by_form) == {form.name for form in FORMS}
    steps = {name: set(np.diff(video.frame_pts).tolist()) for name, video in by_form.items()}
    assert len(steps["plain"]) == 1
    assert max(steps["variable_rate"]) > 1.5 * min(steps["variable_rate"])
    with av.open(by_form["silent"].path) as container:
        assert not container.streams.audio
    with av.open(by_form["telephone"].path) as container:
        coded = container.streams.video[0]
        assert (coded.width, coded.height) == (640, 360)
    assert by_form["odd_size"].width % 16
    assert by_form["odd_size"].height % 16
    for video in videos:
        assert frames_of[video.path][0].shape == (video.height, video.width, 3)


def test_a_cut_changes_the_picture_between_two_frames(
    videos: list[RenderedVideo], frames_of: dict[Path, list[np.ndarray]]
) -> None:
    for video, at, end in transitions(videos, "cut"):
        frames = frames_of[video.path]
        assert at == end
        steps = [difference(frames[k], frames[k + 1]) for k in range(at - 5, at + 4)]
        assert steps[4] > 2 * max(steps[:4] + steps[5:])


def test_a_fade_passes_through_black(videos: list[RenderedVideo], frames_of: dict[Path, list[np.ndarray]]) -> None:
    for video, start, end in transitions(videos, "fade"):
        light = [float(frame.mean()) for frame in frames_of[video.path][start - 1 : end + 1]]
        assert min(light) < 0.4 * min(light[0], light[-1])


def test_a_dissolve_mixes_both_shots(videos: list[RenderedVideo], frames_of: dict[Path, list[np.ndarray]]) -> None:
    for video, start, end in transitions(videos, "dissolve"):
        frames = frames_of[video.path]
        before, after, middle = frames[start - 1], frames[end], frames[(start + end) // 2]
        apart = difference(before, after)
        assert difference(before, middle) < 0.85 * apart
        assert difference(middle, after) < 0.85 * apart


def test_sound_is_heard_where_the_truth_says_and_nowhere_else(videos: list[RenderedVideo]) -> None:
    for video in (v for v in videos if v.has_sound):
        with av.open(video.path) as container:
            frames = list(container.decode(audio=0))
        rate_hz = frames[0].sample_rate
        wave = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        sounding = np.zeros(len(wave), bool)
        for event in video.sounds:
            part = wave[round(event.start_s * rate_hz) : round(event.end_s * rate_hz)]
            assert np.sqrt(np.mean(part**2)) > 0.01, event
            sounding[round((event.start_s - 0.03) * rate_hz) : round((event.end_s + 0.03) * rate_hz)] = True
        assert video.sounds
        assert np.abs(wave[~sounding]).max() < 0.01


def test_faces_are_found_in_the_shots_that_have_them_and_in_no_other(
    videos: list[RenderedVideo], frames_of: dict[Path, list[np.ndarray]]
) -> None:
    detector = MTCNN(keep_all=True, device="cpu")

    def n_faces(video: RenderedVideo, shot: Shot) -> int:
        frame = frames_of[video.path][(shot.start_frame + shot.end_frame) // 2]
        small = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        _, probabilities = detector.detect(small)
        return sum(p is not None and p > 0.9 for p in probabilities)

    counts = {
        (video.form, shot.kind): (n_faces(video, shot), len(shot.faces)) for video in videos for shot in video.shots
    }
    assert any(true == 1 for _, true in counts.values())
    assert all(found == true for found, true in counts.values()), counts


def test_speech_is_taken_for_speech_and_wordless_sound_is_not() -> None:
    detector = load_silero_vad()

    def spoken_share(kind: str, seconds: float) -> float:
        waves = [torch.from_numpy(make_sound(kind, seconds, np.random.default_rng(seed))) for seed in range(4)]
        spans = [s for wave in waves for s in get_speech_timestamps(wave, detector, sampling_rate=VOICE_RATE_HZ)]
        return float(sum(span["end"] - span["start"] for span in spans) / sum(len(wave) for wave in waves))

    assert spoken_share("speech", 3.0) > 0.6
    assert all(spoken_share(kind, 1.5) < 0.3 for kind in ("laugh", "sob", "moan"))
    assert all(spoken_share(kind, 3.0) == 0 for kind in ("music", "noise", "sigh"))


@pytest.mark.parametrize("kind", SOUNDS)
def test_a_sound_has_its_length_and_range_and_begins_and_ends_silent(kind: str) -> None:
    wave = make_sound(kind, 1.5, np.random.default_rng(3))
    assert wave.dtype == np.float32
    assert wave.shape == (24_000,)
    assert 0.05 < np.abs(wave).max() <= 1
    assert wave[0] == wave[-1] == 0


def test_lively_kinds_move_more_than_calm_ones() -> None:
    def movement(kind: str) -> float:
        draw, _ = KINDS[kind].open((320, 180), 3.0, np.random.default_rng(0))
        grey = [cv2.cvtColor(draw(1.5 + k / 25, 0.5), cv2.COLOR_BGR2GRAY) for k in range(5)]
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        return float(
            np.mean(
                [
                    np.abs(flow.calc(a, b, np.zeros((*a.shape, 2), np.float32))).mean()
                    for a, b in itertools.pairwise(grey)
                ]
            )
        )

    lively, calm = (movement("outburst"), movement("dance")), (movement("talk"), movement("still"), movement("night"))
    assert min(lively) > 1.5 * max(calm)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def rendered(folder: str, seed: int) -> bytes:
        (tmp_path / folder).mkdir()
        return render_video(tmp_path / folder, "one", FORMS[0], 2.0, 0, seed).path.read_bytes()

    first = rendered("a", 0)
    assert rendered("b", 0) == first
    assert rendered("c", 1) != first


def test_a_video_of_the_demo_holds_every_kind_of_shot(tmp_path: Path) -> None:
    video = render_video(tmp_path, "long", FORMS[3], VIDEO_S, 0, 0)
    assert {shot.kind for shot in video.shots} == set(KINDS)
    assert Fraction(video.shots[-1].end_pts) * video.time_base == pytest.approx(VIDEO_S, abs=0.05)


def test_footage_too_short_for_its_shots_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"3 s is too short: 10\.0 s at least"):
        render_footage(tmp_path, 3)
