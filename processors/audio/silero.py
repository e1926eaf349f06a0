"""Where a clip is spoken in, by silero-vad (MIT; its weights are in the package)."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

WINDOW_SAMPLES = 512
"""What the model takes at 16 kHz."""
CURVE_RATE_HZ = 10.0


@dataclass(frozen=True)
class Options:
    """threshold: least probability of a 32 ms window that is speech (silero-vad's default)."""

    threshold: float = 0.5


class Silero(Processor):
    """Spans of speech. A silent clip has none; a clip without a sound track gives None."""

    version = 2
    reads = Reads(audio_rate_hz=16_000)
    Options = Options
    columns = (
        Column(name="speech_share", kind="float", low=0.0, high=1.0, source="silero-vad 6.2"),
        Column(name="speech_spans", kind="json", unit="s", source="silero-vad 6.2; list of [start, end]"),
        Column(name="speech_curve", kind="curve", low=0.0, high=1.0, rate_hz=CURVE_RATE_HZ,
               source="silero-vad 6.2; its probability that the 32 ms around each time hold speech"),
    )  # fmt: skip

    def load(self, device: str) -> None:
        # Imported here, as importing silero_vad sets torch's thread count for the whole process.
        n_threads = torch.get_num_threads()
        import silero_vad

        torch.set_num_threads(n_threads)
        self._timestamps = silero_vad.get_speech_timestamps
        with warnings.catch_warnings():
            # The package reads its TorchScript file in ways that torch and Python are about to give up.
            warnings.simplefilter("ignore")
            # On the CPU whatever the device: 0.3 M parameters, one 32 ms window after the other.
            self._model: Any = silero_vad.load_silero_vad()
        self._digest = sha256((files("silero_vad") / "data" / "silero_vad.jit").read_bytes()).hexdigest()

    def weights(self) -> dict[str, str]:
        return {f"silero-vad {version('silero-vad')}": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip) for clip in clips]

    def _measured(self, clip: DecodedClip) -> Row:
        if clip.audio is None:
            return {"speech_share": None, "speech_spans": None, "speech_curve": None}
        duration_s = len(clip.audio) / clip.audio_rate_hz
        padded = np.pad(clip.audio, (0, max(0, WINDOW_SAMPLES - len(clip.audio))))
        listener = _Listener(self._model)
        spans = self._timestamps(
            torch.from_numpy(padded), listener, threshold=self.options.threshold, sampling_rate=clip.audio_rate_hz
        )
        spans_s = [[min(span[edge] / clip.audio_rate_hz, duration_s) for edge in ("start", "end")] for span in spans]
        spoken_s = sum(end - start for start, end in spans_s)
        return {
            "speech_share": min(1.0, spoken_s / duration_s),
            "speech_spans": spans_s,
            "speech_curve": _curve(listener.probabilities, duration_s, clip.audio_rate_hz),
        }


class _Listener:
    """The model, keeping what it says of each window: silero-vad's own function gives spans only."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.reset_states = model.reset_states
        self.probabilities: list[float] = []

    def __call__(self, window: torch.Tensor, rate_hz: int) -> torch.Tensor:
        probability: torch.Tensor = self._model(window, rate_hz)
        self.probabilities.append(probability.item())
        return probability


def _curve(probabilities: list[float], duration_s: float, rate_hz: int) -> list[float]:
    """Of the window that holds each point of the curve."""
    times_s = np.arange(max(1, round(duration_s * CURVE_RATE_HZ))) / CURVE_RATE_HZ
    windows = np.minimum(times_s * rate_hz // WINDOW_SAMPLES, len(probabilities) - 1).astype(int)
    return [probabilities[window] for window in windows]
