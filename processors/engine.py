"""Runs a profile's processors over batches of decoded clips."""

import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from torchaudio.functional import resample

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.pretrained import check_told_digest
from processors.profile import Profile
from store.errors import InputError, ModelUnavailable
from store.records import Column, digest

log = logging.getLogger(__name__)

MEASURING_FAULTS = (
    *(ArithmeticError, LookupError, ValueError, RuntimeError, MemoryError, cv2.error, InputError),
    *(Fail, InvalidArgument, RuntimeException),
)
"""What a clip can do to a processor (odd shapes, empty arrays, too large for the device). Anything else, such
as a missing model or a mistake in our own types, ends the run."""
OUT_OF_MEMORY = re.compile(r"allocate memory|out of memory|insufficient memory|ALLOC_FAILED", re.IGNORECASE)
"""How torch, onnxruntime, OpenCV, cuDNN and cuBLAS say it; they share no class of error."""

THREADS = 1
"""Chosen: these nets are small. On two busy cores a second thread made MTCNN 5 times and silero-vad up to 100
times slower, on idle ones hardly faster; run one process per core instead."""
ABSENT = "absent"
"""Recipe of an optional processor whose model is not on this machine."""
Timed = Callable[[str, int, float], None]
"""Told a processor's id, the number of clips of a batch, and the seconds that they took."""
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
    """A profile on a device. `load` once, then `run` batches of any size.

    Args:
        device: see `processors.device.choose_device`.
        half: what processors that are `half_on_gpu` compute in (see `processors.device.half_precision`); None: as all
            others do.
        timed: told how long every batch took.

    Attributes:
        absent: id of each optional processor that could not be loaded, to the reason.
    """

    def __init__(
        self, profile: Profile, device: str = "cpu", half: torch.dtype | None = None, timed: Timed | None = None
    ) -> None:
        self.profile = profile
        self.device = device
        self.absent: dict[str, str] = {}
        self._half = half
        self._timed = timed
        self._loaded = False
        self._fits: dict[str, int] = {}
        """Processor id to the largest batch that memory may still hold, where it once did not hold one."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns that `run` gives for every clip."""
        return self.profile.columns

    def load(self) -> None:
        """Load every model, once; what is optional and cannot be loaded is absent from then on.

        Raises:
            ModelUnavailable: weights are missing or not right; the message says of each how to get it.
        """
        if self._loaded:
            return
        problems = []
        with _threads(THREADS):
            for processor in self.profile.processors:
                try:
                    self._load(processor)
                except ModelUnavailable as error:
                    if processor.id not in self.profile.optional:
                        problems.append(f"{processor.id}: {error}")
                        continue
                    log.warning("%s is absent, as its profile allows; its columns stay empty: %s", processor.id, error)
                    self.absent[processor.id] = str(error)
        if problems:
            raise ModelUnavailable("\n".join(problems))
        self._loaded = True

    def _load(self, processor: Processor) -> None:
        for line in self.profile.models:
            if line.processor == processor.id and line.sha256 is not None:
                check_told_digest(processor.options.model, line.sha256)
        processor.load(self.device)

    @property
    def recipes(self) -> dict[str, str]:
        """Processor id to a hash of its own recipe and of those whose columns it reads; known after `load`."""
        recipes: dict[str, str] = {}
        giver = {column.name: p.id for p in self.profile.processors for column in p.columns}
        for processor in self.profile.processors:
            if processor.id in self.absent:
                recipes[processor.id] = ABSENT
                continue
            read = sorted({giver[name] for name in processor.reads.inputs if name in giver})
            rests_on = [processor.recipe, [recipes[other] for other in read]]
            if self._half is not None and processor.half_on_gpu:
                rests_on.append(str(self._half))
            recipes[processor.id] = digest(rests_on)[:16]
        return recipes

    def run(self, clips: Sequence[DecodedClip]) -> list[Measured]:
        """Measure each clip; results in the order given, whatever the order they were computed in.

        A clip id stands for one content, so an id that is given twice is measured once.
        """
        with _threads(THREADS):
            return self._run(clips)

    def _run(self, clips: Sequence[DecodedClip]) -> list[Measured]:
        unique = {clip.clip_id: clip for clip in clips}
        rows: dict[str, Row] = {clip_id: {} for clip_id in unique}
        failed: dict[str, dict[str, str]] = {clip_id: {} for clip_id in unique}
        views = _Views()
        for processor in self.profile.processors:
            for clip_id, result in self._results(processor, list(unique.values()), rows, views):
                if isinstance(result, Failed):
                    failed[clip_id][processor.id] = result.reason
                    result = dict.fromkeys(column.name for column in processor.columns)
                rows[clip_id] |= result
        recipes = self.recipes
        return [Measured(clip.clip_id, dict(rows[clip.clip_id]), recipes, failed[clip.clip_id]) for clip in clips]

    def _results(
        self, processor: Processor, clips: list[DecodedClip], rows: dict[str, Row], views: "_Views"
    ) -> Iterator[tuple[str, Row | Failed]]:
        """Each clip's id with what the processor says of it, batch by batch."""
        if processor.id in self.absent:
            reason = f"{ABSENT}: {self.absent[processor.id].partition('; ')[0]}"
            yield from ((clip.clip_id, Failed(reason)) for clip in clips)
            return
        while clips:
            size = self._fits.get(processor.id, processor.max_batch)
            batch, clips = clips[:size], clips[size:]
            inputs = [{name: rows[clip.clip_id].get(name) for name in processor.reads.inputs} for clip in batch]
            viewed = [views.of(clip, processor.reads) for clip in batch]
            started_s = time.perf_counter()
            results = self._measure(processor, viewed, inputs)
            if self._timed is not None:
                self._timed(processor.id, len(batch), time.perf_counter() - started_s)
            yield from zip((clip.clip_id for clip in batch), results, strict=True)

    def _measure(self, processor: Processor, clips: list[DecodedClip], inputs: list[Row]) -> list[Row | Failed]:
        """Results for each clip; where the batch fails as a whole, each clip is tried alone.

        A batch that memory does not hold is halved instead, and no larger one is tried again.
        """
        try:
            with self._precision(processor):
                results = processor.process(clips, inputs)
            if len(results) != len(clips):
                raise ValueError(f"{processor.id} gave {len(results)} results for {len(clips)} clips")
            return [r if isinstance(r, Failed) else _checked_row(r, processor.columns) for r in results]
        except MEASURING_FAULTS as error:
            told = f"{type(error).__name__}: {error}"[:500]
            too_large = isinstance(error, MemoryError) or OUT_OF_MEMORY.search(told) is not None
        # From here on the error, and with it what its frames hold of the memory, is gone.
        size = (len(clips) + 1) // 2 if too_large else 1
        if too_large and self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        if len(clips) == 1:
            return [Failed(told)]
        if too_large:
            self._fits[processor.id] = size
            log.warning("%s: memory does not hold %d clips, going on with %d: %s", processor.id, len(clips), size, told)
        parts = [slice(start, start + size) for start in range(0, len(clips), size)]
        return [result for part in parts for result in self._measure(processor, clips[part], inputs[part])]

    def _precision(self, processor: Processor) -> AbstractContextManager[object]:
        if self._half is None or not processor.half_on_gpu:
            return nullcontext()
        return torch.autocast(self.device.partition(":")[0], dtype=self._half)


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    """Bounds the threads of torch and OpenCV."""
    before, before_cv2 = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(n_threads)
    cv2.setNumThreads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(before_cv2)


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
