"""Facial expression by DeepFace's model, through the deepface library's PyTorch network.

Serengil and Ozpinar 2021, "HyperExtended LightFace"; a small convolutional net on FER2013. Library and weights are MIT.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cv2
import numpy as np
import torch

from processors.affect.faces import FaceAffect, Reading, placed
from processors.base import NOT_IN_RECIPE
from processors.pretrained import model_file
from processors.state_dict import fill, read_state
from store.records import Column

FILE = "facial_expression_model_weights.pth"


@dataclass(frozen=True)
class Options:
    """model: the file of the weights, a folder that holds it, or a Hugging Face id."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)


class DeepFace(FaceAffect):
    """The column `affect_tracks_deepface`."""

    version = 1
    Options = Options
    model_files = (FILE,)
    model_name = "DeepFace"
    labels = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    """In the order of the library's own: angry, disgust, fear, happy, sad, surprise, neutral."""
    size_px = 48
    margin = 0.0
    """As for mini-Xception, which was trained on the same pictures."""
    columns = (
        Column(name="affect_tracks_deepface", kind="json", measured=False,
               source="DeepFace's expression model on FER2013; list of {track, times_s, valence, arousal, "
               "expression: {label: curve}, model}; valence and arousal in -1..1, the expected place of the expression "
               "after Russell and Mehrabian 1977"),
    )  # fmt: skip

    def load(self, device: str) -> None:
        path = model_file(self.options.model, self.options.revision, FILE)
        # Here, because the library takes half a second to import; and only its network, because what loads its weights
        # goes by the environment variable DEEPFACE_HOME and fetches what is not there.
        from deepface.models.demography.pytorch.Emotion import EmotionModel

        net: Any = EmotionModel()
        fill(net, read_state(path), path)
        self._device = device
        self._net = net.to(device).eval()
        self._digest = sha256(path.read_bytes()).hexdigest()

    def weights(self) -> dict[str, str]:
        return {"deepface expression": self._digest}

    @torch.inference_mode()
    def read(self, faces_rgb: np.ndarray) -> Reading:
        grey = np.stack([cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) for face in faces_rgb])
        pixels = torch.from_numpy(grey[:, None].astype(np.float32) / 255.0)
        return placed(self._net(pixels.to(self._device)).double().cpu().numpy(), self.labels)
