"""What a clip shows, as SigLIP 2 sees it: an embedding in the space of texts, so that words find clips.

The texts' half is `processors.vision.siglip_text`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import SiglipImageProcessor, SiglipVisionModel

from processors.base import NOT_IN_RECIPE, DecodedClip, Failed, Processor, Reads, Row
from processors.pretrained import check_size, model_folder, weights_digest
from store.records import Column


class ImageTower(SiglipVisionModel):
    """The image half of a `SiglipModel`'s weights; the other half is passed over without a warning."""

    _keys_to_ignore_on_load_unexpected = [r"^text_model\.", r"^logit_"]  # noqa: RUF012  as transformers declares it


@dataclass(frozen=True)
class Options:
    """model: a folder or a Hugging Face id; size: its hidden size, which is the vector's length."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    size: int = 768


class Siglip(Processor):
    """The vector `visual_text`.

    Temporal pooling: each frame's embedding, to unit length; their mean over the frames, to unit length again. The dot
    product of a text with it is then the mean of its dot products with the frames, up to a factor of the clip's: what
    is seen longer counts more, and a text about one moment of a clip still finds it.
    """

    version = 1
    reads = Reads(frame_rate_hz=2.0, longest_px=384)
    Options = Options
    max_batch = 8
    half_on_gpu = True

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.columns = (
            Column(name="visual_text", kind="vector", low=-1.0, high=1.0, size=options.size, measured=False,
                   source="SigLIP 2 (Tschannen et al. 2025), image embeddings of frames at 2 Hz, each of unit length, "
                   "mean, unit length; in one space with its text embeddings"),
        )  # fmt: skip

    def load(self, device: str) -> None:
        folder = model_folder(self.options.model, self.options.revision)
        self._preprocess = SiglipImageProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = ImageTower.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()
        check_size(self.options.model, self._model.config.hidden_size, self.options.size)
        self._digest = weights_digest(folder)

    def weights(self) -> dict[str, str]:
        return {"siglip": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        # Clip by clip: a clip's frames are a batch, and sums do not depend on the company of other clips.
        return [{"visual_text": self._embedded(clip.frames_rgb)} for clip in clips]

    @torch.inference_mode()
    def _embedded(self, frames_rgb: np.ndarray) -> np.ndarray:
        pixels = self._preprocess(images=list(frames_rgb), return_tensors="pt")["pixel_values"]
        pooled = self._model(pixel_values=pixels.to(self._model.device)).pooler_output
        each = torch.nn.functional.normalize(pooled.double(), dim=1)
        return torch.nn.functional.normalize(each.mean(dim=0), dim=0).cpu().numpy()
