"""LTX-Video (HaCohen et al., arXiv 2501.00103): video transformer, autoencoder of 32x32x8 pixels a token, T5."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import LTXPipeline
from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift
from torch import Tensor

from trainer.families.base import Family, Generation, Rules, Texts
from trainer.families.comfyui import ComfyLayout
from trainer.families.parts import draw_frames, in_batches, video_latents
from trainer.objectives import Flow, Objective

TEXT_LENGTH = 128
"""Tokens of a text, as `LTXPipeline` draws with."""
FRAME_RATE = 25
"""`LTXPipeline`'s own; positions in time are in seconds."""


class LTX(Family):
    """Rectified flow at times that are shifted further towards noise the longer the video is.

    Latents are [N, C, T, H, W]; they are a row of tokens only where the denoiser reads and writes them.
    """

    pipeline_class: ClassVar[Any] = LTXPipeline
    media: ClassVar[Any] = "video"
    denoiser_name: ClassVar[Any] = "transformer"
    cross_attention: ClassVar[str] = r"transformer_blocks\.\d+\.attn2\.(to_[qkv]|to_out\.0)"
    """`attn1` is self-attention."""
    conditioning: ClassVar[str] = r"caption_projection\.linear_[12]|time_embed\.linear"
    control_at: ClassVar[str] = "time_embed.linear"
    pose_at: ClassVar[str | None] = "proj_in"
    comfy: ClassVar[Any] = ComfyLayout(
        {r"time_embed\.linear": "adaln_single.linear", r"((transformer_blocks|caption_projection)\..*)": r"\1"}
    )
    """Its own names are diffusers' but for the time's (its `ldm/lightricks/model.py`)."""
    text: ClassVar[Any] = "caption"
    recommended: ClassVar[Mapping[str, Any]] = {
        "rank": 32,
        "alpha": 32,
        "lr": 2e-4,
        "steps": 2000,
        "batch": 1,
        "guidance": 3.0,
    }
    """LTX-Video-Trainer's; guidance is the pipeline's own."""

    @property
    def rules(self) -> Rules:
        pipeline = self.pipeline
        return Rules(
            side_px=pipeline.vae_spatial_compression_ratio * pipeline.transformer_spatial_patch_size,
            frame_step=pipeline.vae_temporal_compression_ratio * pipeline.transformer_temporal_patch_size,
            frame_rate=FRAME_RATE,
            step_latents=pipeline.transformer_temporal_patch_size,
            token_latents=pipeline.transformer_temporal_patch_size,
        )

    @property
    def objective(self) -> Objective:
        config = self.pipeline.scheduler.config

        def shift(size: Sequence[int]) -> float:
            """Of the base's schedule for latents of this size."""
            ends = config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift
            return math.exp(calculate_shift(math.prod(size[2:]), *ends))

        return Flow(shift if config.use_dynamic_shifting else config.shift)

    @torch.no_grad()
    def encode_media(self, media: np.ndarray) -> Tensor:
        """Latents [N, C, T, H, W], of mean 0 and deviation 1 in each channel."""
        vae = self.pipeline.vae
        return self.pipeline._normalize_latents(
            video_latents(vae, media), vae.latents_mean, vae.latents_std, vae.config.scaling_factor
        )

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        """States of all tokens, padding too, which the encoder reads unmasked; the denoiser is given the mask."""
        encoder = self.pipeline.text_encoder
        tokens = self.pipeline.tokenizer(
            list(texts), padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt"
        )
        states = in_batches(tokens.input_ids, lambda part: encoder(part.to(encoder.device)).last_hidden_state)
        return {"encoder_hidden_states": states, "encoder_attention_mask": tokens.attention_mask.bool()}

    def predict(self, noised: Tensor, times: Tensor, texts: Texts) -> Tensor:
        pipeline, dtype = self.pipeline, self.dtype
        patch, patch_t = pipeline.transformer_spatial_patch_size, pipeline.transformer_temporal_patch_size
        n_frames, height, width = noised.shape[2:]
        side = pipeline.vae_spatial_compression_ratio
        tokens = self.denoiser(
            hidden_states=pipeline._pack_latents(noised.to(dtype), patch, patch_t),
            encoder_hidden_states=texts["encoder_hidden_states"].to(dtype),
            timestep=times * pipeline.scheduler.config.num_train_timesteps,
            encoder_attention_mask=texts["encoder_attention_mask"],
            num_frames=n_frames,
            height=height,
            width=width,
            rope_interpolation_scale=(pipeline.vae_temporal_compression_ratio / FRAME_RATE, side, side),
        ).sample.float()
        return pipeline._unpack_latents(tokens, n_frames, height, width, patch, patch_t)

    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        return draw_frames(self.pipeline, texts, seeds, how, num_frames=how.n_frames)
