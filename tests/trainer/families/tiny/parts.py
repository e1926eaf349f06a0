"""Media, tokenizers and text encoders for the tiny bases."""

from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

from trainer.smallbase import build_tokenizer

TEXT_WIDTH = 32
"""Of what the text encoders give."""


def some_pictures(n: int, height: int, width: int) -> np.ndarray:
    """Smooth pictures uint8 [n, height, width, 3] that differ."""
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    waves = [np.sin(2 * np.pi * (x * (i + 1) + y + k / 3)) for i in range(n) for k in range(3)]
    return ((np.stack(waves).reshape(n, 3, height, width).transpose(0, 2, 3, 1) + 1) * 127.5).astype(np.uint8)


def some_videos(n: int, n_frames: int, height: int, width: int) -> np.ndarray:
    """Videos uint8 [n, n_frames, height, width, 3] in which pictures slide to the right."""
    pictures = some_pictures(n, height, width)
    return np.stack([[np.roll(one, 2 * t, axis=1) for t in range(n_frames)] for one in pictures])


def some_sounds(n: int, channels: int, samples: int) -> np.ndarray:
    """Tones float32 [n, channels, samples] in [-1, 1]."""
    t = np.arange(samples) / samples
    tones = [0.5 * np.sin(2 * np.pi * 40 * (i + 1) * (c + 1) * t) for i in range(n) for c in range(channels)]
    return np.stack(tones).reshape(n, channels, samples).astype(np.float32)


def picture_vae(**more: Any) -> AutoencoderKL:
    """An autoencoder of pictures, of factor 2."""
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=32,
        **more,
    )


def letter_tokenizer() -> T5TokenizerFast:
    """T5's tokenizer (Unigram, texts end in `</s>`) of a vocabulary that spells words letter by letter."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in ascii_letters)]
    return T5TokenizerFast(vocab=pieces, extra_ids=0)


def clip_text(texts: Sequence[str]) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """CLIP's tokenizer over the words of `texts`, and a text encoder of random weights."""
    tokenizer = build_tokenizer(texts)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, CLIPTextModel(config)


def t5_text(texts: Sequence[str]) -> tuple[T5TokenizerFast, T5EncoderModel]:
    """T5's tokenizer with a piece for each word of `texts`, and an encoder of random weights."""
    words = sorted({f"▁{word}" for text in texts for word in text.split()})
    pieces = ["<pad>", "</s>", "<unk>", *words]
    tokenizer = T5TokenizerFast(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)], extra_ids=0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=TEXT_WIDTH,
        d_kv=TEXT_WIDTH // 2,
        d_ff=TEXT_WIDTH,
        num_layers=1,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return tokenizer, T5EncoderModel(config)
