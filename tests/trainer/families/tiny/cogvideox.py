"""A tiny CogVideoX of random weights, with the rotary embeddings and schedule of CogVideoX-5b."""

from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)

from tests.trainer.families.tiny.parts import TEXT_WIDTH, some_videos, t5_text
from trainer.families.base import Generation

PIPELINE = "CogVideoXPipeline"
TEXTS = ("a red disc slides over sand", "a blue disc slides")
HOW = Generation(steps=2, guidance=2.0, width_px=32, height_px=24, n_frames=9)
CROSS_ATTENTION = [
    "patch_embed.text_proj",
    *(f"transformer_blocks.{block}.attn1.{layer}" for block in (0, 1) for layer in ("to_k", "to_v")),
]
CONDITIONING = [f"transformer_blocks.{block}.{norm}.linear" for block in (0, 1) for norm in ("norm1", "norm2")]
COMFYUI = {
    "diffusion_model.patch_embed.text_proj": ["patch_embed.text_proj"],
    "diffusion_model.blocks.0.k": ["transformer_blocks.0.attn1.to_k"],
    "diffusion_model.blocks.0.v": ["transformer_blocks.0.attn1.to_v"],
    "diffusion_model.blocks.0.norm1.linear": ["transformer_blocks.0.norm1.linear"],
    "diffusion_model.blocks.0.norm2.linear": ["transformer_blocks.0.norm2.linear"],
    "diffusion_model.blocks.1.k": ["transformer_blocks.1.attn1.to_k"],
    "diffusion_model.blocks.1.v": ["transformer_blocks.1.attn1.to_v"],
    "diffusion_model.blocks.1.norm1.linear": ["transformer_blocks.1.norm1.linear"],
    "diffusion_model.blocks.1.norm2.linear": ["transformer_blocks.1.norm2.linear"],
}


def media() -> np.ndarray:
    """Two videos."""
    return some_videos(2, 9, 24, 32)


def build(folder: Path) -> None:
    """Save the pipeline."""
    torch.manual_seed(0)
    tokenizer, text_encoder = t5_text(TEXTS)
    CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=AutoencoderKLCogVideoX(
            block_out_channels=(4, 4, 8),
            down_block_types=("CogVideoXDownBlock3D",) * 3,
            up_block_types=("CogVideoXUpBlock3D",) * 3,
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            sample_height=32,
            sample_width=32,
        ),
        transformer=CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            time_embed_dim=16,
            text_embed_dim=TEXT_WIDTH,
            num_layers=2,
            sample_width=8,
            sample_height=6,
            sample_frames=9,
            max_text_seq_length=16,
            use_rotary_positional_embeddings=True,
        ),
        scheduler=CogVideoXDDIMScheduler(
            prediction_type="v_prediction",
            clip_sample=False,
            snr_shift_scale=1.0,
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
        ),
    ).save_pretrained(folder)
