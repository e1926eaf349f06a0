"""What several families do alike with arrays, texts and seeds."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.families.base import Texts

ENCODE_BATCH = 16
"""Pictures or texts encoded at once; chosen: 512 px pictures stay below 4 GB."""


def as_pixels(frames_rgb: np.ndarray) -> Tensor:
    """Frames uint8 [..., H, W, 3] as float32 [..., 3, H, W] in [-1, 1]."""
    return torch.from_numpy(frames_rgb).movedim(-1, -3).float() / 127.5 - 1


def in_batches(inputs: Any, encode: Callable[[Any], Tensor], size: int = ENCODE_BATCH) -> Tensor:
    """`encode` over parts of a sequence; float32 on the CPU, joined along the first axis."""
    return torch.cat([encode(inputs[i : i + size]).float().cpu() for i in range(0, len(inputs), size)])


def texts_in_batches(texts: Sequence[str], encode: Callable[[Sequence[str]], Texts], size: int = ENCODE_BATCH) -> Texts:
    """`in_batches` for encoders that give several arguments of the denoiser."""
    parts = [encode(texts[i : i + size]) for i in range(0, len(texts), size)]
    return {name: torch.cat([part[name].float().cpu() for part in parts]) for name in parts[0]}


def seeded(seeds: Sequence[int]) -> list[torch.Generator]:
    """A generator on the CPU for each seed: the same noise on every device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def tokenize(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Token ids int64 [N, L], padded and cut to the tokenizer's length."""
    return tokenizer(
        list(texts), padding="max_length", truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids
