"""Facial expression by mini-Xception, whose weights lie in the package `fer` (MIT; nothing else of it is used).

Arriaga, Valdenegro-Toro and Ploeger 2017, "Real-time convolutional neural networks for emotion and gender
classification": 66% of FER2013's seven expressions, which people name in 65% of the cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch
from torch import Tensor, nn

from processors.affect.faces import FaceAffect, Reading, placed
from store.errors import ModelUnavailable
from store.records import Column

PACKAGE, WEIGHTS = "fer", "fer/data/emotion_model.hdf5"
STEM, WIDTHS = 8, (16, 32, 64, 128)
BATCH_NORM_EPSILON = 1e-3
"""Of Keras, with which it was trained."""


@dataclass(frozen=True)
class Options:
    """None: the weights are those of the package."""


class Xception(FaceAffect):
    """The column `affect_tracks_xception`."""

    version = 1
    Options = Options
    model_name = "mini-Xception"
    labels = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    size_px = 64
    margin = 0.0
    """Chosen on 74 labelled portraits: MTCNN's box as it is gives 46 right (happiness 17 of 21, anger 10 of 12,
    neutral 9 of 18), a tenth less 34, a tenth more 39."""
    columns = (
        Column(name="affect_tracks_xception", kind="json", measured=False,
               source="mini-Xception (Arriaga et al. 2017) on FER2013; list of {track, times_s, valence, arousal, "
               "expression: {label: curve}, model}; valence and arousal in -1..1, the expected place of the expression "
               "after Russell and Mehrabian 1977"),
    )  # fmt: skip

    def load(self, device: str) -> None:
        path = weights_path()
        # On the CPU whatever the device: 57,000 parameters.
        self._net = MiniXception(len(self.labels)).eval()
        self._net.load_state_dict(_read_weights(path, self._net))
        self._digest = sha256(path.read_bytes()).hexdigest()

    def weights(self) -> dict[str, str]:
        return {"fer2013 mini-Xception": self._digest}

    @torch.inference_mode()
    def read(self, faces_rgb: np.ndarray) -> Reading:
        grey = np.stack([cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) for face in faces_rgb])
        pixels = torch.from_numpy(grey[:, None].astype(np.float32) / 127.5 - 1.0)
        return placed(self._net(pixels).double().numpy(), self.labels)


def weights_path() -> Path:
    """Where the package has its weights; the package itself is not imported, as it wants TensorFlow.

    Raises:
        ModelUnavailable: it is not installed.
    """
    try:
        path = Path(str(distribution(PACKAGE).locate_file(WEIGHTS)))
    except PackageNotFoundError as error:
        raise ModelUnavailable(
            f"the package {PACKAGE!r} with mini-Xception's weights is not installed; run `make env`, or leave "
            "affect.xception out of the profile"
        ) from error
    if not path.is_file():
        raise ModelUnavailable(f"{path} is not there; install the package {PACKAGE!r} again")
    return path


class MiniXception(nn.Module):
    """Depthwise separable convolutions with residual ways beside them, then a map of each class, averaged.

    Input: float32 [N, 1, 64, 64] in -1..1. Output: probabilities float32 [N, n_classes].
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolved(1, STEM, 3), nn.ReLU(), *_convolved(STEM, STEM, 3), nn.ReLU())
        self.blocks = nn.Sequential(
            *(_Block(before, width) for before, width in zip((STEM, *WIDTHS), WIDTHS, strict=False))
        )
        self.classes = nn.Conv2d(WIDTHS[-1], n_classes, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.classes(self.blocks(self.stem(pixels)))
        return maps.mean(dim=(2, 3)).softmax(dim=1)


class _Block(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.way = nn.Sequential(*_separated(before, width), nn.ReLU(), *_separated(width, width))
        self.beside = nn.Sequential(*_convolved(before, width, 1, stride=2))

    def forward(self, maps: Tensor) -> Tensor:
        # Keras pads "same" so that the larger half lies right and below, and never with a value that could win.
        side = maps.shape[-1]
        padding = max(0, (-(-side // 2) - 1) * 2 + 3 - side)
        padded = nn.functional.pad(self.way(maps), (padding // 2, -(-padding // 2)) * 2, value=-torch.inf)
        return nn.functional.max_pool2d(padded, 3, stride=2) + self.beside(maps)


def _convolved(before: int, width: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, width, kernel, stride, bias=False)
    return convolution, nn.BatchNorm2d(width, eps=BATCH_NORM_EPSILON)


def _separated(before: int, width: int) -> tuple[nn.Module, ...]:
    depthwise = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
    return depthwise, *_convolved(before, width, 1)


def _read_weights(path: Path, net: MiniXception) -> dict[str, Tensor]:
    """The state of `net` out of the Keras file, whose layers are numbered in the order in which they were made.

    Raises:
        ModelUnavailable: the file is none, or lacks a layer.
    """
    state = net.state_dict()
    try:
        with h5py.File(path) as file:
            found = {name: _layer(file["model_weights"], layer) for name, layer in _layers()}
    except (OSError, KeyError) as error:
        raise ModelUnavailable(
            f"{path} does not hold mini-Xception's weights ({error}); install {PACKAGE!r} again"
        ) from error
    for name, values in found.items():
        for key, value in values.items():
            state[f"{name}.{key}"] = torch.from_numpy(value)
    return state


def _layers() -> list[tuple[str, str]]:
    """(name of a module of ours, name of Keras's layer): in each block Keras made the way beside first."""
    named = []
    for i in range(2):
        named += [(f"stem.{3 * i}", f"conv2d_{i + 1}"), (f"stem.{3 * i + 1}", f"batch_normalization_{i + 1}")]
    for i in range(len(WIDTHS)):
        block, norm = f"blocks.{i}", 3 * (i + 1)
        named += [(f"{block}.beside.0", f"conv2d_{i + 3}"), (f"{block}.beside.1", f"batch_normalization_{norm}")]
        for j in range(2):
            separable = f"separable_conv2d_{2 * i + j + 1}"
            named += [(f"{block}.way.{4 * j}", f"{separable}/depthwise"), (f"{block}.way.{4 * j + 1}", separable)]
            named.append((f"{block}.way.{4 * j + 2}", f"batch_normalization_{norm + j + 1}"))
    return [*named, ("classes", f"conv2d_{len(WIDTHS) + 3}")]


def _layer(model: h5py.Group, layer: str) -> dict[str, np.ndarray]:
    """A layer's values by the names that torch gives them; `layer/depthwise` is that half of a separable one."""
    layer, _, half = layer.partition("/")
    values = model[layer][f"{layer}_1"]
    if "batch" in layer:
        names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        return {ours: values[f"{theirs}:0"][()] for ours, theirs in names.items()}
    if half:
        return {"weight": _turned(values["depthwise_kernel:0"], (2, 3, 0, 1))}
    kernel = "pointwise_kernel:0" if "separable" in layer else "kernel:0"
    bias = {"bias": values["bias:0"][()]} if "bias:0" in values else {}
    return {"weight": _turned(values[kernel], (3, 2, 0, 1))} | bias


def _turned(kernel: h5py.Dataset, axes: Sequence[int]) -> np.ndarray:
    """Keras keeps kernels as [height, width, in, out]."""
    return np.ascontiguousarray(kernel[()].transpose(axes))
