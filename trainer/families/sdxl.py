"""Stable Diffusion XL (Podell et al., arXiv 2307.01952): UNet, KL autoencoder, two CLIP text encoders."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from trainer.families.base import Family, Generation, Rules, Texts
from trainer.families.comfyui import ComfyLayout
from trainer.families.parts import draw_frames, picture_latents, texts_in_batches
from trainer.objectives import Discrete, Objective


class StableDiffusionXL(Family):
    """Noise prediction on a discrete schedule, told the sizes of the picture beside the text.

    The base was trained, and others train adapters of it, with an offset of deviation 0.0357 added to the noise of each
    channel; here it is unit noise, as `Objective` has it.
    """

    pipeline_class: ClassVar[Any] = StableDiffusionXLPipeline
    media: ClassVar[Any] = "picture"
    denoiser_name: ClassVar[Any] = "unet"
    cross_attention: ClassVar[str] = r".*\.attn2\.(to_[qkv]|to_out\.0)"
    """`attn1` is the UNet's self-attention."""
    conditioning: ClassVar[str] = r"add_embedding\.linear_[12]"
    """Of the pooled text and the sizes."""
    control_at: ClassVar[str] = "time_embedding"
    pose_at: ClassVar[str | None] = "conv_in"
    comfy: ClassVar[Any] = ComfyLayout(
        {r"add_embedding\.linear_1": "label_emb.0.0", r"add_embedding\.linear_2": "label_emb.0.2", "(.*)": r"\1"},
        prefix="lora_unet_",
        is_kohya=True,
    )
    """As Stable Diffusion's, but the added embedding by its original name: diffusers reads no other back."""
    recommended: ClassVar[Mapping[str, Any]] = {
        "rank": 16,
        "alpha": 16,
        "lr": 1e-4,
        "steps": 1500,
        "batch": 4,
        "resolution_px": 1024,
        "guidance": 5.0,
    }

    @property
    def rules(self) -> Rules:
        return Rules(side_px=self.pipeline.vae_scale_factor * 2 ** (len(self.denoiser.config.down_block_types) - 1))

    @property
    def objective(self) -> Objective:
        """With the weights of min-SNR 5, which others train adapters of the family with."""
        scheduler = self.pipeline.scheduler
        return Discrete(scheduler.alphas_cumprod, scheduler.config.prediction_type, snr_gamma=5.0)

    @torch.no_grad()
    def encode_media(self, media: np.ndarray) -> Tensor:
        vae = self.pipeline.vae
        return picture_latents(vae, media) * vae.config.scaling_factor

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        """States [N, 77, D] of both encoders side by side, and the second's pooled ones [N, P]. Those of the empty text
        are zeros where the pipeline guides away from zeros."""
        return texts_in_batches(texts, self._encode)

    def _encode(self, texts: Sequence[str]) -> Texts:
        states, _, pooled, _ = self.pipeline.encode_prompt(list(texts), do_classifier_free_guidance=False)
        if self.pipeline.config.force_zeros_for_empty_prompt:
            empty = torch.tensor([text == "" for text in texts], device=states.device)
            states, pooled = states.masked_fill(empty[:, None, None], 0), pooled.masked_fill(empty[:, None], 0)
        return {"encoder_hidden_states": states, "text_embeds": pooled}

    def predict(self, noised: Tensor, times: Tensor, texts: Texts) -> Tensor:
        """Pictures pass for whole: of the size that they have, cut off nowhere."""
        dtype = self.dtype
        size = [side * self.pipeline.vae_scale_factor for side in noised.shape[-2:]]
        time_ids = torch.tensor([*size, 0, 0, *size], dtype=dtype, device=noised.device).expand(len(noised), -1)
        return self.denoiser(
            noised.to(dtype),
            times,
            encoder_hidden_states=texts["encoder_hidden_states"].to(dtype),
            added_cond_kwargs={"text_embeds": texts["text_embeds"].to(dtype), "time_ids": time_ids},
        ).sample.float()

    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        return draw_frames(self.pipeline, texts, seeds, how)
