"""Tiny models of the nets that are written here, for the profile `tiny`; see `processors.tiny`."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from processors.affect.deepface import FILE as DEEPFACE_FILE
from processors.affect.emonet import FILE as EMONET_FILE
from processors.affect.emonet import EmonetNet, EmonetSize
from processors.age.mivolo import PREFIX
from processors.age.volo import MiVolo, VoloSize


def build_mivolo(folder: Path) -> None:
    """MiVOLO at 64 px, as the hub lays it out."""
    net = MiVolo(VoloSize(image_px=64, stem=8, layers=(1, 1, 1, 1), widths=(32, 64, 64, 64)))
    folder.mkdir(parents=True, exist_ok=True)
    ages = {"min_age": 0, "max_age": 122, "avg_age": 61.0}
    (folder / "config.json").write_text(json.dumps({"model_type": "mivolo", **ages}), encoding="utf-8")
    save_file({PREFIX + name: value for name, value in net.state_dict().items()}, folder / "model.safetensors")


def build_emonet(folder: Path) -> None:
    """EmoNet at 64 px."""
    net = EmonetNet(EmonetSize(width=16, depth=2, n_hourglasses=2, n_landmarks=5, n_blocks=2, n_expressions=8))
    _save(net, folder / EMONET_FILE)


def build_deepface(folder: Path) -> None:
    """DeepFace's net, which has one size."""
    from deepface.models.demography.pytorch.Emotion import EmotionModel  # as in processors.affect.deepface

    _save(EmotionModel(), folder / DEEPFACE_FILE)


def _save(net: nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
