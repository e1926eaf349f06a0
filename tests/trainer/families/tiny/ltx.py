"""A tiny LTX-Video of random weights."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXPipeline, LTXVideoTransformer3DModel
from transformers import T5Config, T5EncoderModel

from tests.trainer.families.tiny.parts import letter_tokenizer, some_videos
from trainer.families.base import Generation

PIPELINE = "LTXPipeline"
TEXTS = ("a red disc slides to the right", "a blue disc")
HOW = Generation(steps=2, guidance=2.0, width_px=64, height_px=64, n_frames=9)
CROSS_ATTENTION = [
    f"transformer_blocks.{i}.attn2.{layer}" for i in (0, 1) for layer in ("to_q", "to_k", "to_v", "to_out.0")
]
CONDITIONING = ["caption_projection.linear_1", "caption_projection.linear_2", "time_embed.linear"]
COMFYUI = {
    **{f"diffusion_model.{module}": [module] for module in (*CROSS_ATTENTION, *CONDITIONING[:2])},
    "diffusion_model.adaln_single.linear": ["time_embed.linear"],
}


def media() -> np.ndarray:
    """Two videos."""
    return some_videos(2, 9, 64, 64)


def build(folder: Path) -> None:
    """Save the pipeline."""
    torch.manual_seed(0)
    tokenizer = letter_tokenizer()
    text = T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
    )
    vae.latents_mean.copy_(torch.linspace(-0.2, 0.2, 8))
    vae.latents_std.copy_(torch.linspace(0.4, 0.6, 8))
    LTXPipeline(
        vae=vae,
        text_encoder=T5EncoderModel(text),
        tokenizer=tokenizer,
        transformer=LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=16,
            num_layers=2,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True,
            base_shift=0.95,
            max_shift=2.05,
            base_image_seq_len=1024,
            max_image_seq_len=4096,
            shift_terminal=0.1,
        ),
    ).save_pretrained(folder)
