"""What is heard, in AudioSet's words: the audio spectrogram transformer (Gong et al. 2021; weights BSD-3-Clause)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import ASTFeatureExtractor, ASTForAudioClassification

from processors.audio.encoder import LEAST_S, SILENT_RMS
from processors.base import NOT_IN_RECIPE, DecodedClip, Failed, Processor, Reads, Row
from processors.pretrained import check_size, model_folder, weights_digest
from store.records import Column

FRAME_S = 0.01
"""Hop of the model's spectrogram."""
N_TAGS = 10
"""Chosen: AudioSet has 527 labels, of which a clip has a few."""


@dataclass(frozen=True)
class Options:
    """model: a folder or a Hugging Face id; size: its hidden size, which is the vector's length."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    size: int = 768


class Ast(Processor):
    """Tags and the vector `sound_events`; None for silence. A clip longer than the model's window is cut evenly."""

    version = 1
    reads = Reads(audio_rate_hz=16_000)
    Options = Options
    max_batch = 8
    half_on_gpu = True

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.columns = (
            Column(name="sound_tags", kind="json", low=0.0, high=1.0, measured=False,
                   source=f"AST (Gong et al. 2021): the {N_TAGS} likeliest AudioSet labels with their probabilities, "
                   "each its highest over the clip; labels do not exclude each other"),
            Column(name="sound_events", kind="vector", low=-1.0, high=1.0, size=options.size, measured=False,
                   source="AST (Gong et al. 2021), what its classifier reads, mean over the clip, unit length"),
        )  # fmt: skip

    def load(self, device: str) -> None:
        folder = model_folder(self.options.model, self.options.revision)
        self._extract = ASTFeatureExtractor.from_pretrained(folder, local_files_only=True)
        model: Any = ASTForAudioClassification.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()
        check_size(self.options.model, self._model.config.hidden_size, self.options.size)
        self._digest = weights_digest(folder)

    def weights(self) -> dict[str, str]:
        return {"ast": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._heard(clip) for clip in clips]

    @torch.inference_mode()
    def _heard(self, clip: DecodedClip) -> Row:
        audio, rate_hz = clip.audio, clip.audio_rate_hz
        if audio is None or len(audio) < LEAST_S * rate_hz or np.sqrt(np.mean(audio**2)) < SILENT_RMS:
            return {"sound_tags": None, "sound_events": None}
        n_parts = -(-len(audio) // round(self._extract.max_length * FRAME_S * rate_hz))
        # Copied: torch warns of arrays that may not be written to.
        parts = [part.copy() for part in np.array_split(audio, n_parts)]
        with torch.autocast("cpu", enabled=False):  # the spectrogram is computed there, in full precision
            values = self._extract(parts, sampling_rate=rate_hz, return_tensors="pt")["input_values"]
        pooled = self._model.audio_spectrogram_transformer(values.to(self._model.device)).pooler_output
        likely = self._model.classifier(pooled).float().sigmoid().amax(dim=0).cpu().numpy()
        best = np.argsort(-likely, kind="stable")[:N_TAGS]
        vector = torch.nn.functional.normalize(pooled.double().mean(dim=0), dim=0)
        return {
            "sound_tags": {self._model.config.id2label[int(label)]: float(likely[label]) for label in best},
            "sound_events": vector.cpu().numpy(),
        }
