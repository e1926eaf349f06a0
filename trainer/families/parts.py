"""What several families do alike with arrays, texts and seeds."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.families.base import Generation, Texts

ENCODE_BATCH = 16
"""Pictures or texts encoded at once; chosen: 512 px pictures stay below 4 GB."""


def as_pixels(frames_rgb: np.ndarray) -> Tensor:
    """Frames uint8 [..., H, W, 3] as float32 [..., 3, H, W] in [-1, 1]."""
    return torch.from_numpy(frames_rgb).movedim(-1, -3).float() / 127.5 - 1


def as_frames(drawn: np.ndarray) -> np.ndarray:
    """Frames float [..., H, W, 3] in [0, 1], as pipelines give them, as uint8."""
    return (np.clip(drawn, 0, 1) * 255).round().astype(np.uint8)


def in_batches(inputs: Any, encode: Callable[[Any], Tensor], size: int = ENCODE_BATCH) -> Tensor:
    """`encode` over parts of a sequence; float32 on the CPU, joined along the first axis."""
    return torch.cat([encode(inputs[i : i + size]).float().cpu() for i in range(0, len(inputs), size)])


def texts_in_batches(texts: Sequence[str], encode: Callable[[list[str]], Texts], size: int = ENCODE_BATCH) -> Texts:
    """`encode` over parts of the texts; each of its tensors float32 on the CPU, joined along the first axis."""
    parts = [encode(list(texts[i : i + size])) for i in range(0, len(texts), size)]
    return {name: torch.cat([part[name].float().cpu() for part in parts]) for name in parts[0]}


def picture_latents(vae: Any, pictures: np.ndarray) -> Tensor:
    """Modes float32 [N, C, h, w] on the CPU, not scaled, of pictures uint8 [N, H, W, 3]."""
    return in_batches(pictures, lambda part: vae.encode(as_pixels(part).to(vae.device, vae.dtype)).latent_dist.mode())


def video_latents(vae: Any, videos: np.ndarray) -> Tensor:
    """Modes float32 [N, C, T, H, W] on the CPU, not scaled, of videos uint8 [N, T, H, W, 3], each encoded alone."""
    return in_batches(
        videos,
        lambda part: vae.encode(as_pixels(part).transpose(1, 2).to(vae.device, vae.dtype)).latent_dist.mode(),
        size=1,
    )


def draw_frames(pipeline: Any, texts: Sequence[str], seeds: Sequence[int], how: Generation, **more: Any) -> np.ndarray:
    """Pictures uint8 [N, H, W, 3], or videos uint8 [N, T, H, W, 3] where `num_frames` is among what more is asked."""
    drawn = pipeline(
        list(texts),
        height=how.height_px,
        width=how.width_px,
        num_inference_steps=how.steps,
        guidance_scale=how.guidance,
        generator=seeded(seeds),
        output_type="np",
        **more,
    )
    return as_frames(drawn[0])


def seeded(seeds: Sequence[int]) -> list[torch.Generator]:
    """A generator on the CPU for each seed: the same noise on every device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def tokenize(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Token ids int64 [N, L], padded and cut to the tokenizer's length."""
    return tokenizer(
        list(texts), padding="max_length", truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids
