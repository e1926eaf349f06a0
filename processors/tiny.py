"""Tiny models of the real classes with random weights, for the profiles `tiny*`: tests without downloads.

They go the same way as pretrained ones (`from_pretrained` on a folder), are the same on every machine, and mean
nothing: their vectors tell clips apart no better than chance projections.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    BitImageProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    HubertConfig,
    HubertModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from processors.profile import load_profile
from processors.quality.aesthetic import AestheticsPredictor
from processors.tiny_faces import build_deepface, build_emonet, build_mivolo
from processors.tiny_identity import build_facenet, build_mobileface
from processors.tiny_people import build_rtdetr, build_vitpose, build_yolo, build_yolo_pose, build_yolox
from processors.tiny_vlm import build_qwen3vl

SEED = 20
HIDDEN = 32
SPEECH_MODEL: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
"""Of wav2vec 2.0 and HuBERT: their configurations have the same names."""
_WEIGHTS = ("*.safetensors", "*.pth", "*.pt", "*.onnx")


def build_tiny_models(models_folder: Path, profile_name: str = "tiny") -> list[Path]:
    """Write the models of a tiny profile below `models_folder`; give their folders. Takes under a second.

    `load_profile(profile_name, models_folder)` then finds them. What is there already is kept.

    Raises:
        ModelUnavailable: a package that they are built with is not installed.
    """
    folders = []
    for line in load_profile(profile_name).models:
        folder = models_folder / line.model
        if not any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(SEED)
                _TINY_MODELS[line.model](folder)
        folders.append(folder)
    return folders


_SMALL: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_PICTURE: dict[str, Any] = {"image_size": 64, "patch_size": 16}


def _siglip(folder: Path) -> None:
    """Both towers, and a tokenizer of single bytes."""
    ids = {"<pad>": 0, "<eos>": 1}
    ids |= {letter: len(ids) + i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    spelling = Tokenizer(BPE(vocab=ids, merges=[]))
    spelling.pre_tokenizer = ByteLevel(add_prefix_space=False)
    spelling.post_processor = TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=spelling, pad_token="<pad>", eos_token="<eos>").save_pretrained(folder)
    special = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
    text = {**_SMALL, **special, "vocab_size": len(ids), "max_position_embeddings": 64, "projection_size": HIDDEN}
    SiglipImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    SiglipModel(SiglipConfig(text_config=text, vision_config={**_SMALL, **_PICTURE})).save_pretrained(folder)


def _dino(folder: Path) -> None:
    square = {"height": 56, "width": 56}
    BitImageProcessor(size={"shortest_edge": 64}, crop_size=square).save_pretrained(folder)
    config = Dinov2Config(hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)


def _aesthetic(folder: Path) -> None:
    """A score near 5, the middle of the scale, so that the gate does not hold all that it scores."""
    square = {"height": 64, "width": 64}
    CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=square).save_pretrained(folder)
    model = AestheticsPredictor(CLIPVisionConfig(**_SMALL, **_PICTURE, projection_dim=HIDDEN))
    last: Any = model.layers[-1]
    torch.nn.init.constant_(last.bias, 5.0)
    model.save_pretrained(folder)


def _nsfw(folder: Path) -> None:
    ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    labels = {0: "normal", 1: "nsfw"}
    config = ViTConfig(**_SMALL, **_PICTURE, id2label=labels, label2id={name: i for i, name in labels.items()})
    ViTForImageClassification(config).save_pretrained(folder)


def _wav2vec2(folder: Path) -> None:
    Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    Wav2Vec2Model(Wav2Vec2Config(**SPEECH_MODEL)).save_pretrained(folder)


def _hubert(folder: Path) -> None:
    Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    HubertModel(HubertConfig(**SPEECH_MODEL)).save_pretrained(folder)


def _ast(folder: Path) -> None:
    config = ASTConfig(
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_length=256,
        num_mel_bins=32,
        id2label=dict(enumerate(("Speech", "Laughter", "Sigh", "Pant", "Music"))),
    )
    ASTFeatureExtractor(max_length=256, num_mel_bins=32).save_pretrained(folder)
    ASTForAudioClassification(config).save_pretrained(folder)


_TINY_MODELS: dict[str, Callable[[Path], None]] = {
    "tiny/siglip": _siglip,
    "tiny/dino": _dino,
    "tiny/aesthetic": _aesthetic,
    "tiny/nsfw": _nsfw,
    "tiny/wav2vec2": _wav2vec2,
    "tiny/hubert": _hubert,
    "tiny/ast": _ast,
    "tiny/mivolo": build_mivolo,
    "tiny/emonet": build_emonet,
    "tiny/deepface": build_deepface,
    "tiny/facenet": build_facenet,
    "tiny/mobileface": build_mobileface,
    "tiny/rtdetr": build_rtdetr,
    "tiny/vitpose": build_vitpose,
    "tiny/yolox": build_yolox,
    "tiny/yolo": build_yolo,
    "tiny/yolo-pose": build_yolo_pose,
    "tiny/qwen3vl": build_qwen3vl,
}
