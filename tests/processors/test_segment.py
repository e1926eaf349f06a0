"""Videos in, clips with their files out: what the rows say is what the files hold, picture by picture."""

import itertools
import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from processors.decode import CURVE_RATE_HZ, SAMPLE_RATE_HZ, read_samples
from processors.segment.clip import SegmentedClip
from processors.segment.reading import SegmentedVideo
from processors.segment.recipe import SegmentRecipe
from processors.segment.run import Segmenter
from store.errors import InputError, SettingsError
from store.records import clip_id
from tests.processors.made_footage import (
    click,
    footage,
    number_of,
    numbered,
    read_back,
    scene,
    tone,
    with_sound,
    write_video,
)

QUICK = SegmentRecipe(detectors=("histogram",))


def segment(path: Path, recipe: SegmentRecipe = QUICK) -> SegmentedVideo:
    out = path.parent / f"{path.stem}_clips"
    out.mkdir(exist_ok=True)
    return Segmenter(recipe).load("cpu").segment(path, "v" * 64, out)


def times_ms(video: SegmentedVideo) -> list[tuple[int, int]]:
    return [tuple(round(pts * Fraction(*c.time_base) * 1000) for pts in (c.start_pts, c.end_pts)) for c in video.clips]


def shown_numbers(clip: SegmentedClip) -> list[int]:
    return [number_of(luma) for luma in read_back(clip.media_path)[0]]


def expected_numbers(clip: SegmentedClip, pts_ms: list[int]) -> list[int]:
    """By definition: at tick k the latest source picture whose time is not after start + k / fps."""
    time_base, fps = Fraction(*clip.time_base), Fraction(*clip.fps)
    ticks = math.ceil((clip.end_pts - clip.start_pts) * time_base * fps)
    shown = []
    for tick in range(ticks):
        now_ms = (clip.start_pts * time_base + tick / fps) * 1000
        shown.append(max(i for i, at in enumerate(pts_ms) if at <= now_ms))
    return shown


@pytest.fixture(scope="module")
def three_shots(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("three") / "three_shots.mp4"
    return write_video(path, footage(40, 55, 35), sounds=[(click(5.2, 2.0), 0.0, True)])


@pytest.fixture(scope="module")
def cut(three_shots) -> SegmentedVideo:
    return segment(three_shots)


def test_clips_start_and_end_at_the_cuts(cut):
    assert times_ms(cut) == [(0, 1600), (1600, 3800), (3800, 5200)]
    assert [clip.shot for clip in cut.clips] == [0, 1, 2]
    assert len(cut.shots) == 3


def test_every_picture_of_a_clip_is_the_one_its_row_promises(cut):
    pts_ms = [40 * i for i in range(130)]
    for clip in cut.clips:
        assert shown_numbers(clip) == expected_numbers(clip, pts_ms)
        assert clip.n_frames == len(expected_numbers(clip, pts_ms))


def test_clips_have_a_constant_rate_and_the_wanted_format(cut):
    _, times, _ = read_back(cut.clips[0].media_path)
    assert times == [Fraction(i, 24) for i in range(len(times))]
    with av.open(str(cut.clips[0].media_path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        context = video.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 640, 352)
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert (audio.codec_context.name, audio.codec_context.sample_rate) == ("aac", 48_000)


def test_media_can_be_played_before_it_is_all_there(cut):
    data = cut.clips[0].media_path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_clip_ids_come_from_video_span_and_recipe(cut):
    clip = cut.clips[1]
    assert clip.clip_id == clip_id("v" * 64, clip.start_pts, clip.end_pts, cut.recipe)
    assert clip.media_path.name == f"{clip.clip_id}.mp4"


def test_a_sound_stays_where_it_was_within_5_ms(cut):
    clip = cut.clips[1]
    _, _, sound = read_back(clip.media_path)
    at_s = np.argmax(np.abs(sound)) / 48_000
    assert at_s == pytest.approx(2.0 - 1.6, abs=0.005)
    pack = read_samples(clip.samples_path.read_bytes(), clip.clip_id)
    assert np.argmax(np.abs(pack.audio)) / 16_000 == pytest.approx(2.0 - 1.6, abs=0.005)


def test_the_same_input_gives_the_same_strips_and_samples(three_shots, cut, tmp_path):
    again = Segmenter(QUICK, decode_threads=1).load("cpu").segment(three_shots, "v" * 64, tmp_path)
    assert [clip.clip_id for clip in again.clips] == [clip.clip_id for clip in cut.clips]
    for kind in ("strip_path", "samples_path"):
        for one, other in zip(cut.clips, again.clips, strict=True):
            assert getattr(one, kind).read_bytes() == getattr(other, kind).read_bytes()


def test_another_recipe_gives_other_ids(three_shots, cut):
    assert (
        segment(three_shots, SegmentRecipe(detectors=("histogram",), crf=23)).clips[0].clip_id != cut.clips[0].clip_id
    )


def test_a_sample_pack_shows_the_clip_at_its_rate(cut):
    clip = cut.clips[1]
    pack = read_samples(clip.samples_path.read_bytes(), clip.clip_id)
    assert pack.duration_s == 2.2
    assert pack.frame_times_s.tolist() == [i / SAMPLE_RATE_HZ for i in range(9)]
    numbers = [number_of(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in pack.frames_rgb]
    assert numbers == [40 + int(time * 25) for time in pack.frame_times_s]
    assert len(pack.audio) == round(2.2 * 16_000)
    assert [len(curve.values) for curve in pack.curves.values()] == [22, 22]
    assert {curve.rate_hz for curve in pack.curves.values()} == {CURVE_RATE_HZ}


def test_colours_of_a_sample_are_those_of_the_source(cut):
    clip = cut.clips[1]
    pack = read_samples(clip.samples_path.read_bytes(), clip.clip_id)
    size = (pack.frames_rgb.shape[2], pack.frames_rgb.shape[1])
    source = cv2.resize(numbered(scene(1, 40), 40), size, interpolation=cv2.INTER_AREA)
    assert np.abs(pack.frames_rgb[0].astype(int) - source).mean() < 4


def test_a_strip_shows_five_pictures_side_by_side(cut):
    strip = cv2.imread(str(cut.clips[0].strip_path))
    assert strip.shape == (160, 5 * round(640 * 160 / 352), 3)


def test_clips_are_announced_in_order_as_they_are_made(three_shots, cut, tmp_path):
    announced, shares = [], []
    Segmenter(QUICK).load("cpu").segment(three_shots, "v" * 64, tmp_path, announced.append, shares.append)
    assert [clip.clip_id for clip in announced] == [clip.clip_id for clip in cut.clips]
    assert all(clip.media_path.is_file() for clip in announced)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_shot_that_is_too_short_is_dropped_with_its_reason(tmp_path):
    video = segment(write_video(tmp_path / "short.mp4", footage(40, 15, 40)))
    assert times_ms(video) == [(0, 1600), (2200, 3800)]
    assert [d.reason for d in video.dropped] == ["shot of 0.60 s is shorter than the shortest clip (1 s)"]


def test_a_long_still_shot_is_tiled_without_gap_or_overlap(tmp_path):
    still = scene(3, 0, 320, 176)
    video = segment(write_video(tmp_path / "long.mp4", [numbered(still, i) for i in range(25 * 23)]))
    spans = times_ms(video)
    assert spans[0][0] == 0
    assert spans[-1][1] == 23_000
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(spans))
    assert all(1000 <= end - start <= 10_000 for start, end in spans)
    assert len(video.shots) == 1


def test_a_shot_is_split_where_its_content_changes(tmp_path):
    """One shot of 14 s in which a large dark figure comes in, over a second, after 6 s."""
    pictures = []
    for i in range(25 * 14):
        picture = scene(4, 0, 320, 176)
        shift = round(140 * min(max((i - 150) / 25, 0), 1))
        if shift:
            picture[:, :shift] = 30
        pictures.append(picture)
    video = segment(write_video(tmp_path / "enter.mp4", pictures))
    assert len(video.shots) == 1
    assert any(6000 <= end <= 7000 for _, end in times_ms(video))


def test_uneven_picture_times_are_kept(tmp_path):
    pts_ms = np.cumsum(np.random.default_rng(1).choice([20, 33, 40, 100], 100)).tolist()
    pictures = footage(50, 50)
    video = segment(write_video(tmp_path / "uneven.mkv", pictures, pts_ms=pts_ms))
    assert [start for start, _ in times_ms(video)] == [pts_ms[0], pts_ms[50]]
    for clip in video.clips:
        assert shown_numbers(clip) == expected_numbers(clip, pts_ms)


def test_one_picture_held_for_long_makes_clips_too(tmp_path):
    pts_ms = [0, 40, 80, 25_000, 25_040]
    video = segment(write_video(tmp_path / "slides.mkv", [numbered(scene(5, 0), i) for i in range(5)], pts_ms=pts_ms))
    assert times_ms(video)[0][0] == 0
    assert all(end - start <= 10_000 for start, end in times_ms(video))
    assert shown_numbers(video.clips[1]) == expected_numbers(video.clips[1], pts_ms)


def test_footage_of_120_hz_is_read_at_60(tmp_path):
    pts_ms = [round(i * 1000 / 120) for i in range(360)]
    pictures = [numbered(scene(6, 0, 320, 176), i) for i in range(360)]
    video = segment(write_video(tmp_path / "fast.mkv", pictures, pts_ms=pts_ms))
    assert set(shown_numbers(video.clips[0])) <= set(range(0, 360, 2))


def test_a_start_other_than_zero_is_kept(tmp_path):
    pts_ms = [5000 + 40 * i for i in range(60)]
    path = write_video(tmp_path / "late.mkv", footage(60), pts_ms=pts_ms, sounds=[(click(2.4, 1.0), 5.0, True)])
    video = segment(path)
    assert times_ms(video) == [(5000, 7400)]
    assert np.argmax(np.abs(read_back(video.clips[0].media_path)[2])) / 48_000 == pytest.approx(1.0, abs=0.005)


def test_sound_that_starts_late_stays_in_step(tmp_path):
    path = write_video(tmp_path / "late.mkv", footage(75), sounds=[(click(2.0, 0.75), 0.5, True)])
    _, _, sound = read_back(segment(path).clips[0].media_path)
    assert np.argmax(np.abs(sound)) / 48_000 == pytest.approx(1.25, abs=0.005)
    assert len(sound) / 48_000 == pytest.approx(3.0, abs=0.03)


def test_a_video_without_sound_makes_clips_without_sound(tmp_path):
    clip = segment(write_video(tmp_path / "mute.mp4", footage(30))).clips[0]
    assert not clip.has_audio
    assert read_back(clip.media_path)[2] is None
    assert read_samples(clip.samples_path.read_bytes(), clip.clip_id).audio is None


def test_a_clip_after_the_sound_has_ended_has_none(tmp_path):
    path = write_video(tmp_path / "ends.mkv", footage(40, 40), sounds=[(tone(1.2, 440), 0.0, True)])
    assert [clip.has_audio for clip in segment(path).clips] == [True, False]


def test_the_default_sound_track_is_the_one_heard(tmp_path):
    sounds = [(tone(1.2, 300), 0.0, False), (tone(1.2, 900), 0.0, True)]
    video = segment(write_video(tmp_path / "dub.mkv", footage(30), sounds=sounds))
    _, _, sound = read_back(video.clips[0].media_path)
    spectrum = np.abs(np.fft.rfft(sound))
    assert np.argmax(spectrum) * 48_000 / len(sound) == pytest.approx(900, abs=5)


def test_stereo_stays_stereo_and_51_is_mixed_down(tmp_path):
    path = write_video(tmp_path / "mute.mp4", footage(30))
    for layout, expected in (("stereo", 2), ("5.1", 2), ("mono", 1)):
        sounding = with_sound(path, tmp_path / f"{expected}_{layout[0]}.mkv", tone(1.18, 440), layout)
        with av.open(str(segment(sounding).clips[0].media_path)) as container:
            assert container.streams.audio[0].codec_context.layout.nb_channels == expected


@pytest.mark.parametrize("turn", [90, -90, 180])
def test_rotation_is_applied(tmp_path, turn):
    """The picture is stored turned, with a display matrix that turns it back."""
    upright = footage(30, width=352, height=640) if turn != 180 else footage(30)
    stored = [np.ascontiguousarray(np.rot90(picture, -turn // 90)) for picture in upright]
    clip = segment(write_video(tmp_path / "turned.mp4", stored, rotation=turn)).clips[0]
    assert (clip.width, clip.height) == ((640, 352) if turn == 180 else (352, 640))
    assert shown_numbers(clip) == expected_numbers(clip, [40 * i for i in range(30)])


def test_sample_aspect_is_applied(tmp_path):
    """PAL wide screen: 720x576 samples of 64:45 are 1024x576."""
    square = [np.zeros((576, 1024, 3), np.uint8) for _ in range(30)]
    for i, picture in enumerate(square):
        picture[:] = numbered(scene(1, i, 1024, 576), i)
        cv2.circle(picture, (512, 150), 80, (255, 255, 255), -1)
    stored = [cv2.resize(picture, (720, 576), interpolation=cv2.INTER_AREA) for picture in square]
    path = write_video(tmp_path / "pal.mkv", stored, sample_aspect_ratio=Fraction(64, 45))
    clip = segment(path).clips[0]
    assert (clip.width, clip.height) == (640, 352)
    luma = read_back(clip.media_path)[0][0]
    ys, xs = np.nonzero(luma[:140] > 225)
    assert np.ptp(xs) == pytest.approx(np.ptp(ys), abs=3)


@pytest.mark.parametrize(("width", "height"), [(641, 361), (333, 251), (250, 445)])
def test_odd_sizes_work(tmp_path, width, height):
    path = write_video(tmp_path / "odd.mkv", footage(30, width=width, height=height), codec="ffv1")
    clip = segment(path).clips[0]
    assert clip.width % 16 == clip.height % 16 == 0
    assert clip.width <= width
    assert clip.height <= height
    assert shown_numbers(clip) == expected_numbers(clip, [40 * i for i in range(30)])


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv422p10le", "gray", "bgr0", "yuv420p10le"])
def test_other_pixel_formats_come_out_alike(tmp_path, pix_fmt):
    path = write_video(tmp_path / "format.mkv", footage(30), codec="ffv1", pix_fmt=pix_fmt)
    clip = segment(path).clips[0]
    plain = segment(write_video(tmp_path / "plain.mkv", footage(30), codec="ffv1")).clips[0]
    assert shown_numbers(clip) == expected_numbers(clip, [40 * i for i in range(30)])
    ours, theirs = (read_back(c.media_path)[0][0].astype(int) for c in (clip, plain))
    # Grey has no chroma to correct the luma of BT.601 by.
    assert np.abs(ours - theirs).mean() < (8 if pix_fmt == "gray" else 2)


@pytest.mark.parametrize(("transfer", "name"), [(16, "pq"), (18, "hlg")])
def test_hdr_is_brought_to_sdr(tmp_path, transfer, name):
    """A grey card of 26 cd/m2 (38% of both signals, BT.2408) becomes 34% by the BT.709 OETF: luma 16 + 0.34 * 219."""
    path = tmp_path / "hdr.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = transfer, 9, 9, 1
        for _ in range(30):
            frame = av.VideoFrame(640, 360, "yuv420p10le")
            for plane, level in zip(frame.planes, (round((16 + 219 * 0.38) * 4), 512, 512), strict=True):
                plane.update(np.full((plane.height, plane.line_size // 2), level, np.uint16))
            frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, 9, 9, 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    video = segment(path)
    assert video.facts["colour"] == {
        "matrix": "bt2020",
        "full_range": False,
        "transfer": name,
        "primaries": "bt2020",
    }
    luma = read_back(video.clips[0].media_path)[0][10]
    assert luma.mean() == pytest.approx(16 + 0.34 * 219, abs=10)


def test_full_range_is_brought_to_limited(tmp_path):
    black_and_white = np.zeros((360, 640, 3), np.uint8)
    black_and_white[:, 320:] = 255
    path = write_video(tmp_path / "full.mkv", [black_and_white] * 30, pix_fmt="yuvj420p", color_range=2)
    luma = read_back(segment(path).clips[0].media_path)[0][10]
    assert (luma[:, 100].mean(), luma[:, -100].mean()) == pytest.approx((16, 235), abs=2)


def test_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(InputError, match="a video has at least two"):
        segment(write_video(tmp_path / "one.mp4", footage(1)))


def test_a_recipe_that_cannot_work_is_refused():
    with pytest.raises(SettingsError, match="max must be at least twice min"):
        SegmentRecipe(min_clip_s=4, max_clip_s=5)
    with pytest.raises(SettingsError, match="multiples of 32"):
        SegmentRecipe(buckets=((640, 360),))
    with pytest.raises(SettingsError, match="expected histogram, transnet or both"):
        SegmentRecipe(detectors=("guess",))


@pytest.mark.parametrize(
    ("shown", "bucket"),
    [
        ((1920, 1080), (640, 352)),
        ((1080, 1920), (352, 640)),
        ((1080, 1080), (480, 480)),
        ((640, 480), (512, 384)),
        ((1920, 800), (768, 320)),
        ((320, 180), (320, 176)),
        ((160, 120), (256, 192)),
    ],
)
def test_the_bucket_nearest_in_aspect_is_taken_at_half_size_for_small_footage(shown, bucket):
    assert SegmentRecipe().bucket(*shown) == bucket
