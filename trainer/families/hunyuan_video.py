"""HunyuanVideo (Kong et al., arXiv 2412.03603): a rectified-flow transformer over causal video latents; the text is
read by a Llama that is asked to describe a video, and by CLIP."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import HunyuanVideoPipeline
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from trainer.families.base import Family, Generation, Rules, Texts
from trainer.families.comfyui import ComfyLayout
from trainer.families.parts import draw_frames, texts_in_batches, video_latents
from trainer.objectives import Flow, Objective


class HunyuanVideo(Family):
    """Velocity prediction on latents [N, C, F, h, w]."""

    pipeline_class: ClassVar[Any] = HunyuanVideoPipeline
    media: ClassVar[Any] = "video"
    denoiser_name: ClassVar[Any] = "transformer"
    cross_attention: ClassVar[str] = r"transformer_blocks\.\d+\.attn\.(add_[qkv]_proj|to_add_out)"
    """Attention is joint: these are the text's own projections. The single blocks' weights serve text and video
    alike, and are left as they are."""
    conditioning: ClassVar[str] = (
        r"context_embedder\.(proj_in|token_refiner\..*\.attn\.(to_[qkv]|to_out\.0))"
        r"|time_text_embed\.text_embedder\.linear_[12]|transformer_blocks\.\d+\.norm1_context\.linear"
    )
    control_at: ClassVar[str] = "time_text_embed"
    """It returns a tuple, of which the first is the embedding."""
    pose_at: ClassVar[str | None] = "x_embedder.proj"
    comfy: ClassVar[Any] = ComfyLayout(
        {
            r"transformer_blocks\.(\d+)\.attn\.add_([qkv])_proj": r"double_blocks.\1.txt_attn.qkv:\2",
            r"transformer_blocks\.(\d+)\.attn\.to_add_out": r"double_blocks.\1.txt_attn.proj",
            r"transformer_blocks\.(\d+)\.norm1_context\.linear": r"double_blocks.\1.txt_mod.lin",
            r"context_embedder\.proj_in": "txt_in.input_embedder",
            r"context_embedder\.token_refiner\.refiner_blocks\.(\d+)\.attn\.to_([qkv])": (
                r"txt_in.individual_token_refiner.blocks.\1.self_attn.qkv:\2"
            ),
            r"context_embedder\.token_refiner\.refiner_blocks\.(\d+)\.attn\.to_out\.0": (
                r"txt_in.individual_token_refiner.blocks.\1.self_attn.proj"
            ),
            r"time_text_embed\.text_embedder\.linear_1": "vector_in.in_layer",
            r"time_text_embed\.text_embedder\.linear_2": "vector_in.out_layer",
        }
    )
    """The names of its `ldm/hunyuan_video/model.py`, where query, key and value are one layer."""
    text: ClassVar[Any] = "caption"
    recommended: ClassVar[Mapping[str, Any]] = {
        "rank": 32,
        "alpha": 32,
        "lr": 2e-5,
        "steps": 2000,
        "batch": 1,
        "resolution_px": 544,
        "frames": 33,
        "guidance": 6.0,
    }
    """Rank and rate of diffusion-pipe's example, where alpha is the rank too; musubi-tuner's rate of 2e-4 goes with an
    alpha of 1. Steps, resolution and frames: chosen."""

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype = torch.float32) -> "Family":
        """The base in `folder`, with the tokenizer that its `tokenizer.json` tells of.

        `model_index.json` names LlamaTokenizerFast, which in transformers 5 splits words as Llama 2 did and drops the
        spaces of Llama 3's byte-level tokens (huggingface/transformers#45488).
        """
        family = super().load(folder, device, dtype)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer", local_files_only=True)
        family.pipeline.register_modules(tokenizer=tokenizer)
        return family

    @property
    def rules(self) -> Rules:
        side = self.pipeline.vae_scale_factor_spatial * self.denoiser.config.patch_size
        return Rules(side_px=side, frame_step=self.pipeline.vae_scale_factor_temporal, frame_rate=24.0)

    @property
    def objective(self) -> Objective:
        """Shifted as the base's scheduler is, which is 7."""
        return Flow(self.pipeline.scheduler.config.shift)

    @torch.no_grad()
    def encode_media(self, media: np.ndarray) -> Tensor:
        vae = self.pipeline.vae
        return video_latents(vae, media) * vae.config.scaling_factor

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        """The Llama's states of the text alone, without those of the instruction before it, and their mask."""

        def encode(part: list[str]) -> Texts:
            states, pooled, mask = self.pipeline.encode_prompt(part)
            return {"encoder_hidden_states": states, "encoder_attention_mask": mask, "pooled_projections": pooled}

        return texts_in_batches(texts, encode)

    def predict(self, noised: Tensor, times: Tensor, texts: Texts) -> Tensor:
        dtype = self.dtype
        return self.denoiser(
            hidden_states=noised.to(dtype),
            timestep=1000 * times,
            # The base is distilled from guided samples; at 1 it is asked for unguided ones.
            guidance=torch.full_like(times, 1000.0, dtype=dtype),
            **{name: tensor.to(dtype) for name, tensor in texts.items()},
        ).sample.float()

    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        return draw_frames(self.pipeline, texts, seeds, how, num_frames=how.n_frames)
