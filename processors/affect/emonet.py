"""Valence, arousal and expression of faces by EmoNet.

Toisoul, Kossaifi, Bulat, Tzimiropoulos and Pantic 2021, "Estimation of continuous valence and arousal levels from faces
in naturalistic conditions", Nature Machine Intelligence 3. On AffectNet's cleaned test set: valence CCC 0.82 (RMSE
0.29), arousal CCC 0.75 (RMSE 0.27), 75% of eight expressions. Its weights (`emonet_8.pth`) are CC BY-NC-ND 4.0: not for
commercial use.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from processors.affect.faces import FaceAffect, Reading
from processors.base import NOT_IN_RECIPE
from processors.pretrained import model_file
from processors.state_dict import fill, read_state
from store.errors import ModelUnavailable
from store.records import Column

FILE = "emonet_8.pth"


@dataclass(frozen=True)
class Options:
    """model: the file `emonet_8.pth`, or a folder that holds it."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)


class Emonet(FaceAffect):
    """The column `affect_tracks_emonet`."""

    version = 1
    Options = Options
    model_files = (FILE,)
    model_name = "EmoNet"
    labels = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
    margin = 0.0
    """It was trained on a detector's boxes as they are."""
    columns = (
        Column(name="affect_tracks_emonet", kind="json", measured=False,
               source="EmoNet (Toisoul et al. 2021) on AffectNet; list of {track, times_s, valence, arousal, "
               "expression: {label: curve}, model}; valence and arousal in -1..1"),
    )  # fmt: skip

    def load(self, device: str) -> None:
        path = model_file(self.options.model, self.options.revision, FILE)
        # The published file was saved from several GPUs at once, which puts a word before each name.
        state = {name.removeprefix("module."): value for name, value in read_state(path).items()}
        self._device = device
        try:
            size = EmonetSize.of(state)
        except KeyError as error:
            raise ModelUnavailable(f"{path} holds the weights of another model: it has no {error}") from error
        if size.n_expressions != len(self.labels):
            told = f"{size.n_expressions} expressions, not the {len(self.labels)} of {FILE}"
            raise ModelUnavailable(f"{path} holds an EmoNet of {told}; bring that file")
        net = EmonetNet(size)
        fill(net, state, path)
        self._net = net.to(device).eval()
        self.size_px = size.image_px
        self._digest = sha256(path.read_bytes()).hexdigest()

    def weights(self) -> dict[str, str]:
        return {"emonet": self._digest}

    @torch.inference_mode()
    def read(self, faces_rgb: np.ndarray) -> Reading:
        pixels = torch.from_numpy(faces_rgb).permute(0, 3, 1, 2).to(self._device) / 255.0
        told = self._net(pixels).double().cpu()
        places = told[:, -2:].clamp(-1.0, 1.0).numpy()
        return Reading(told[:, :-2].softmax(dim=1).numpy(), places[:, 0], places[:, 1])


@dataclass(frozen=True)
class EmonetSize:
    """What sets the net's shape, read off the names and shapes of its weights.

    The published one: width 256, depth 4, 2 hourglasses, 68 landmarks, 4 blocks, 8 expressions.
    """

    width: int
    depth: int
    n_hourglasses: int
    n_landmarks: int
    n_blocks: int
    n_expressions: int

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "EmonetSize":
        """Raises KeyError: it is not EmoNet's."""

        def largest(pattern: str) -> int:
            return max((int(found[1]) for name in state if (found := re.match(pattern, name))), default=0)

        return cls(
            width=state["conv_last0.weight"].shape[0],
            depth=largest(r"m0\.b1_(\d+)\."),
            n_hourglasses=largest(r"m(\d+)\.") + 1,
            n_landmarks=state["l0.weight"].shape[0],
            n_blocks=largest(r"emo_net_2\.(\d+)\.") // 2 + 1,
            n_expressions=state["emo_fc_2.3.bias"].shape[0] - 2,
        )

    @property
    def image_px(self) -> int:
        """The stem and the last average take 4 each, every block of the head 2: 256 px for the published one."""
        return 16 * 2**self.n_blocks


class EmonetNet(nn.Module):
    """A face alignment network (Bulat and Tzimiropoulos 2017), whose landmarks show the head where to look.

    The names of the parts are those of the published weights. Input: float32 [N, 3, S, S], RGB in 0..1. Output: float32
    [N, n_expressions + 2]: logits of the expressions, valence, arousal.
    """

    def __init__(self, size: EmonetSize) -> None:
        super().__init__()
        width, self._n_hourglasses = size.width, size.n_hourglasses
        self.conv1 = nn.Conv2d(3, width // 4, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(width // 4)
        self.conv2 = Pyramid(width // 4, width // 2)
        self.conv3 = Pyramid(width // 2, width // 2)
        self.conv4 = Pyramid(width // 2, width)
        for i in range(size.n_hourglasses):
            self.add_module(f"m{i}", Hourglass(size.depth, width))
            self.add_module(f"top_m_{i}", Pyramid(width, width))
            self.add_module(f"conv_last{i}", nn.Conv2d(width, width, 1))
            self.add_module(f"bn_end{i}", nn.BatchNorm2d(width))
            self.add_module(f"l{i}", nn.Conv2d(width, size.n_landmarks, 1))
        for i in range(size.n_hourglasses - 1):
            self.add_module(f"bl{i}", nn.Conv2d(width, width, 1))
            self.add_module(f"al{i}", nn.Conv2d(size.n_landmarks, width, 1))
        self.conv1x1_input_emo_2 = nn.Conv2d(width * (size.n_hourglasses + 1), width, 1)
        blocks = [part for _ in range(size.n_blocks) for part in (Pyramid(width, width), nn.MaxPool2d(2))]
        self.emo_net_2 = nn.Sequential(*blocks)
        half = width // 2
        self.emo_fc_2 = nn.Sequential(
            nn.Linear(width, half), nn.BatchNorm1d(half), nn.ReLU(), nn.Linear(half, size.n_expressions + 2)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        stem = self.conv2(self.bn1(self.conv1(pixels)).relu())
        stem = self.conv4(self.conv3(nn.functional.max_pool2d(stem, 2)))
        features, landmarks = self._aligned(stem)
        attended = torch.cat([stem, features * landmarks.sum(dim=1, keepdim=True)], dim=1)
        seen = self.emo_net_2(self.conv1x1_input_emo_2(attended))
        return self.emo_fc_2(seen.mean(dim=(2, 3)))

    def _aligned(self, stem: Tensor) -> tuple[Tensor, Tensor]:
        """Features of all hourglasses [N, n * width, H, W], and the last one's landmark maps [N, n_landmarks, H, W]."""
        part: Any = self.get_submodule
        found, given = [], stem
        for i in range(self._n_hourglasses):
            features = part(f"top_m_{i}")(part(f"m{i}")(given))
            features = part(f"bn_end{i}")(part(f"conv_last{i}")(features)).relu()
            landmarks = part(f"l{i}")(features)
            if i < self._n_hourglasses - 1:
                features = part(f"bl{i}")(features)
                given = given + features + part(f"al{i}")(landmarks)
            found.append(features)
        return torch.cat(found, dim=1), landmarks


class Pyramid(nn.Module):
    """The block of Bulat and Tzimiropoulos: three convolutions, each on the one before, all three kept, and a way past.

    Normalisation and activation come before each convolution.
    """

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        sizes = (before, width // 2, width // 4, width // 4)
        for i in range(3):
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(sizes[i]))
            self.add_module(f"conv{i + 1}", nn.Conv2d(sizes[i], sizes[i + 1], 3, padding=1, bias=False))
        past = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, width, 1, bias=False))
        self.downsample = past if before != width else None

    def forward(self, maps: Tensor) -> Tensor:
        kept, given = [], maps
        for i in range(1, 4):
            given = self.get_submodule(f"conv{i}")(self.get_submodule(f"bn{i}")(given).relu())
            kept.append(given)
        return torch.cat(kept, dim=1) + (maps if self.downsample is None else self.downsample(maps))


class Hourglass(nn.Module):
    """Down by 2 at each of `depth` levels and up again, with a way past at each (Newell et al. 2016)."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self._depth = depth
        for level in range(1, depth + 1):
            for name in ("b1", "b2", "b3") if level > 1 else ("b1", "b2", "b2_plus", "b3"):
                self.add_module(f"{name}_{level}", Pyramid(width, width))

    def forward(self, maps: Tensor) -> Tensor:
        return self._at(self._depth, maps)

    def _at(self, level: int, maps: Tensor) -> Tensor:
        part: Any = self.get_submodule
        low = part(f"b2_{level}")(nn.functional.max_pool2d(maps, 2))
        low = self._at(level - 1, low) if level > 1 else part("b2_plus_1")(low)
        up = nn.functional.interpolate(part(f"b3_{level}")(low), scale_factor=2, mode="nearest")
        return part(f"b1_{level}")(maps) + up
