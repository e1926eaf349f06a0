"""A tiny Stable Diffusion XL of random weights."""

from pathlib import Path

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.trainer.families.tiny.parts import picture_vae, some_pictures
from trainer.families.base import Generation
from trainer.smallbase import build_tokenizer

PIPELINE = "StableDiffusionXLPipeline"
TEXTS = ("a red disc", "a blue disc")
HOW = Generation(steps=2, guidance=2.0, width_px=48, height_px=32)
CROSS_ATTENTION = [
    f"{block}.attn2.{layer}"
    for block in (
        "down_blocks.1.attentions.0.transformer_blocks.0",
        "down_blocks.1.attentions.0.transformer_blocks.1",
        "mid_block.attentions.0.transformer_blocks.0",
        "mid_block.attentions.0.transformer_blocks.1",
        "up_blocks.0.attentions.0.transformer_blocks.0",
        "up_blocks.0.attentions.0.transformer_blocks.1",
        "up_blocks.0.attentions.1.transformer_blocks.0",
        "up_blocks.0.attentions.1.transformer_blocks.1",
    )
    for layer in ("to_q", "to_k", "to_v", "to_out.0")
]
CONDITIONING = ["add_embedding.linear_1", "add_embedding.linear_2"]
COMFYUI = {
    **{"lora_unet_" + module.replace(".", "_"): [module] for module in CROSS_ATTENTION},
    "lora_unet_label_emb_0_0": ["add_embedding.linear_1"],
    "lora_unet_label_emb_0_2": ["add_embedding.linear_2"],
}


def media() -> np.ndarray:
    """Two pictures."""
    return some_pictures(2, 32, 48)


def build(folder: Path) -> None:
    """Save the pipeline."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer(TEXTS)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        projection_dim=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    StableDiffusionXLPipeline(
        vae=picture_vae(scaling_factor=0.13025),
        text_encoder=CLIPTextModel(text),
        text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=(2, 4),
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8,
        ),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=1,
        ),
    ).save_pretrained(folder)
