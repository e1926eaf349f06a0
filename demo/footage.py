"""Footage of its own for `make demo` and the tests, with exact ground truth; nothing of it is a committed file.

Every video is different in form (constant and variable frame rate, rotated like a telephone's, without a sound
track, of a size that no macroblock divides) and holds shots of the kinds in `demo.scenes`, joined by cuts, fades
through black and dissolves. The same seed gives the same bytes.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from demo.scenes import KINDS, Draw
from demo.sound import VOICE_RATE_HZ, make_sound, resample
from store.errors import InputError

SHORTEST_S = 10.0
SHOT_S = 3.75
"""Mean length of a shot; chosen: every video of the demo then holds each kind of shot once."""
VIDEO_S = 22.5
"""Mean length of a video of the demo."""
JOINTS = ("cut", "dissolve", "cut", "fade")
HELD_SOUNDS = ("speech", "music", "noise")
"""Sounds that last for their shot; the others come one after another with pauses."""


@dataclass(frozen=True)
class Form:
    """How a video is written: `size` is (width, height) as displayed, before `rotation_deg` (counter-clockwise)."""

    name: str
    suffix: str
    size: tuple[int, int]
    fps: Fraction
    sound_rate_hz: int | None
    stereo: bool = True
    rotation_deg: int = 0
    variable: bool = False


FORMS = (
    Form("plain", ".mp4", (640, 360), Fraction(25), 48_000),
    Form("variable_rate", ".mkv", (640, 360), Fraction(30), 48_000, variable=True),
    Form("telephone", ".mp4", (360, 640), Fraction(30), 44_100, rotation_deg=-90),
    Form("silent", ".mp4", (640, 360), Fraction(24), None),
    Form("odd_size", ".mp4", (630, 354), Fraction(30_000, 1_001), 22_050, stereo=False),
)


@dataclass(frozen=True)
class Shot:
    """Frames [start_frame, end_frame), ticks [start_pts, end_pts), that show this shot alone; the frames of a fade
    or dissolve belong to no shot. `faces` names those seen from the front."""

    kind: str
    start_frame: int
    end_frame: int
    start_pts: int
    end_pts: int
    faces: tuple[str, ...]


@dataclass(frozen=True)
class Transition:
    """`cut`, `fade` (through black) or `dissolve`: frames [start_frame, end_frame) show it; a cut has none and lies
    before `start_frame`."""

    kind: str
    start_frame: int
    end_frame: int
    start_pts: int
    end_pts: int


@dataclass(frozen=True)
class SoundEvent:
    """One sound of a kind in `demo.sound.SOUNDS`, in seconds of the video; between events there is silence."""

    kind: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class RenderedVideo:
    """A video and what is true of it. Frame i of the file is shown at `frame_pts[i]` ticks of `time_base`;
    `width` and `height` are as displayed."""

    path: Path
    form: str
    time_base: Fraction
    frame_pts: tuple[int, ...]
    width: int
    height: int
    rotation_deg: int
    has_sound: bool
    shots: tuple[Shot, ...]
    transitions: tuple[Transition, ...]
    sounds: tuple[SoundEvent, ...]


@dataclass(frozen=True)
class _Take:
    """A planned shot: ticks [start, end) of the frame clock show it alone, [enter, leave) with its transitions."""

    kind: str
    sound: str | None
    enter: int
    start: int
    end: int
    leave: int
    joint: str
    """The transition that follows it; empty for the last."""


def _plan(form: Form, seconds: float, first_kind: int, rng: np.random.Generator) -> list[_Take]:
    """Shots of about `SHOT_S`, two at least, that fill `seconds`; a transition takes at most 0.6 s and a fifth of a
    mean shot."""
    n_shots = max(2, round(seconds / SHOT_S))
    shares = rng.uniform(0.7, 1.3, n_shots)
    edges = np.round(np.concatenate([[0], np.cumsum(shares / shares.sum())]) * seconds * float(form.fps)).astype(int)
    half = int(min(0.3, 0.1 * seconds / n_shots) * form.fps)
    joints = [JOINTS[(first_kind + k) % len(JOINTS)] for k in range(n_shots - 1)]
    width = [0, *(0 if joint == "cut" else half for joint in joints), 0]
    joints.append("")
    names = list(KINDS)
    takes = []
    for k in range(n_shots):
        kind = names[(first_kind + k) % len(names)]
        sounds = KINDS[kind].sounds
        a, b = int(edges[k]), int(edges[k + 1])
        sound = sounds[int(rng.integers(len(sounds)))] if form.sound_rate_hz else None
        takes.append(_Take(kind, sound, a - width[k], a + width[k], b - width[k + 1], b + width[k + 1], joints[k]))
    return takes


def _sound(takes: list[_Take], fps: Fraction, rng: np.random.Generator) -> tuple[np.ndarray, list[SoundEvent]]:
    """The sound track, float32 [N] at `VOICE_RATE_HZ`, and its events."""
    track = np.zeros(round(takes[-1].leave / fps * VOICE_RATE_HZ), np.float32)
    events = []
    for take in takes:
        at_s, end_s = float(take.start / fps) + 0.1, float(take.end / fps) - 0.1
        while take.sound and end_s - at_s > 0.4:
            longest = end_s - at_s
            length_s = longest if take.sound in HELD_SOUNDS else min(longest, float(rng.uniform(1.0, 2.0)))
            wave = make_sound(take.sound, length_s, rng)
            first = round(at_s * VOICE_RATE_HZ)
            track[first : first + len(wave)] = wave[: len(track) - first]
            events.append(SoundEvent(take.sound, first / VOICE_RATE_HZ, (first + len(wave)) / VOICE_RATE_HZ))
            at_s += length_s + float(rng.uniform(0.25, 0.5))
    return track, events


def _loudness(track: np.ndarray, n_ticks: int, fps: Fraction) -> np.ndarray:
    """How loud the track is at each frame, float64 [n_ticks] in [0, 1]; 1 at four fifths of its loudest."""
    step = VOICE_RATE_HZ / float(fps)
    power = np.concatenate([[0.0], np.cumsum(track.astype(np.float64) ** 2)])
    edges = np.clip(np.round(np.arange(n_ticks + 1) * step).astype(int), 0, len(track))
    level = np.sqrt(np.maximum(np.diff(power[edges]), 0) / step)
    return np.clip(level / max(0.8 * float(level.max()), 1e-6), 0, 1)


def _frames(form: Form, takes: list[_Take], draws: list[Draw], loudness: np.ndarray) -> Iterator[np.ndarray]:
    """Every tick's frame as displayed, uint8 BGR [H, W, 3]: shots, and their mixtures in transitions."""

    def shown(k: int, tick: int) -> np.ndarray:
        return draws[k](float((tick - takes[k].enter) / form.fps), float(loudness[tick]))

    for k, take in enumerate(takes):
        for tick in range(take.start, take.end):
            yield shown(k, tick)
        length = take.leave - take.end
        for tick in range(take.end, take.leave):
            share = (tick - take.end + 1) / (length + 1)
            if take.joint == "dissolve":
                yield cv2.addWeighted(shown(k, tick), 1 - share, shown(k + 1, tick), share, 0)
            else:
                one = shown(k, tick) if share < 0.5 else shown(k + 1, tick)
                yield cv2.convertScaleAbs(one, alpha=abs(1 - 2 * share))


def write_video(path: Path, form: Form, frames: Iterator[tuple[int, np.ndarray]], track: np.ndarray) -> None:
    """Write (tick, frame) pairs, uint8 BGR, and the track, float32 mono at `VOICE_RATE_HZ`, as H.264 and AAC."""
    wide, high = form.size if form.rotation_deg % 180 == 0 else form.size[::-1]
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=form.fps, options={"preset": "superfast", "crf": "20"})
        video.width, video.height, video.pix_fmt = wide, high, "yuv420p"
        video.codec_context.time_base = 1 / form.fps
        if form.rotation_deg:
            video.set_display_rotation(form.rotation_deg)
        sound = None
        if form.sound_rate_hz:
            sound = container.add_stream("aac", rate=form.sound_rate_hz, layout="stereo" if form.stereo else "mono")
            wave = np.repeat(resample(track, form.sound_rate_hz)[None], 1 + form.stereo, axis=0)
            whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave), "fltp", sound.layout.name)
            whole.sample_rate, whole.pts = form.sound_rate_hz, 0
            sound_packets = sound.encode(whole) + sound.encode(None)
            container.mux(sound_packets)
        for tick, picture in frames:
            turned = np.rot90(picture, -form.rotation_deg // 90) if form.rotation_deg else picture
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(turned), "bgr24")
            frame.pts, frame.time_base = tick, 1 / form.fps
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def _frame_pts(path: Path) -> tuple[Fraction, tuple[int, ...], int]:
    """Time base, ticks of every frame in the order shown, and the end of the last, as the container has them."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        packets = sorted((p.pts, p.duration or 0) for p in container.demux(stream) if p.pts is not None)
        return Fraction(stream.time_base or 0), tuple(pts for pts, _ in packets), sum(packets[-1])


def _kept_ticks(form: Form, takes: list[_Take], rng: np.random.Generator) -> np.ndarray:
    """bool [ticks]: which ticks have a frame. A variable rate drops about a third, never two in a row, and none
    where a shot begins."""
    kept = np.ones(takes[-1].leave, bool)
    if form.variable:
        kept[2:-1:2] = rng.random(len(kept[2:-1:2])) > 0.65
        kept[[take.start for take in takes]] = True
    return kept


def render_video(folder: Path, name: str, form: Form, seconds: float, first_kind: int, seed: int) -> RenderedVideo:
    """Render one video into `folder`; its kinds of shot begin at `first_kind` in the order of `KINDS`."""
    rng = np.random.default_rng([seed, first_kind])
    takes = _plan(form, seconds, first_kind, rng)
    track, sounds = _sound(takes, form.fps, rng)
    opened = [KINDS[take.kind].open(form.size, float((take.leave - take.enter) / form.fps), rng) for take in takes]
    kept = _kept_ticks(form, takes, rng)
    frames = _frames(form, takes, [draw for draw, _ in opened], _loudness(track, len(kept), form.fps))
    path = folder / f"{name}{form.suffix}"
    write_video(path, form, ((tick, frame) for tick, frame in enumerate(frames) if kept[tick]), track)

    time_base, pts, end_pts = _frame_pts(path)
    frame_of = np.concatenate([[0], np.cumsum(kept)]).tolist()
    pts_of = [*pts, end_pts]

    def span(start: int, end: int) -> tuple[int, int, int, int]:
        return frame_of[start], frame_of[end], pts_of[frame_of[start]], pts_of[frame_of[end]]

    shots = [Shot(t.kind, *span(t.start, t.end), faces) for t, (_, faces) in zip(takes, opened, strict=True)]
    joints = [Transition(t.joint, *span(t.end, t.leave)) for t in takes[:-1]]
    return RenderedVideo(
        path=path, form=form.name, time_base=time_base, frame_pts=pts, width=form.size[0], height=form.size[1],
        rotation_deg=form.rotation_deg, has_sound=form.sound_rate_hz is not None,
        shots=tuple(shots), transitions=tuple(joints), sounds=tuple(sounds),
    )  # fmt: skip


def render_footage(
    folder: Path, seconds: float, seed: int = 0, told: Callable[[int, int], None] = lambda done, of: None
) -> list[RenderedVideo]:
    """Render about `seconds` of footage into `folder`: one video of every form, and for more than
    two minutes more plain ones.

    Args:
        told: called with (videos done, videos in all) as each is done.

    Raises:
        InputError: `seconds` is less than `SHORTEST_S`, too little for two shots in every form.
    """
    if seconds < SHORTEST_S:
        raise InputError(f"footage of {seconds} s is too short: {SHORTEST_S} s at least, for two shots in every form")
    folder.mkdir(parents=True, exist_ok=True)
    n_videos = max(len(FORMS), round(seconds / VIDEO_S))
    forms = [FORMS[k] if k < len(FORMS) else FORMS[0] for k in range(n_videos)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [
            pool.submit(render_video, folder, f"{k:02d}_{form.name}", form, seconds / n_videos, k, seed)
            for k, form in enumerate(forms)
        ]
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            told(done, n_videos)
        return [job.result() for job in jobs]
