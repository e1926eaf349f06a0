"""Media and tokenizers for the tiny bases."""

from string import ascii_letters

import numpy as np
from transformers import T5TokenizerFast


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


def letter_tokenizer() -> T5TokenizerFast:
    """T5's tokenizer (Unigram, texts end in `</s>`) of a vocabulary that spells words letter by letter."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in ascii_letters)]
    return T5TokenizerFast(vocab=pieces, extra_ids=0)
