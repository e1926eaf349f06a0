"""Tiny models of the real classes with random weights, for the profile `tiny`: tests without downloads.

They go the same way as pretrained ones (`from_pretrained` on a folder), are the same on every machine, and mean
nothing: their vectors tell clips apart no better than chance projections.
"""

from pathlib import Path

import torch
from transformers import (
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from processors.pretrained import weight_files
from processors.tiny_identity import build_facenet, build_mobileface

SEED = 20
HIDDEN = 32


def build_tiny_models(models_folder: Path) -> list[Path]:
    """Write the models of the profile `tiny` below `models_folder`; give their folders. Takes under a second.

    `load_profile("tiny", models_folder)` then finds them. What is there already is kept.
    """
    folders = []
    for name, build in (
        ("tiny/siglip", _siglip),
        ("tiny/wav2vec2", _wav2vec2),
        ("tiny/facenet", build_facenet),
        ("tiny/mobileface", build_mobileface),
    ):
        folder = models_folder / name
        if not weight_files(folder) and not any(folder.glob("*.onnx")):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(SEED)
                build(folder)
        folders.append(folder)
    return folders


def _siglip(folder: Path) -> None:
    config = SiglipVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
    )
    SiglipImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    SiglipVisionModel(config).save_pretrained(folder)


def _wav2vec2(folder: Path) -> None:
    config = Wav2Vec2Config(
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    Wav2Vec2Model(config).save_pretrained(folder)
