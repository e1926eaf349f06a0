"""Whether a picture is not safe for work, by an image classifier's opinion."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import ViTForImageClassification, ViTImageProcessor

from processors.base import NOT_IN_RECIPE, DecodedClip, Failed, Processor, Reads, Row
from processors.pretrained import model_folder, weights_digest
from store.errors import SettingsError
from store.records import Column


@dataclass(frozen=True)
class Options:
    """model: a folder or a Hugging Face id of a ViT classifier; label: the class that is meant."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    label: str = "nsfw"


class Nsfw(Processor):
    """The class's probability in the frame where it is greatest: one frame is enough."""

    version = 1
    reads = Reads(frame_rate_hz=1.0, longest_px=384)
    Options = Options
    max_batch = 8
    columns = (
        Column(name="nsfw", kind="float", low=0.0, high=1.0, measured=False,
               source="ViT classifier's probability that a frame is not safe for work, greatest of the frames; the "
               "model card of Falconsai/nsfw_image_detection tells what it learned from"),
    )  # fmt: skip

    def load(self, device: str) -> None:
        folder = model_folder(self.options.model, self.options.revision)
        self._preprocess = ViTImageProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = ViTForImageClassification.from_pretrained(folder, local_files_only=True)
        labels = {name: index for index, name in model.config.id2label.items()}
        if self.options.label not in labels:
            raise SettingsError(
                f"model {self.options.model!r} has no class {self.options.label!r}; its classes are {', '.join(labels)}"
            )
        self._class = labels[self.options.label]
        self._model = model.to(device).eval()
        self._digest = weights_digest(folder)

    def weights(self) -> dict[str, str]:
        return {"nsfw": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        # Clip by clip: a clip's frames are a batch, and sums do not depend on the company of other clips.
        return [{"nsfw": self._probability(clip.frames_rgb)} for clip in clips]

    @torch.inference_mode()
    def _probability(self, frames_rgb: np.ndarray) -> float:
        pixels = self._preprocess(images=list(frames_rgb), return_tensors="pt")["pixel_values"]
        logits = self._model(pixel_values=pixels.to(self._model.device)).logits
        return float(torch.softmax(logits.double(), dim=1)[:, self._class].max())
