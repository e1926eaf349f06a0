"""How a voice sounds, as wav2vec 2.0 hears it."""

from collections.abc import Sequence
from typing import Any

from transformers import Wav2Vec2Model

from processors.audio import encoder
from processors.base import DecodedClip, Failed, Processor, Reads, Row

Options = encoder.Options


class Wav2Vec2(Processor):
    """The vector `voice`; None for silence."""

    version = 2
    reads = Reads(audio_rate_hz=16_000)
    Options = Options
    max_batch = 8
    half_on_gpu = True

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.columns = (encoder.vector_column("voice", options, "wav2vec 2.0 (Baevski et al. 2020)"),)

    def load(self, device: str) -> None:
        self._encoder = encoder.Encoder(Wav2Vec2Model, self.options, device)

    def weights(self) -> dict[str, str]:
        return {"wav2vec2": self._encoder.digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [{"voice": self._encoder.embedded(clip)} for clip in clips]
