"""How a voice sounds, as wav2vec 2.0 hears it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

from processors.base import NOT_IN_RECIPE, DecodedClip, Failed, Processor, Reads, Row
from processors.pretrained import check_size, model_folder, weights_digest
from store.records import Column

LEAST_S = 0.1
"""Chosen: the model's receptive field is 25 ms; less than four of them say nothing."""
SILENT_RMS = 10.0 ** (-60.0 / 20.0)
"""Chosen, as in audio.logmel: the feature extractor would amplify silence to full loudness."""


@dataclass(frozen=True)
class Options:
    """model: a folder or a Hugging Face id; size: its hidden size, which is the vector's length."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    size: int = 768


class Wav2Vec2(Processor):
    """The vector `voice`: mean of the last hidden states, of unit length; None for silence."""

    version = 1
    reads = Reads(audio_rate_hz=16_000)
    Options = Options
    max_batch = 8
    half_on_gpu = True

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.columns = (
            Column(name="voice", kind="vector", low=-1.0, high=1.0, size=options.size, measured=False,
                   source="wav2vec 2.0 (Baevski et al. 2020), mean of the last hidden states, unit length"),
        )  # fmt: skip

    def load(self, device: str) -> None:
        folder = model_folder(self.options.model, self.options.revision)
        self._extract = Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
        model: Any = Wav2Vec2Model.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()
        check_size(self.options.model, self._model.config.hidden_size, self.options.size)
        self._digest = weights_digest(folder)

    def weights(self) -> dict[str, str]:
        return {"wav2vec2": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        # Clip by clip: padding to a common length would let one clip change another's numbers.
        return [{"voice": None if clip.audio is None else self._embedded(clip)} for clip in clips]

    @torch.inference_mode()
    def _embedded(self, clip: DecodedClip) -> np.ndarray | None:
        assert clip.audio is not None
        if len(clip.audio) < LEAST_S * clip.audio_rate_hz or np.sqrt(np.mean(clip.audio**2)) < SILENT_RMS:
            return None
        values = self._extract(clip.audio, sampling_rate=clip.audio_rate_hz, return_tensors="pt")["input_values"]
        hidden = self._model(values.to(self._model.device)).last_hidden_state[0]
        return torch.nn.functional.normalize(hidden.double().mean(dim=0), dim=0).cpu().numpy()
