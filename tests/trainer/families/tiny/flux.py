"""A tiny Flux of random weights, with FLUX.1-dev's guidance input and schedule."""

from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

from tests.trainer.families.tiny.parts import TEXT_WIDTH, clip_text, picture_vae, some_pictures, t5_text
from trainer.families.base import Generation

PIPELINE = "FluxPipeline"
TEXTS = ("a red disc on sand", "a blue disc")
HOW = Generation(steps=2, guidance=2.0, width_px=32, height_px=24)
CROSS_ATTENTION = [
    f"transformer_blocks.{block}.attn.{layer}"
    for block in (0, 1)
    for layer in ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
]
CONDITIONING = [
    "context_embedder",
    "time_text_embed.text_embedder.linear_1",
    "time_text_embed.text_embedder.linear_2",
    "transformer_blocks.0.norm1_context.linear",
    "transformer_blocks.1.norm1_context.linear",
]
COMFYUI = {f"transformer.{module}": [module] for module in (*CROSS_ATTENTION, *CONDITIONING)}


def media() -> np.ndarray:
    """Two pictures."""
    return some_pictures(2, 24, 32)


def build(folder: Path) -> None:
    """Save the pipeline."""
    torch.manual_seed(0)
    tokenizer, text_encoder = clip_text(TEXTS)
    tokenizer_2, text_encoder_2 = t5_text(TEXTS)
    FluxPipeline(
        vae=picture_vae(scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=TEXT_WIDTH,
            pooled_projection_dim=TEXT_WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    ).save_pretrained(folder)
