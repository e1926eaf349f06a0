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


@dataclass(frozen=True)
class Options:
    """threshold: least probability of a 32 ms window that is speech (silero-vad's default)."""

    threshold: float = 0.5


class Silero(Processor):
    """Spans of speech. A silent clip has none; a clip without a sound track gives None."""

    version = 1
    reads = Reads(audio_rate_hz=16_000)
    Options = Options
    columns = (
        Column(name="speech_share", kind="float", low=0.0, high=1.0, source="silero-vad 6.2"),
        Column(name="speech_spans", kind="json", unit="s", source="silero-vad 6.2; list of [start, end]"),
    )

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
            return {"speech_share": None, "speech_spans": None}
        duration_s = len(clip.audio) / clip.audio_rate_hz
        padded = np.pad(clip.audio, (0, max(0, WINDOW_SAMPLES - len(clip.audio))))
        spans = self._timestamps(
            torch.from_numpy(padded), self._model, threshold=self.options.threshold, sampling_rate=clip.audio_rate_hz
        )
        spans_s = [[min(span[edge] / clip.audio_rate_hz, duration_s) for edge in ("start", "end")] for span in spans]
        spoken_s = sum(end - start for start, end in spans_s)
        return {"speech_share": min(1.0, spoken_s / duration_s), "speech_spans": spans_s}
