"""A tiny Stable Diffusion of random weights."""

from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

from tests.trainer.families.tiny.parts import TEXT_WIDTH, clip_text, picture_vae, some_pictures
from trainer.families.base import Generation

PIPELINE = "StableDiffusionPipeline"
TEXTS = ("a red disc", "a blue disc")
HOW = Generation(steps=2, guidance=2.0, width_px=32, height_px=32)
CROSS_ATTENTION = [
    f"{block}.transformer_blocks.0.attn2.{layer}"
    for block in (
        "down_blocks.1.attentions.0",
        "mid_block.attentions.0",
        "up_blocks.0.attentions.0",
        "up_blocks.0.attentions.1",
    )
    for layer in ("to_q", "to_k", "to_v", "to_out.0")
]
CONDITIONING: list[str] = []
COMFYUI = {"lora_unet_" + module.replace(".", "_"): [module] for module in CROSS_ATTENTION}


def media() -> np.ndarray:
    """Two pictures."""
    return some_pictures(2, 32, 32)


def build(folder: Path) -> None:
    """Save the pipeline."""
    torch.manual_seed(0)
    tokenizer, text_encoder = clip_text(TEXTS)
    StableDiffusionPipeline(
        vae=picture_vae(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=2,
            cross_attention_dim=TEXT_WIDTH,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
