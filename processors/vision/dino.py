"""What a clip looks like to a model that learned from pictures alone: for clustering and likeness.

DINOv2 is used and not DINOv3, whose weights are given out only to those who sign Meta's DINOv3 licence; a folder of
DINOv3 weights is of another class and is refused by its configuration.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import BitImageProcessor, Dinov2Model

from processors.base import NOT_IN_RECIPE, DecodedClip, Failed, Processor, Reads, Row
from processors.pretrained import check_size, model_folder, model_type, weights_digest
from store.errors import SettingsError
from store.records import Column


@dataclass(frozen=True)
class Options:
    """model: a folder or a Hugging Face id; size: its hidden size, which is the vector's length."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    size: int = 768


class Dino(Processor):
    """The vector `visual_dino`, and how far it drifts.

    A frame is shown whole and in its proportions, at as many pixels as the square that the model was trained on (its
    preprocessing would cut off the sides: 56% of a 16:9 frame).

    Temporal pooling: each frame's class token, normalised by the model's last layer norm and to unit length; their mean
    over the frames, to unit length again. A clip is one shot, so its frames agree and the mean is a clean picture of
    what they share. What changes is a number of its own beside it, and no part of the vector: clips of one scene stay
    together whether the camera moves or not.
    """

    version = 1
    reads = Reads(frame_rate_hz=2.0, longest_px=384)
    Options = Options
    max_batch = 8

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.columns = (
            Column(name="visual_dino", kind="vector", low=-1.0, high=1.0, size=options.size, measured=False,
                   source="DINOv2 (Oquab et al. 2023), class tokens of frames at 2 Hz, each of unit length, mean, unit "
                   "length"),
            Column(name="visual_drift", kind="float", low=0.0, high=2.0, measured=False,
                   source="cosine distance of the first and the last frame's class token of DINOv2; 0 nothing changed; "
                   "None with one frame"),
        )  # fmt: skip

    def load(self, device: str) -> None:
        folder = model_folder(self.options.model, self.options.revision)
        if (found := model_type(folder)) != "dinov2":
            raise SettingsError(f"model {self.options.model!r} is a {found!r}; vision.dino reads a 'dinov2'")
        self._preprocess = BitImageProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = Dinov2Model.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()
        check_size(self.options.model, self._model.config.hidden_size, self.options.size)
        self._digest = weights_digest(folder)

    def weights(self) -> dict[str, str]:
        return {"dinov2": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        # Clip by clip: a clip's frames are a batch, and sums do not depend on the company of other clips.
        return [self._pooled(self._frames(clip.frames_rgb)) for clip in clips]

    @torch.inference_mode()
    def _frames(self, frames_rgb: np.ndarray) -> torch.Tensor:
        """Class tokens of unit length, float64 [T, size]."""
        height, width = frames_rgb.shape[1:3]
        size = fitting_size(height, width, self._preprocess.crop_size["height"], self._model.config.patch_size)
        shown = self._preprocess(images=list(frames_rgb), size=size, do_center_crop=False, return_tensors="pt")
        pixels = shown["pixel_values"]
        pooled = self._model(pixel_values=pixels.to(self._model.device)).pooler_output
        return torch.nn.functional.normalize(pooled.double(), dim=1).cpu()

    @staticmethod
    def _pooled(each: torch.Tensor) -> Row:
        drift = min(2.0, max(0.0, 1.0 - float(each[0] @ each[-1]))) if len(each) > 1 else None
        return {
            "visual_dino": torch.nn.functional.normalize(each.mean(dim=0), dim=0).numpy(),
            "visual_drift": drift,
        }


def fitting_size(height: int, width: int, square_px: int, patch_px: int) -> dict[str, int]:
    """Height and width in whole patches, of the proportions given and about the area of the square; each at least one
    patch.
    """
    scale = square_px / math.sqrt(height * width)
    height, width = (max(1, round(side * scale / patch_px)) * patch_px for side in (height, width))
    return {"height": height, "width": width}
