"""How a voice sounds, as HuBERT hears it."""

from collections.abc import Sequence
from typing import Any

from transformers import HubertModel

from processors.audio import encoder
from processors.base import DecodedClip, Failed, Processor, Reads, Row

Options = encoder.Options


class Hubert(Processor):
    """The vector `voice_hubert`; None for silence."""

    version = 1
    reads = Reads(audio_rate_hz=16_000)
    Options = Options
    max_batch = 8
    half_on_gpu = True

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.columns = (encoder.vector_column("voice_hubert", options, "HuBERT (Hsu et al. 2021)"),)

    def load(self, device: str) -> None:
        self._encoder = encoder.Encoder(HubertModel, self.options, device)

    def weights(self) -> dict[str, str]:
        return {"hubert": self._encoder.digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [{"voice_hubert": self._encoder.embedded(clip)} for clip in clips]
