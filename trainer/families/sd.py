"""Stable Diffusion 1.x and 2.x (Rombach et al., arXiv 2112.10752): UNet, KL autoencoder, CLIP text encoder."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from trainer.families.base import Family, Generation, Rules, Texts
from trainer.families.comfyui import ComfyLayout
from trainer.families.parts import draw_frames, in_batches, picture_latents, tokenize
from trainer.objectives import Discrete, Objective


class StableDiffusion(Family):
    """Noise or velocity prediction on a discrete schedule."""

    pipeline_class: ClassVar[Any] = StableDiffusionPipeline
    media: ClassVar[Any] = "picture"
    denoiser_name: ClassVar[Any] = "unet"
    cross_attention: ClassVar[str] = r".*\.attn2\.(to_[qkv]|to_out\.0)"
    """`attn1` is the UNet's self-attention."""
    conditioning: ClassVar[str] = ""
    control_at: ClassVar[str] = "time_embedding"
    pose_at: ClassVar[str | None] = "conv_in"
    comfy: ClassVar[Any] = ComfyLayout({"(.*)": r"\1"}, prefix="lora_unet_", is_kohya=True)
    """kohya trains the UNet of diffusers and keeps its names, which ComfyUI maps (`unet_to_diffusers`)."""
    recommended: ClassVar[Mapping[str, Any]] = {"rank": 16, "lr": 1e-4, "steps": 1500, "batch": 4, "resolution_px": 512}

    @property
    def rules(self) -> Rules:
        return Rules(side_px=self.pipeline.vae_scale_factor * 2 ** (len(self.denoiser.config.down_block_types) - 1))

    @property
    def objective(self) -> Objective:
        scheduler = self.pipeline.scheduler
        return Discrete(scheduler.alphas_cumprod, scheduler.config.prediction_type)

    @torch.no_grad()
    def encode_media(self, media: np.ndarray) -> Tensor:
        vae = self.pipeline.vae
        return picture_latents(vae, media) * vae.config.scaling_factor

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        encoder, tokenizer = self.pipeline.text_encoder, self.pipeline.tokenizer
        states = in_batches(texts, lambda part: encoder(tokenize(tokenizer, part).to(encoder.device)).last_hidden_state)
        return {"encoder_hidden_states": states}

    def predict(self, noised: Tensor, times: Tensor, texts: Texts) -> Tensor:
        dtype = self.dtype
        states = texts["encoder_hidden_states"].to(dtype)
        return self.denoiser(noised.to(dtype), times, encoder_hidden_states=states).sample.float()

    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        return draw_frames(self.pipeline, texts, seeds, how)
