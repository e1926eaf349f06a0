"""Runs a profile's processors over batches of decoded clips."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torchaudio.functional import resample

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.profile import Profile
from store.errors import InputError
from store.records import Column, digest

MEASURING_FAULTS = (ArithmeticError, LookupError, ValueError, RuntimeError, MemoryError, cv2.error, InputError)
"""What a clip can do to a processor (odd shapes, empty arrays, too large for the device). Anything else, such
as a missing model or a mistake in our own types, ends the run."""

TORCH_THREADS = 1
"""Chosen: these nets are small. On two busy cores a second thread made MTCNN 5 times and silero-vad up to 100
times slower, on idle ones hardly faster; run one process per core instead."""
SIGNIFICANT_DIGITS = 6
"""Chosen: more than any measurement here is exact to, few enough to keep records small."""


@dataclass(frozen=True)
class Measured:
    """All that a profile measured of one clip.

    values: every column of the profile, JSON-ready; None where nothing was found or its processor failed.
    recipes: processor id to recipe, which covers the recipes of the columns that it reads.
    failed: processor id to reason.
    """

    clip_id: str
    values: Row
    recipes: dict[str, str]
    failed: dict[str, str]


class Engine:
    """A profile on a device. `load` once, then `run` batches of any size."""

    def __init__(self, profile: Profile, device: str = "cpu") -> None:
        self.profile = profile
        self.device = device

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns that `run` gives for every clip."""
        return self.profile.columns

    def load(self) -> None:
        """Load every model.

        Raises:
            ModelUnavailable: weights are missing; the message says how to get them.
        """
        for processor in self.profile.processors:
            processor.load(self.device)

    @property
    def recipes(self) -> dict[str, str]:
        """Processor id to a hash of its own recipe and of those whose columns it reads; known after `load`."""
        recipes: dict[str, str] = {}
        giver = {column.name: p.id for p in self.profile.processors for column in p.columns}
        for processor in self.profile.processors:
            read = sorted({giver[name] for name in processor.reads.inputs if name in giver})
            recipes[processor.id] = digest([processor.recipe, [recipes[other] for other in read]])[:16]
        return recipes

    def run(self, clips: Sequence[DecodedClip]) -> list[Measured]:
        """Measure each clip; results in the order given, whatever the order they were computed in.

        A clip id stands for one content, so an id that is given twice is measured once.
        """
        with _torch_threads(TORCH_THREADS):
            return self._run(clips)

    def _run(self, clips: Sequence[DecodedClip]) -> list[Measured]:
        unique = {clip.clip_id: clip for clip in clips}
        rows: dict[str, Row] = {clip_id: {} for clip_id in unique}
        failed: dict[str, dict[str, str]] = {clip_id: {} for clip_id in unique}
        views = _Views()
        for processor in self.profile.processors:
            for batch in _batches(list(unique.values()), processor.max_batch):
                inputs = [{name: rows[clip.clip_id].get(name) for name in processor.reads.inputs} for clip in batch]
                results = _measure(processor, [views.of(clip, processor.reads) for clip in batch], inputs)
                for clip, result in zip(batch, results, strict=True):
                    if isinstance(result, Failed):
                        failed[clip.clip_id][processor.id] = result.reason
                        result = dict.fromkeys(column.name for column in processor.columns)
                    rows[clip.clip_id] |= result
        recipes = self.recipes
        return [Measured(clip.clip_id, dict(rows[clip.clip_id]), recipes, failed[clip.clip_id]) for clip in clips]


@contextmanager
def _torch_threads(n_threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batches(clips: list[DecodedClip], size: int) -> Iterable[list[DecodedClip]]:
    return (clips[start : start + size] for start in range(0, len(clips), size))


def _measure(processor: Processor, clips: list[DecodedClip], inputs: list[Row]) -> list[Row | Failed]:
    """Results for each clip; where the batch fails as a whole, each clip is tried alone."""
    try:
        results = processor.process(clips, inputs)
        if len(results) != len(clips):
            raise ValueError(f"{processor.id} gave {len(results)} results for {len(clips)} clips")
        return [r if isinstance(r, Failed) else _checked_row(r, processor.columns) for r in results]
    except MEASURING_FAULTS as error:
        if len(clips) == 1:
            return [Failed(f"{type(error).__name__}: {error}"[:500])]
    return [_measure(processor, [clip], [row])[0] for clip, row in zip(clips, inputs, strict=True)]


class _Views:
    """What processors ask of clips, made once for all that ask the same."""

    def __init__(self) -> None:
        self._frames: dict[tuple[str, float, int | None], tuple[np.ndarray, np.ndarray]] = {}
        self._sound: dict[tuple[str, int], np.ndarray] = {}

    def of(self, clip: DecodedClip, reads: Reads) -> DecodedClip:
        """The clip with frames and sound as `reads` asks; without those that it does not ask for."""
        frames, times_s = clip.frames_rgb[:0], clip.frame_times_s[:0]
        if reads.frame_rate_hz is not None:
            key = (clip.clip_id, reads.frame_rate_hz, reads.longest_px)
            if key not in self._frames:
                picked = thinned(clip.frame_times_s, reads.frame_rate_hz)
                self._frames[key] = shrunk(clip.frames_rgb[picked], reads.longest_px), clip.frame_times_s[picked]
            frames, times_s = self._frames[key]
        audio, audio_rate_hz = None, clip.audio_rate_hz
        if reads.audio_rate_hz is not None and clip.audio is not None and len(clip.audio):
            audio_rate_hz = reads.audio_rate_hz
            if (clip.clip_id, audio_rate_hz) not in self._sound:
                self._sound[clip.clip_id, audio_rate_hz] = resampled(clip.audio, clip.audio_rate_hz, audio_rate_hz)
            audio = self._sound[clip.clip_id, audio_rate_hz]
        return replace(clip, frames_rgb=frames, frame_times_s=times_s, audio=audio, audio_rate_hz=audio_rate_hz)


def thinned(times_s: np.ndarray, rate_hz: float) -> np.ndarray:
    """Indices of the first frame in each period of 1 / `rate_hz` seconds.

    Args:
        times_s: float64 [T], ascending; gaps and a varying rate are fine.
    """
    # 1 ms of tolerance: container time stamps are rounded to milliseconds.
    periods = np.floor((times_s - times_s[0] + 1e-3) * rate_hz)
    return np.flatnonzero(np.diff(periods, prepend=-1) > 0)


def shrunk(frames_rgb: np.ndarray, longest_px: int | None) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] with the longest side at most `longest_px`; never enlarged."""
    height, width = frames_rgb.shape[1:3]
    if longest_px is None or max(height, width) <= longest_px:
        return frames_rgb
    scale = longest_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames_rgb])


def resampled(audio: np.ndarray, rate_hz: int, wanted_hz: int) -> np.ndarray:
    """Sound float32 [N] at `wanted_hz`."""
    if rate_hz == wanted_hz:
        return audio
    return resample(torch.tensor(audio), rate_hz, wanted_hz).numpy()


def _checked_row(row: Row, columns: Sequence[Column]) -> Row:
    """The row with plain, rounded values.

    Raises:
        ValueError: the row lacks or adds columns, or holds a value that the column does not allow.
    """
    names = {column.name for column in columns}
    if set(row) != names:
        raise ValueError(f"row has columns {sorted(row)}, declared are {sorted(names)}")
    return {column.name: _checked_value(row[column.name], column) for column in columns}


def _checked_value(value: Any, column: Column) -> Any:
    value = _plain(value)
    if value is None:
        return None
    expected = {"float": float, "int": int, "text": str, "vector": list, "curve": list}.get(column.kind)
    if expected is not None and type(value) is not expected:
        raise ValueError(f"column {column.name} is a {column.kind}, got {value!r:.80}")
    if column.kind == "vector" and len(value) != column.size:
        raise ValueError(f"column {column.name} has {column.size} numbers, got {len(value)}")
    if column.kind in ("float", "int", "vector", "curve"):
        numbers = [v for v in (value if isinstance(value, list) else [value]) if v is not None]
        low = -np.inf if column.low is None else column.low
        high = np.inf if column.high is None else column.high
        if outside := [v for v in numbers if not low <= v <= high]:
            raise ValueError(f"column {column.name} keeps to [{low:g}, {high:g}], got {outside[0]}")
    return value


def _plain(value: Any) -> Any:
    """The value in Python's own types, every float rounded to `SIGNIFICANT_DIGITS`.

    Raises:
        ValueError: NaN or infinity.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no measurement; missing is None")
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
