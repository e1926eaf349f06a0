"""Stable Audio Open (Evans et al., arXiv 2407.14358): diffusion transformer over latents of sound, T5 text encoder."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import StableAudioPipeline
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from torch import Tensor

from trainer.families.base import Family, Generation, Rules, Texts
from trainer.families.comfyui import ComfyLayout
from trainer.families.parts import in_batches, seeded
from trainer.objectives import Angular, Objective


class StableAudio(Family):
    """Velocity prediction, told beside the text in which second of a sound the latents begin and end.

    The pipeline draws latents of one length, the longest, and cuts off what comes after the end. Sounds are trained on
    as long as they are.
    """

    pipeline_class: ClassVar[Any] = StableAudioPipeline
    media: ClassVar[Any] = "sound"
    denoiser_name: ClassVar[Any] = "transformer"
    cross_attention: ClassVar[str] = r"transformer_blocks\.\d+\.attn2\.(to_[qkv]|to_out\.0)"
    """`attn1` is self-attention."""
    conditioning: ClassVar[str] = r"cross_attention_proj\.[02]|global_proj\.[02]"
    """Of text and seconds as cross-attention reads them, and of seconds as one token of the sound."""
    control_at: ClassVar[str] = "proj_in"
    """All tokens of the sound. The time is one more token beside them: there, loudness and arousal followed what was
    asked with rank correlations of .46 and .23 (`tests.bench.control`), here with .97 and .96."""
    comfy: ClassVar[Any] = ComfyLayout(
        {
            r"transformer_blocks\.(\d+)\.attn2\.to_q": r"transformer.layers.\1.cross_attn.to_q",
            r"transformer_blocks\.(\d+)\.attn2\.to_([kv])": r"transformer.layers.\1.cross_attn.to_kv:\2",
            r"transformer_blocks\.(\d+)\.attn2\.to_out\.0": r"transformer.layers.\1.cross_attn.to_out",
            r"cross_attention_proj\.([02])": r"to_cond_embed.\1",
            r"global_proj\.([02])": r"to_global_embed.\1",
        }
    )
    """The names of the original code, which ComfyUI keeps (its `ldm/audio/dit.py`): keys and values are one layer."""
    text: ClassVar[Any] = "caption"
    recommended: ClassVar[Mapping[str, Any]] = {"rank": 16, "alpha": 16, "lr": 1e-4, "steps": 1500, "guidance": 7.0}
    """Guidance is the pipeline's. No others publish the rest for this family: chosen as for Stable Diffusion."""

    @property
    def rules(self) -> Rules:
        vae = self.pipeline.vae.config
        return Rules(rate_hz=vae.sampling_rate, channels=vae.audio_channels)

    @property
    def objective(self) -> Objective:
        return Angular()

    @torch.no_grad()
    def encode_media(self, media: np.ndarray) -> Tensor:
        """Latents [N, D, S // hop]; they have no scale of their own. One at a time: a minute takes gigabytes."""
        vae = self.pipeline.vae
        return in_batches(
            media, lambda part: vae.encode(torch.from_numpy(part).to(vae.device, vae.dtype)).latent_dist.mode(), size=1
        )

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        """States [N, L, D], of padding zeros. Those of the empty text are all zeros: the pipeline guides away from
        them."""
        encode, device = self.pipeline.encode_prompt, self.pipeline.device
        states = in_batches(texts, lambda part: encode(list(part), device, do_classifier_free_guidance=False))
        empty = torch.tensor([text == "" for text in texts])
        return {"encoder_hidden_states": states.masked_fill(empty[:, None, None], 0)}

    def predict(self, noised: Tensor, times: Tensor, texts: Texts) -> Tensor:
        """Sounds pass for whole: they begin at 0 s and are as long as their latents [N, D, L]."""
        pipeline, dtype = self.pipeline, self.dtype
        n, _, length = noised.shape
        duration_s = length * pipeline.vae.hop_length / self.rules.rate_hz
        start, end = pipeline.encode_duration(0.0, duration_s, noised.device, False, n)
        states = torch.cat([texts["encoder_hidden_states"].to(dtype), start, end], dim=1)
        told = texts["encoder_hidden_states"].any(dim=2).any(dim=1)  # Without a text no seconds are told either.
        return self.denoiser(
            noised.to(dtype),
            times,
            encoder_hidden_states=states.where(told[:, None, None], 0),
            global_hidden_states=torch.cat([start, end], dim=2),
            rotary_embedding=get_1d_rotary_pos_embed(
                pipeline.rotary_embed_dim, length + 1, use_real=True, repeat_interleave_real=False
            ),
        ).sample.float()

    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        return self.pipeline(
            list(texts),
            audio_end_in_s=how.duration_s,
            num_inference_steps=how.steps,
            guidance_scale=how.guidance,
            generator=seeded(seeds),
            output_type="np",
        ).audios
