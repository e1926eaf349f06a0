"""Stable Diffusion 1.5 and its like (Rombach et al., arXiv 2112.10752): UNet, KL autoencoder, CLIP text encoder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from store.errors import InputError
from trainer.families.base import ADAPTER_FILE, Family, Generation, Texts

ENCODE_BATCH = 16
"""Pictures or texts encoded at once; chosen: 512 px pictures stay below 4 GB."""


class StableDiffusion(Family):
    """Noise prediction on a discrete schedule."""

    pipeline_class: ClassVar[Any] = StableDiffusionPipeline
    targets: ClassVar[str] = r".*\.attn2\.(to_[qkv]|to_out\.0)"
    """Cross-attention only; `attn1` is the UNet's self-attention."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__(pipeline)
        config = pipeline.scheduler.config
        if config.prediction_type != "epsilon":
            raise InputError(
                f"the base predicts {config.prediction_type!r}; this family trains 'epsilon' (Stable Diffusion 1.x)"
            )
        self._noising = DDPMScheduler.from_config(config)

    @property
    def denoiser(self) -> Any:
        return self.pipeline.unet

    @property
    def prefix(self) -> str:
        return "unet"

    @torch.no_grad()
    def encode_frames(self, frames_rgb: np.ndarray) -> Tensor:
        vae = self.pipeline.vae
        latents = []
        for start in range(0, len(frames_rgb), ENCODE_BATCH):
            pixels = as_pixels(frames_rgb[start : start + ENCODE_BATCH]).to(vae.device)
            # The mode, not a sample: latents are cached once, and a run is a function of its seed.
            latents.append(vae.encode(pixels).latent_dist.mode().cpu() * vae.config.scaling_factor)
        return torch.cat(latents)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        encoder = self.pipeline.text_encoder
        states = []
        for start in range(0, len(texts), ENCODE_BATCH):
            ids = tokenize(self.pipeline.tokenizer, texts[start : start + ENCODE_BATCH])
            states.append(encoder(ids.to(encoder.device)).last_hidden_state.cpu())
        return {"encoder_hidden_states": torch.cat(states)}

    def sample_times(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randint(self._noising.config.num_train_timesteps, (n,), generator=generator)

    def spread_times(self, n: int) -> Tensor:
        last = self._noising.config.num_train_timesteps
        return ((torch.arange(n) + 0.5) * last / n).long()

    def predict(self, latents: Tensor, noise: Tensor, times: Tensor, texts: Texts) -> Tensor:
        device = self.denoiser.device
        noised = self._noising.add_noise(latents, noise, times).to(device)
        given = {name: states.to(device) for name, states in texts.items()}
        return self.denoiser(noised, times.to(device), **given).sample

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return noise

    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        pictures = self.pipeline(
            list(texts),
            height=how.resolution_px,
            width=how.resolution_px,
            num_inference_steps=how.steps,
            guidance_scale=how.guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
        ).images
        return (np.clip(pictures, 0, 1) * 255).round().astype(np.uint8)

    def adapter_layers(self) -> dict[str, Tensor]:
        return convert_state_dict_to_diffusers(get_peft_model_state_dict(self.denoiser))

    def write_layers(self, folder: Path, layers: Mapping[str, Tensor], save_function: Any) -> None:
        self.pipeline_class.save_lora_weights(
            folder, unet_lora_layers=dict(layers), weight_name=ADAPTER_FILE, save_function=save_function
        )


def as_pixels(frames_rgb: np.ndarray) -> Tensor:
    """Frames uint8 [N, H, W, 3] as float32 [N, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(frames_rgb).permute(0, 3, 1, 2).float() / 127.5 - 1


def tokenize(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Token ids int64 [N, L], padded and cut to the tokenizer's length."""
    return tokenizer(
        list(texts), padding="max_length", truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids
