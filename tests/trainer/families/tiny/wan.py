"""A tiny Wan of random weights."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from tests.trainer.families.tiny.parts import letter_tokenizer, some_videos
from trainer.families.base import Generation

PIPELINE = "WanPipeline"
TEXTS = ("a red disc slides to the right", "a blue disc")
HOW = Generation(steps=2, guidance=2.0, width_px=32, height_px=32, n_frames=5)
CROSS_ATTENTION = [f"blocks.{i}.attn2.{layer}" for i in (0, 1) for layer in ("to_q", "to_k", "to_v", "to_out.0")]
CONDITIONING = [
    "condition_embedder.text_embedder.linear_1",
    "condition_embedder.text_embedder.linear_2",
    "condition_embedder.time_proj",
]
COMFYUI = {
    **{
        f"diffusion_model.blocks.{i}.cross_attn.{theirs}": [f"blocks.{i}.attn2.{ours}"]
        for i in (0, 1)
        for theirs, ours in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"))
    },
    "diffusion_model.text_embedding.0": ["condition_embedder.text_embedder.linear_1"],
    "diffusion_model.text_embedding.2": ["condition_embedder.text_embedder.linear_2"],
    "diffusion_model.time_projection.1": ["condition_embedder.time_proj"],
}


def media() -> np.ndarray:
    """Two videos."""
    return some_videos(2, 5, 32, 32)


def build(folder: Path) -> None:
    """Save the pipeline."""
    torch.manual_seed(0)
    tokenizer = letter_tokenizer()
    text = UMT5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    WanPipeline(
        vae=AutoencoderKLWan(
            base_dim=4,
            z_dim=4,
            dim_mult=[1, 2, 2, 2],
            num_res_blocks=1,
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[0.5, 0.4, 0.6, 0.3],
        ),
        text_encoder=UMT5EncoderModel(text),
        tokenizer=tokenizer,
        transformer=WanTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            text_dim=16,
            freq_dim=16,
            ffn_dim=32,
            num_layers=2,
            rope_max_seq_len=32,
        ),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    ).save_pretrained(folder)
