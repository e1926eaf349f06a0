"""A tiny AudioLDM 2 of random weights, with the attentions that the published one has in each block."""

from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AudioLDM2Pipeline,
    AudioLDM2ProjectionModel,
    AudioLDM2UNet2DConditionModel,
    AutoencoderKL,
    DDIMScheduler,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    GPT2Config,
    GPT2Model,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
)

from tests.trainer.families.tiny.parts import letter_tokenizer, some_sounds
from trainer.families.base import Generation

PIPELINE = "AudioLDM2Pipeline"
TEXTS = ("someone laughs", "someone sighs for long")
HOW = Generation(steps=2, guidance=2.0, duration_s=0.32)
WITH_TEXT = {"down_blocks.1": (1, 2, 4, 5), "mid_block": (1, 2), "up_blocks.0": (1, 2, 4, 5, 7, 8)}
"""Attentions whose keys and values are made from text."""
CROSS_ATTENTION = [
    f"{block}.attentions.{place}.transformer_blocks.0.attn2.{layer}"
    for block, places in WITH_TEXT.items()
    for place in places
    for layer in ("to_q", "to_k", "to_v", "to_out.0")
]
CONDITIONING: list[str] = []
COMFYUI: dict[str, list[str]] = {}


def media() -> np.ndarray:
    """Two sounds of 0.32 s: 32 frames of a spectrogram."""
    return some_sounds(2, 1, 5120)


def build(folder: Path) -> None:
    """Save the pipeline."""
    torch.manual_seed(0)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    tokenizer = RobertaTokenizer(
        vocab={token: i for i, token in enumerate(special)}, merges=[], model_max_length=32, add_prefix_space=False
    )
    tokenizer_2 = letter_tokenizer()
    tokenizer_2.model_max_length = 32
    clap = ClapConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 40,
            "projection_dim": 8,
        },
        audio_config={
            "spec_size": 64,
            "window_size": 4,
            "num_mel_bins": 64,
            "depths": [1, 1],
            "num_attention_heads": [1, 1],
            "num_hidden_layers": 2,
            "patch_embeds_hidden_size": 8,
            "hidden_size": 16,
            "projection_dim": 8,
        },
        projection_dim=8,
    )
    AudioLDM2Pipeline(
        vae=AutoencoderKL(
            in_channels=1,
            out_channels=1,
            block_out_channels=(4, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=1,
            norm_num_groups=4,
            latent_channels=4,
            scaling_factor=0.5,
        ),
        text_encoder=ClapModel(clap),
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=len(tokenizer_2), d_model=12, d_kv=6, d_ff=24, num_layers=1, num_heads=2)
        ),
        projection_model=AudioLDM2ProjectionModel(text_encoder_dim=8, text_encoder_1_dim=12, langauge_model_dim=16),
        language_model=GPT2Model(
            GPT2Config(
                n_embd=16,
                n_layer=1,
                n_head=2,
                vocab_size=9,
                n_positions=64,
                max_new_tokens=8,
                bos_token_id=0,
                eos_token_id=0,
            )
        ),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        feature_extractor=ClapFeatureExtractor(feature_size=64),
        unet=AudioLDM2UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
            attention_head_dim=2,
            cross_attention_dim=[[None, 16, 12]] * 2,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
        ),
        vocoder=SpeechT5HifiGan(
            SpeechT5HifiGanConfig(
                model_in_dim=64,
                sampling_rate=16_000,
                upsample_initial_channel=32,
                upsample_rates=[5, 4, 2, 2, 2],
                upsample_kernel_sizes=[16, 16, 8, 4, 4],
                resblock_kernel_sizes=[3],
                resblock_dilation_sizes=[[1]],
                normalize_before=False,
            )
        ),
    ).save_pretrained(folder)
