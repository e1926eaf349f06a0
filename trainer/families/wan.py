"""Wan 2.1 and the 5B of Wan 2.2 (arXiv 2503.20314): video transformer, causal video autoencoder, UMT5 text encoder."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import WanPipeline
from torch import Tensor

from store.errors import ModelUnavailable
from trainer.families.base import Family, Generation, Rules, Texts
from trainer.families.comfyui import ComfyLayout
from trainer.families.parts import draw_frames, in_batches, video_latents
from trainer.objectives import Flow, Objective

TEXT_LENGTH = 512
"""Tokens of a text, as `WanPipeline` draws with."""
SHIFT = 3.0
"""Of training times towards noise; musubi-tuner's for Wan."""


class Wan(Family):
    """Rectified flow. Texts are padded with zeros and there is no mask.

    Raises:
        ModelUnavailable: the base has two denoisers, one for much noise and one for little, as the 14B of Wan 2.2.
    """

    pipeline_class: ClassVar[Any] = WanPipeline
    media: ClassVar[Any] = "video"
    denoiser_name: ClassVar[Any] = "transformer"
    cross_attention: ClassVar[str] = r"blocks\.\d+\.attn2\.(to_[qkv]|to_out\.0)"
    """`attn1` is self-attention."""
    conditioning: ClassVar[str] = r"condition_embedder\.(text_embedder\.linear_[12]|time_proj)"
    control_at: ClassVar[str] = "condition_embedder.time_proj"
    pose_at: ClassVar[str | None] = "patch_embedding"
    comfy: ClassVar[Any] = ComfyLayout(
        {
            r"blocks\.(\d+)\.attn2\.to_([qkv])": r"blocks.\1.cross_attn.\2",
            r"blocks\.(\d+)\.attn2\.to_out\.0": r"blocks.\1.cross_attn.o",
            r"condition_embedder\.text_embedder\.linear_1": "text_embedding.0",
            r"condition_embedder\.text_embedder\.linear_2": "text_embedding.2",
            r"condition_embedder\.time_proj": "time_projection.1",
        }
    )
    """ComfyUI keeps the names of the original code (its `ldm/wan/model.py`)."""
    text: ClassVar[Any] = "caption"
    recommended: ClassVar[Mapping[str, Any]] = {"rank": 32, "alpha": 32, "lr": 2e-4, "batch": 1, "guidance": 5.0}
    """musubi-tuner's; alpha is chosen, guidance is the pipeline's own."""

    def __init__(self, pipeline: Any) -> None:
        if pipeline.transformer_2 is not None:
            raise ModelUnavailable(
                "the base is a Wan with two denoisers, expected one: an adapter is on one denoiser and trained at all"
                " times; take Wan 2.1 or the 5B of Wan 2.2"
            )
        super().__init__(pipeline)

    @property
    def rules(self) -> Rules:
        pipeline = self.pipeline
        return Rules(
            side_px=pipeline.vae_scale_factor_spatial * self.denoiser.config.patch_size[1],
            frame_step=pipeline.vae_scale_factor_temporal,
            # Of the 5B of Wan 2.2, which takes a time for each token, and of Wan 2.1: their model cards.
            frame_rate=24.0 if pipeline.config.expand_timesteps else 16.0,
        )

    @property
    def objective(self) -> Objective:
        return Flow(SHIFT)

    @torch.no_grad()
    def encode_media(self, media: np.ndarray) -> Tensor:
        """Latents [N, C, T, H, W], of mean 0 and deviation 1 in each channel."""
        config = self.pipeline.vae.config
        mean, deviation = torch.tensor([config.latents_mean, config.latents_std]).view(2, 1, -1, 1, 1, 1)
        return (video_latents(self.pipeline.vae, media) - mean) / deviation

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        pipeline, device = self.pipeline, self.pipeline.text_encoder.device

        def states_of(part: Sequence[str]) -> Tensor:
            return pipeline.encode_prompt(
                list(part), do_classifier_free_guidance=False, max_sequence_length=TEXT_LENGTH, device=device
            )[0]

        return {"encoder_hidden_states": in_batches(texts, states_of)}

    def predict(self, noised: Tensor, times: Tensor, texts: Texts) -> Tensor:
        dtype = self.dtype
        steps = times * self.pipeline.scheduler.config.num_train_timesteps
        if self.pipeline.config.expand_timesteps:  # One for each token, as the pipeline counts them.
            steps = steps[:, None].expand(-1, noised[0, 0, :, ::2, ::2].numel())
        states = texts["encoder_hidden_states"].to(dtype)
        return self.denoiser(noised.to(dtype), steps, encoder_hidden_states=states).sample.float()

    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        return draw_frames(self.pipeline, texts, seeds, how, num_frames=how.n_frames)
