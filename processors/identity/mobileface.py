"""Who is who by the face, on small machines: MobileFaceNet (Chen et al. 2018) as an ONNX file."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from processors.base import NOT_IN_RECIPE
from processors.identity.faces import FaceIdentity, Sight, face_columns
from processors.models.lock import file_sha256
from processors.pretrained import model_file

SIZE_PX = 112
TEMPLATE_PX = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where eyes, nose and corners of the mouth of a face lie that nets are trained on (ArcFace, Deng et al. 2019)."""
MEAN_RGB, STD_RGB = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
"""ImageNet's, with which the net was trained."""


@dataclass(frozen=True)
class Options:
    """model: ONNX file, or a folder that holds one."""

    model: str = field(metadata=NOT_IN_RECIPE)


class Mobileface(FaceIdentity):
    """128 numbers per face with the published weights; as many as the file gives with others."""

    version = 1
    Options = Options
    model_files = ("*.onnx",)
    columns = face_columns("MobileFaceNet (Chen et al. 2018), ONNX, faces aligned by five points")
    even_cosine = 0.38
    nats_per_cosine = 22.0
    """Chosen on shared/media. Of 3,655 pairs of press photographs, logistic regression puts them at 0.22 and 28 (96.8%
    right); but two men who look alike before one webcam reach 0.57, and one man in two shots 0.78: so that those stay
    apart for a person to judge and these are linked, much more is asked for."""

    def load(self, device: str) -> None:
        path = model_file(self.options.model, None, "*.onnx")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        # On the CPU whatever the device: a million parameters.
        self._session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._name, self._digest = path.name, file_sha256(Path(path))

    def weights(self) -> dict[str, str]:
        return {self._name: self._digest}

    def picture(self, sight: Sight) -> np.ndarray:
        height, width = sight.frame_rgb.shape[:2]
        turned = similarity(sight.landmarks_xy * (width, height), TEMPLATE_PX)
        face = cv2.warpAffine(sight.frame_rgb, turned, (SIZE_PX, SIZE_PX), flags=cv2.INTER_LINEAR)
        return ((face.astype(np.float32) / 255.0 - MEAN_RGB) / STD_RGB).transpose(2, 0, 1)

    def vectors(self, pictures: np.ndarray) -> np.ndarray:
        # The file takes one picture at a time.
        return np.concatenate([self._session.run(None, {self._input: one[None]})[0] for one in pictures])


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Turn, scale and shift, float64 [2, 3], that bring points float64 [N, 2] nearest to their targets (least squares;
    Umeyama 1991, here without a mirror, by complex numbers). Points that all coincide are only shifted."""
    middle, goal = points.mean(axis=0), targets.mean(axis=0)
    here = (points - middle) @ (1.0, 1.0j)
    there = (targets - goal) @ (1.0, 1.0j)
    spread = float((np.abs(here) ** 2).sum())
    turn = complex((here.conj() * there).sum() / spread) if spread > 1e-9 else 1.0 + 0.0j
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([matrix, goal - matrix @ middle])
