"""A tiny Stable Audio of random weights."""

from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderOobleck,
    CosineDPMSolverMultistepScheduler,
    StableAudioDiTModel,
    StableAudioPipeline,
    StableAudioProjectionModel,
)
from transformers import T5Config, T5EncoderModel

from tests.trainer.families.tiny.parts import letter_tokenizer, some_sounds
from trainer.families.base import Generation

PIPELINE = "StableAudioPipeline"
TEXTS = ("someone laughs", "someone sighs for long")
HOW = Generation(steps=2, guidance=2.0, duration_s=0.25)
CROSS_ATTENTION = [
    f"transformer_blocks.{i}.attn2.{layer}" for i in (0, 1) for layer in ("to_q", "to_k", "to_v", "to_out.0")
]
CONDITIONING = ["cross_attention_proj.0", "cross_attention_proj.2", "global_proj.0", "global_proj.2"]
COMFYUI = {
    **{
        f"diffusion_model.transformer.layers.{i}.cross_attn.{theirs}": [
            f"transformer_blocks.{i}.attn2.{module}" for module in ours
        ]
        for i in (0, 1)
        for theirs, ours in (("to_q", ("to_q",)), ("to_kv", ("to_k", "to_v")), ("to_out", ("to_out.0",)))
    },
    "diffusion_model.to_cond_embed.0": ["cross_attention_proj.0"],
    "diffusion_model.to_cond_embed.2": ["cross_attention_proj.2"],
    "diffusion_model.to_global_embed.0": ["global_proj.0"],
    "diffusion_model.to_global_embed.2": ["global_proj.2"],
}


def media() -> np.ndarray:
    """Two sounds of a quarter of a second."""
    return some_sounds(2, 2, 256)


def build(folder: Path) -> None:
    """Save the pipeline: 1,024 Hz in stereo, eight samples to a latent, half a second at most."""
    torch.manual_seed(0)
    tokenizer = letter_tokenizer()
    tokenizer.model_max_length = 32
    text = T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    StableAudioPipeline(
        vae=AutoencoderOobleck(
            encoder_hidden_size=8,
            downsampling_ratios=[2, 4],
            channel_multiples=[1, 2],
            decoder_channels=4,
            decoder_input_channels=4,
            audio_channels=2,
            sampling_rate=1024,
        ),
        text_encoder=T5EncoderModel(text),
        projection_model=StableAudioProjectionModel(
            text_encoder_dim=16, conditioning_dim=16, min_value=0, max_value=512
        ),
        tokenizer=tokenizer,
        transformer=StableAudioDiTModel(
            sample_size=64,
            in_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            num_key_value_attention_heads=2,
            out_channels=4,
            cross_attention_dim=16,
            time_proj_dim=16,
            global_states_input_dim=32,
            cross_attention_input_dim=16,
        ),
        scheduler=CosineDPMSolverMultistepScheduler(solver_order=2),
    ).save_pretrained(folder)
