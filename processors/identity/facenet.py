"""Who is who by the face: FaceNet (Schroff et al. 2015), as facenet-pytorch's InceptionResnetV1."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import InceptionResnetV1, extract_face, fixed_image_standardization
from safetensors.torch import load_file

from processors.base import NOT_IN_RECIPE
from processors.identity.faces import FaceIdentity, Sight, face_columns
from processors.pretrained import model_folder, weight_files, weights_digest
from store.errors import ModelUnavailable

SIZE_PX = 160
MARGIN_PX = 14
"""Of the 160, as facenet-pytorch's own evaluation on LFW cuts faces out."""
AT_ONCE = 32
"""Pictures; chosen: 300 MB of working memory."""


@dataclass(frozen=True)
class Options:
    """model: hub id or local folder. revision: pinned commit of the hub id."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)


class Facenet(FaceIdentity):
    """512 numbers per face."""

    version = 1
    Options = Options
    model_files = ("config.json", "*.safetensors")
    columns = face_columns("FaceNet (Schroff et al. 2015), InceptionResnetV1 on VGGFace2, by facenet-pytorch")
    even_cosine = 0.45
    nats_per_cosine = 25.0
    """Not measured here, where the weights are not. Chosen after what is told of these weights on LFW: 99.65% right
    where two photographs are parted at a cosine between 0.4 and 0.5, and one false pair in a thousand near 0.6."""

    def load(self, device: str) -> None:
        folder = model_folder(self.options.model, self.options.revision)
        self._device = device
        self._model = InceptionResnetV1().eval().to(device)
        self._model.load_state_dict(_weights(folder, self._model))
        self._digest = weights_digest(folder)

    def weights(self) -> dict[str, str]:
        return {"InceptionResnetV1": self._digest}

    def picture(self, sight: Sight) -> np.ndarray:
        height, width = sight.frame_rgb.shape[:2]
        box_px = sight.box_xyxy * (width, height, width, height)
        # A box of less than a pixel cannot be cut out.
        box_px[2:] = np.maximum(box_px[2:], np.floor(box_px[:2]) + 1.0)
        return fixed_image_standardization(extract_face(sight.frame_rgb, box_px, SIZE_PX, MARGIN_PX)).numpy()

    @torch.inference_mode()
    def vectors(self, pictures: np.ndarray) -> np.ndarray:
        batches: Sequence[torch.Tensor] = torch.from_numpy(pictures).split(AT_ONCE)
        return torch.cat([self._model(batch.to(self._device)).cpu() for batch in batches]).numpy()


def _weights(folder: Path, model: InceptionResnetV1) -> dict[str, torch.Tensor]:
    """The state that the folder holds, without the classes of the people that it was trained on.

    Raises:
        ModelUnavailable: the folder holds another model.
    """
    (path, *_) = weight_files(folder)
    state = {name: value for name, value in load_file(path).items() if not name.startswith("logits.")}
    if {name: value.shape for name, value in state.items()} != {
        name: value.shape for name, value in model.state_dict().items()
    }:
        raise ModelUnavailable(f"{path} does not hold the weights of facenet-pytorch's InceptionResnetV1")
    return state
