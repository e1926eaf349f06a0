"""Flux (Black Forest Labs, 2024): a rectified-flow transformer over 2x2 patches of latents, T5 and CLIP text encoders.

It has no published paper; the blocks that text and image pass side by side are those of Esser et al. (arXiv
2403.03206).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from trainer.families.base import Family, Generation, Rules, Texts
from trainer.families.comfyui import ComfyLayout
from trainer.families.parts import draw_frames, picture_latents, texts_in_batches
from trainer.objectives import Flow, Objective

TEXT_TOKENS = 512
"""Of T5; what the pipeline takes by default and at most."""


class Flux(Family):
    """Velocity prediction; latents are kept as the autoencoder gives them and packed where the denoiser reads them."""

    pipeline_class: ClassVar[Any] = FluxPipeline
    media: ClassVar[Any] = "picture"
    denoiser_name: ClassVar[Any] = "transformer"
    cross_attention: ClassVar[str] = r"transformer_blocks\.\d+\.attn\.(add_[qkv]_proj|to_add_out)"
    """Attention is joint: these are the text's own projections. The single blocks' weights serve text and image
    alike, and are left as they are."""
    conditioning: ClassVar[str] = (
        r"context_embedder|time_text_embed\.text_embedder\.linear_[12]|transformer_blocks\.\d+\.norm1_context\.linear"
    )
    control_at: ClassVar[str] = "time_text_embed"
    pose_at: ClassVar[str | None] = "x_embedder"
    comfy: ClassVar[Any] = ComfyLayout({"(.*)": r"\1"}, prefix="transformer.")
    """ComfyUI maps the names of diffusers itself, to parts of its merged layers too (`flux_to_diffusers`)."""
    text: ClassVar[Any] = "caption"
    recommended: ClassVar[Mapping[str, Any]] = {
        "rank": 16,
        "alpha": 16,
        "lr": 1e-4,
        "steps": 2000,
        "batch": 1,
        "resolution_px": 1024,
        "caption_dropout": 0.05,
        "guidance": 3.5,
    }

    @property
    def rules(self) -> Rules:
        return Rules(side_px=2 * self.pipeline.vae_scale_factor)

    @property
    def objective(self) -> Objective:
        return Flow(self._shift)

    def _shift(self, shape: Sequence[int]) -> float:
        """As the base's scheduler shifts when it samples: the more patches, the more; e^1.15 = 3.1582 at 1024 px."""
        config = self.pipeline.scheduler.config
        if not config.use_dynamic_shifting:
            return config.shift
        patches = shape[-2] * shape[-1] // 4
        lengths = (config.base_image_seq_len, config.max_image_seq_len)
        return math.exp(calculate_shift(patches, *lengths, config.base_shift, config.max_shift))

    @torch.no_grad()
    def encode_media(self, media: np.ndarray) -> Tensor:
        """[N, C, h, w]."""
        vae = self.pipeline.vae
        return (picture_latents(vae, media) - vae.config.shift_factor) * vae.config.scaling_factor

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        def encode(part: list[str]) -> Texts:
            states, pooled, _ = self.pipeline.encode_prompt(part, max_sequence_length=TEXT_TOKENS)
            return {"encoder_hidden_states": states, "pooled_projections": pooled}

        return texts_in_batches(texts, encode)

    def predict(self, noised: Tensor, times: Tensor, texts: Texts) -> Tensor:
        n, channels, height, width = noised.shape
        dtype, pipeline = self.dtype, self.pipeline
        states = texts["encoder_hidden_states"].to(dtype)
        image_ids = pipeline._prepare_latent_image_ids(n, height // 2, width // 2, noised.device, dtype)
        said = self.denoiser(
            hidden_states=pipeline._pack_latents(noised.to(dtype), n, channels, height, width),
            # The pipeline's unit is thousandths; rounded there, as it does.
            timestep=(1000 * times).to(dtype) / 1000,
            guidance=torch.ones(n, device=noised.device) if self.denoiser.config.guidance_embeds else None,
            pooled_projections=texts["pooled_projections"].to(dtype),
            encoder_hidden_states=states,
            txt_ids=torch.zeros(states.shape[1], 3, device=noised.device, dtype=dtype),
            img_ids=image_ids,
        ).sample
        scale = pipeline.vae_scale_factor
        return pipeline._unpack_latents(said, height * scale, width * scale, scale).float()

    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        return draw_frames(self.pipeline, texts, seeds, how, max_sequence_length=TEXT_TOKENS)
