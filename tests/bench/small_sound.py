"""A small Stable Audio of real classes, trained in a few minutes on wordless voices that are made here."""

from collections.abc import Callable
from itertools import pairwise
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
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from tests.trainer.families.tiny.parts import letter_tokenizer
from trainer.bases import Base
from trainer.families.stable_audio import StableAudio
from trainer.loop import drawn, fit

RATE_HZ = 8000
LABEL = "small base pre-trained on synthetic voices; not a general model"
_WINDOW = 8000
_BANDS = 7
_LATENTS = 8
_VAE_STEPS, _DIT_STEPS, _BATCH = 400, 500, 8
_N_SOUNDS = 256


def wordless(number: int) -> np.ndarray:
    """A second of a voice without words, float32 [1, 8000]: the more effort, the louder, higher, brighter, rougher."""
    drawn_ = np.random.default_rng(number)
    effort = drawn_.uniform()
    t = np.arange(_WINDOW) / RATE_HZ
    glide = 1.0 + 0.15 * drawn_.normal() * (t - 0.5) + 0.03 * effort * np.sin(2 * np.pi * 30 * t)
    phase = np.cumsum(100 * 2 ** (1.6 * effort + 0.15 * drawn_.normal()) * glide) / RATE_HZ
    tilt = 2.2 - 1.4 * effort
    source = sum(np.sin(2 * np.pi * k * phase + k) / k**tilt for k in range(1, 9))
    breath = drawn_.normal(0, 0.05 + 0.1 * effort, _WINDOW)
    envelope = np.minimum(1, t / 0.05) * np.minimum(1, (1 - t) / 0.1)
    sound = (source / np.abs(source).max() + breath) * envelope
    level_db = -46 + 38 * effort + drawn_.normal(0, 1.5)
    return (sound * 10 ** (level_db / 20) / np.sqrt((sound**2).mean())).clip(-1, 1).astype(np.float32)[None]


def small_sound_base(bases: Path, told: Callable[[int, float], None] = lambda step, loss: None) -> Base:
    """The base, made where `bases` does not hold it."""
    folder = bases / "small-sound-2"
    if not folder.is_dir():
        sounds = torch.from_numpy(np.stack([wordless(number) for number in range(_N_SOUNDS)]))
        torch.manual_seed(0)
        pipeline = _build()
        _fit_vae(pipeline.vae, sounds, told)
        _fit_dit(pipeline, sounds, told)
        pipeline.save_pretrained(folder)
        Base(id=folder.name, folder=folder, label=LABEL).write()
    return Base.read(folder)


def _build() -> StableAudioPipeline:
    tokenizer = letter_tokenizer()
    tokenizer.model_max_length = 16
    text = T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
    return StableAudioPipeline(
        vae=AutoencoderOobleck(
            encoder_hidden_size=2 * _LATENTS,  # its output: mean and scale
            downsampling_ratios=[4, 4, 4],
            channel_multiples=[1, 2, 4],
            decoder_channels=12,
            decoder_input_channels=_LATENTS,
            audio_channels=1,
            sampling_rate=RATE_HZ,
        ),
        text_encoder=T5EncoderModel(text),
        projection_model=StableAudioProjectionModel(
            text_encoder_dim=32, conditioning_dim=32, min_value=0, max_value=512
        ),
        tokenizer=tokenizer,
        transformer=StableAudioDiTModel(
            sample_size=_WINDOW // 64,
            in_channels=_LATENTS,
            num_layers=4,
            attention_head_dim=16,
            num_attention_heads=6,
            num_key_value_attention_heads=2,
            out_channels=_LATENTS,
            cross_attention_dim=32,
            time_proj_dim=32,
            global_states_input_dim=64,
            cross_attention_input_dim=32,
        ),
        scheduler=CosineDPMSolverMultistepScheduler(solver_order=2, prediction_type="v_prediction"),
    )


def _fit_vae(vae: AutoencoderOobleck, sounds: Tensor, told: Callable[[int, float], None]) -> None:
    """Waveform, spectra at three sizes, and latents of about mean 0 and deviation 1, as diffusion expects them, of
    which a linear map gives the power in bands. (With that 71% of their variance goes with loudness and arousal, and
    3% without: latents that hold phases first leave control little to learn from.)"""
    vae.requires_grad_(True).train()
    power = nn.Conv1d(_LATENTS, _BANDS, 1)

    def loss_of_step(step: int) -> Tensor:
        numbers = drawn(0, step)
        wanted = sounds[torch.randint(len(sounds), (_BATCH,), generator=numbers)]
        latents = vae.encode(wanted).latent_dist.mode()
        noisy = latents + 0.05 * torch.randn(latents.shape, generator=numbers)
        given = vae.decode(noisy).sample[..., : wanted.shape[-1]]
        spread = latents.std((0, 2)).clamp(min=1e-3)
        plain = latents.mean((0, 2)).square().mean() + spread.log().square().mean()
        off = (power(latents) - _power(wanted)).abs().mean()
        return _spectral(given, wanted) + (given - wanted).abs().mean() + 0.1 * plain + off

    fit([*vae.parameters(), *power.parameters()], loss_of_step, _VAE_STEPS, 2e-3, told)
    vae.requires_grad_(False).eval()


def _power(sounds: Tensor) -> Tensor:
    """Logarithm of the power in bands of an octave or so, float32 [N, bands, frames], a frame to each latent."""
    window = torch.hann_window(256)
    spectra = torch.stft(sounds[:, 0], 256, 64, window=window, return_complex=True).abs().square()[..., :-1]
    edges = [0, 2, 4, 8, 16, 32, 64, 129]
    bands = [spectra[:, low:high].mean(1) for low, high in pairwise(edges)]
    return (torch.stack(bands, 1) + 1e-4).log() / 3


def _spectral(given: Tensor, wanted: Tensor) -> Tensor:
    off = []
    for size in (64, 256, 1024):
        window = torch.hann_window(size)
        spectra = [
            torch.stft(one[:, 0], size, size // 4, window=window, return_complex=True).abs() for one in (given, wanted)
        ]
        logs = [(one + 1e-3).log() for one in spectra]
        off.append((logs[0] - logs[1]).abs().mean())
    return torch.stack(off).mean()


def _fit_dit(pipeline: StableAudioPipeline, sounds: Tensor, told: Callable[[int, float], None]) -> None:
    family = StableAudio(pipeline)
    latents = family.encode_media(sounds.numpy())
    texts = family.encode_texts(["a voice"])
    transformer = pipeline.transformer
    transformer.requires_grad_(True).train()

    def loss_of_step(step: int) -> Tensor:
        numbers = drawn(1, step)
        rows = torch.randint(len(latents), (2 * _BATCH,), generator=numbers)
        noise = torch.randn(latents[rows].shape, generator=numbers)
        times = family.objective.sample_times(noise, numbers)
        given = {name: states.expand(len(rows), *states.shape[1:]) for name, states in texts.items()}
        return family.loss(latents[rows], noise, times, given).mean()

    fit(list(transformer.parameters()), loss_of_step, _DIT_STEPS, 2e-3, told)
    transformer.requires_grad_(False).eval()
