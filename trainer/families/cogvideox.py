"""CogVideoX 1.0 and 1.5 (Yang et al., arXiv 2408.06072): a transformer in which text and video are one sequence."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import CogVideoXPipeline
from torch import Tensor

from trainer.families.base import Family, Generation, Rules, Texts
from trainer.families.comfyui import ComfyLayout
from trainer.families.parts import draw_frames, texts_in_batches, video_latents
from trainer.objectives import Discrete, Objective


class CogVideoX(Family):
    """Velocity prediction on a discrete schedule; latents are [N, F, C, h, w], as the denoiser takes them."""

    pipeline_class: ClassVar[Any] = CogVideoXPipeline
    media: ClassVar[Any] = "video"
    denoiser_name: ClassVar[Any] = "transformer"
    cross_attention: ClassVar[str] = r"transformer_blocks\.\d+\.attn1\.to_[kv]|patch_embed\.text_proj"
    """It has no cross-attention. What the video reads of the text are the text's keys and values, so these stand for
    it, with the projection that the text comes in by; the video's own keys and values share the former's weights."""
    conditioning: ClassVar[str] = r"transformer_blocks\.\d+\.norm[12]\.linear"
    """They scale and gate text and video by the time, and by control where there is any."""
    control_at: ClassVar[str] = "time_embedding"
    pose_at: ClassVar[str | None] = "patch_embed.proj"
    comfy: ClassVar[Any] = ComfyLayout(
        {
            r"transformer_blocks\.(\d+)\.attn1\.to_([kv])": r"blocks.\1.\2",
            r"transformer_blocks\.(\d+\.norm[12]\.linear)": r"blocks.\1",
            r"(patch_embed\.text_proj)": r"\1",
        }
    )
    """ComfyUI's own model (its `ldm/cogvideo/model.py`) has other names for the blocks' parts."""
    text: ClassVar[Any] = "caption"
    frame_axis: ClassVar[int] = 1
    recommended: ClassVar[Mapping[str, Any]] = {
        "rank": 64,
        "alpha": 64,
        "lr": 1e-4,
        "steps": 2000,
        "batch": 1,
        "resolution_px": 480,
        "frames": 49,
        "guidance": 6.0,
    }
    """Of the CogVideoX example of diffusers, which gives rates from 1e-4 to 1e-3 and 1500 to 4000 steps."""

    @property
    def rules(self) -> Rules:
        """Frames: the autoencoder takes latents in pairs after the first, and 1.5 has patches of two latents."""
        pipeline, config = self.pipeline, self.denoiser.config
        step = pipeline.vae_scale_factor_temporal * pipeline.vae.num_latent_frames_batch_size
        return Rules(
            side_px=pipeline.vae_scale_factor_spatial * config.patch_size,
            frame_step=step * (config.patch_size_t or 1),
            step_latents=pipeline.vae.num_latent_frames_batch_size * (config.patch_size_t or 1),
            token_latents=config.patch_size_t or 1,
            frame_rate=8.0 if config.patch_size_t is None else 16.0,
        )

    @property
    def objective(self) -> Objective:
        scheduler = self.pipeline.scheduler
        return Discrete(scheduler.alphas_cumprod, scheduler.config.prediction_type)

    @torch.no_grad()
    def encode_media(self, media: np.ndarray) -> Tensor:
        """Where the denoiser's patches want more latents, the first is repeated: the pipeline adds noise there, and
        drops what comes of it."""
        vae = self.pipeline.vae
        latents = video_latents(vae, media).transpose(1, 2) * vae.config.scaling_factor
        lacking = -latents.shape[1] % (self.denoiser.config.patch_size_t or 1)
        return torch.cat([latents[:, :1].expand(-1, lacking, -1, -1, -1), latents], dim=1)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        def encode(part: list[str]) -> Texts:
            states, _ = self.pipeline.encode_prompt(
                part, do_classifier_free_guidance=False, max_sequence_length=self._text_tokens
            )
            return {"encoder_hidden_states": states}

        return texts_in_batches(texts, encode)

    @property
    def _text_tokens(self) -> int:
        return self.denoiser.config.max_text_seq_length

    def predict(self, noised: Tensor, times: Tensor, texts: Texts) -> Tensor:
        dtype, scale = self.dtype, self.pipeline.vae_scale_factor_spatial
        rotary = None
        if self.denoiser.config.use_rotary_positional_embeddings:
            _, n_frames, _, height, width = noised.shape
            rotary = self.pipeline._prepare_rotary_positional_embeddings(
                height * scale, width * scale, n_frames, noised.device
            )
        return self.denoiser(
            hidden_states=noised.to(dtype),
            encoder_hidden_states=texts["encoder_hidden_states"].to(dtype),
            timestep=times,
            image_rotary_emb=rotary,
        ).sample.float()

    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        return draw_frames(
            self.pipeline, texts, seeds, how, num_frames=how.n_frames, max_sequence_length=self._text_tokens
        )
