"""How much people would like the picture: LAION's aesthetic predictor on CLIP's image embedding."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from processors.base import NOT_IN_RECIPE, DecodedClip, Failed, Processor, Reads, Row
from processors.pretrained import model_folder, weights_digest
from store.records import Column

HIDDEN = (1024, 128, 64, 16, 1)
"""Widths of the head's linear layers: `sac+logos+ava1-l14-linearMSE` of the improved aesthetic predictor
(Schuhmann 2022), which has no activations between them; dropout stands after the first three."""


class AestheticsPredictor(CLIPVisionModelWithProjection):
    """CLIP's image tower with the head beside it, as one set of weights (`layers.*` are the head's names there)."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)
        modules: list[torch.nn.Module] = []
        width = config.projection_dim
        for index, wanted in enumerate(HIDDEN):
            modules.append(torch.nn.Linear(width, wanted))
            if index < 3:
                modules.append(torch.nn.Dropout(0.2))
            width = wanted
        self.layers = torch.nn.Sequential(*modules)
        self.post_init()

    def scores(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """float [N] of pictures float [N, 3, S, S]."""
        embedded = self(pixel_values=pixel_values).image_embeds
        return self.layers(torch.nn.functional.normalize(embedded, dim=1))[:, 0]


@dataclass(frozen=True)
class Options:
    """model: a folder or a Hugging Face id with the weights of CLIP and of the head."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)


class Aesthetic(Processor):
    """Mean score of the frames."""

    version = 1
    reads = Reads(frame_rate_hz=1.0, longest_px=384)
    Options = Options
    max_batch = 8
    columns = (
        Column(name="aesthetic", kind="float", measured=False,
               source="improved aesthetic predictor (Schuhmann 2022) on CLIP ViT-L/14, learned from ratings of 1 to "
               "10; higher is liked better, most pictures lie between 4 and 6.5; mean over frames"),
    )  # fmt: skip

    def load(self, device: str) -> None:
        folder = model_folder(self.options.model, self.options.revision)
        self._preprocess = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = AestheticsPredictor.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()
        self._digest = weights_digest(folder)

    def weights(self) -> dict[str, str]:
        return {"aesthetic": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        # Clip by clip: a clip's frames are a batch, and sums do not depend on the company of other clips.
        return [{"aesthetic": self._score(clip.frames_rgb)} for clip in clips]

    @torch.inference_mode()
    def _score(self, frames_rgb: np.ndarray) -> float:
        pixels = self._preprocess(images=list(frames_rgb), return_tensors="pt")["pixel_values"]
        return float(self._model.scores(pixels.to(self._model.device)).double().mean())
