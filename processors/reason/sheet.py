"""What an engine is shown of a clip: frames where things change, and the measurements as a sheet of short lines."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

import cv2
import numpy as np

from processors.base import DecodedClip
from processors.reason.engine import Picture
from processors.reason.trace import Fact

SHEET_VERSION = 1
"""A change asks about every clip again."""
LONGEST_PX = 768
JPEG_QUALITY = 90
EVEN_SHARE = 0.4
"""Of the frames that are spread evenly; the others go where things change. Chosen: of eight frames three are even."""
_LOOK_PX = 32
_CURVE_POINTS = 12

FACTS: Mapping[Fact, tuple[str, ...]] = {
    "people": ("person_count", "people_tracks", "identities"),
    "faces": ("face_count", "face_area", "face_tracks"),
    "objects": ("object_tracks", "text_share", "subtitle_share"),
    "pose": ("posture", "pose_class", "body_tension", "body_expansion", "body_tension_curve"),
    "interaction": ("people_distance", "people_overlap", "people_facing"),
    "motion": ("motion_mean", "motion_curve", "motion_peak", "subject_motion_mean"),
    "camera": ("camera_motion",),
    "sound": ("loudness_db", "loudness_curve", "sound_shares", "sound_tags", "onset_times_s", "spectral_centroid_hz"),
    "voice": ("speech_share", "speech_spans", "voiced_share", "pitch_hz", "pitch_curve", "sounding_tracks"),
    "affect": (
        "arousal",
        "arousal_curve",
        "valence",
        "valence_curve",
        "expression",
        "face_tension",
        "affect_disagreement",
    ),
    "look": ("brightness", "colourfulness", "hue_deg", "contrast"),
}
"""Each line of the sheet, and the columns that it tells."""
assert set(FACTS) == set(get_args(Fact))


def facts_of(columns: Iterable[str]) -> tuple[Fact, ...]:
    """The lines that tell these columns, in the sheet's order."""
    wanted = set(columns)
    return tuple(name for name, told in FACTS.items() if wanted & set(told))


def write_sheet(values: Mapping[str, Any], duration_s: float) -> str:
    """The measured columns as lines `name: what was measured`; a line of which nothing was measured is left out.

    Curves are told as their mean over twelfths of the clip. Numbers keep three significant digits.
    """
    lines = [f"length: {duration_s:.2f} s"]
    for name, columns in FACTS.items():
        parts = [
            told for column in columns if (value := values.get(column)) is not None and (told := _told(column, value))
        ]
        if parts:
            lines.append(f"{name}: {'; '.join(parts)}")
    return "\n".join(lines)


def choose_frames(clip: DecodedClip, most: int) -> np.ndarray:
    """Indices int64 [N] of at most `most` of the clip's sampled frames, ascending.

    Time is warped by how much changes in it: every stretch of the clip gets frames by its share of the total change,
    of picture (mean difference of 32 px thumbnails) and of loudness, with an even share beside it. The first and the
    last frame are among them.
    """
    n = len(clip.frames_rgb)
    if n <= most:
        return np.arange(n)
    small = np.stack(
        [cv2.resize(frame, (_LOOK_PX, _LOOK_PX), interpolation=cv2.INTER_AREA) for frame in clip.frames_rgb]
    )
    seen = np.abs(np.diff(small.astype(np.float32), axis=0)).mean(axis=(1, 2, 3)) / 255.0
    steps_s = np.diff(clip.frame_times_s)
    change = _share(seen) + _share(_heard(clip))
    weight = EVEN_SHARE * _share(steps_s) + (1.0 - EVEN_SHARE) * (_share(change) if change.any() else _share(steps_s))
    warped = np.concatenate([[0.0], np.cumsum(weight)]) / weight.sum()
    return np.unique(np.abs(warped[:, None] - np.linspace(0.0, 1.0, most)[None]).argmin(axis=0))


def show_frames(clip: DecodedClip, most: int) -> tuple[Picture, ...]:
    """The chosen frames as pictures of at most `LONGEST_PX`."""
    pictures = []
    for number, index in enumerate(choose_frames(clip, most), start=1):
        frame = clip.frames_rgb[index]
        scale = min(1.0, LONGEST_PX / max(frame.shape[:2]))
        if scale < 1.0:
            frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        _, jpeg = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        pictures.append(Picture(number, float(clip.frame_times_s[index]), jpeg.tobytes()))
    return tuple(pictures)


def _share(amounts: np.ndarray) -> np.ndarray:
    total = float(amounts.sum())
    return amounts / total if total > 0.0 else np.zeros(len(amounts))


def _heard(clip: DecodedClip) -> np.ndarray:
    """How much the level of the sound changes between frames, float64 [T - 1]; zeros without sound."""
    if clip.audio is None or not len(clip.audio):
        return np.zeros(len(clip.frame_times_s) - 1)
    edges = np.clip((clip.frame_times_s * clip.audio_rate_hz).astype(int), 0, len(clip.audio) - 1)
    power = np.add.reduceat(clip.audio.astype(np.float64) ** 2, edges) / np.diff([*edges, len(clip.audio)]).clip(1)
    return np.abs(np.diff(10.0 * np.log10(power + 1e-8)))


# --- how a column is told ------------------------------------------------------------------------------------


def _told(column: str, value: Any) -> str:
    name = column.replace("_", " ")
    if column in _TOLD:
        return f"{name} {told}" if (told := _TOLD[column](value)) else ""
    if isinstance(value, str | Sequence | Mapping) and not value:
        return ""
    if isinstance(value, str):
        return f"{name} {value}"
    if isinstance(value, dict):
        return f"{name} " + ", ".join(f"{one} {_number(share)}" for one, share in value.items())
    if isinstance(value, Sequence):
        return f"{name} {_curve(value)}"
    return f"{name} {_number(value)}"


def _number(value: float) -> str:
    """Three significant digits, and no exponent for thousands."""
    return f"{float(f'{value:.3g}'):g}"


def _curve(points: Sequence[float | None]) -> str:
    """Means over equal parts; a part without a value is a dash."""
    parts = np.array_split(
        np.array([math.nan if p is None else p for p in points], float), min(_CURVE_POINTS, len(points))
    )
    means = [float(np.nanmean(part)) if np.isfinite(part).any() else None for part in parts]
    return " ".join("-" if mean is None else _number(mean) for mean in means)


def _tracks(tracks: Sequence[Mapping[str, Any]]) -> str:
    """Each track with its label, when it is seen and where its centre goes."""
    told = []
    for track in tracks[:8]:
        first, last = track["boxes_xyxy"][0], track["boxes_xyxy"][-1]
        label = f"{track['label']} " if "label" in track else ""
        told.append(
            f"{label}#{track['track']} {track['times_s'][0]:.1f}-{track['times_s'][-1]:.1f} s"
            f" from {_centre(first)} to {_centre(last)}"
        )
    return ", ".join(told)


def _centre(box_xyxy: Sequence[float]) -> str:
    left, top, right, bottom = box_xyxy
    return f"({(left + right) / 2:.2f} {(top + bottom) / 2:.2f})"


def _spans(spans_s: Sequence[Sequence[float]]) -> str:
    return ", ".join(f"{start_s:.1f}-{end_s:.1f} s" for start_s, end_s in spans_s[:8])


def _times(times_s: Sequence[float]) -> str:
    return ", ".join(f"{time_s:.1f} s" for time_s in times_s[:12])


def _sounding(tracks: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"face #{one['track']} {one['probability']:.2f}" for one in tracks[:4])


def _identities(links: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"face #{one['track']} is {one['identity']}" for one in links[:8] if one.get("identity"))


_TOLD: Mapping[str, Callable[[Any], str]] = {
    "people_tracks": _tracks,
    "face_tracks": _tracks,
    "object_tracks": _tracks,
    "speech_spans": _spans,
    "onset_times_s": _times,
    "sounding_tracks": _sounding,
    "identities": _identities,
}
