"""AudioLDM 2 (Liu et al., arXiv 2308.05734): UNet over the latents of mel spectrograms, read by two kinds of attention
to text: to what GPT-2 makes of CLAP's and T5's states, and to T5's themselves.

ComfyUI has no such model, so that there is nothing to export adapters for.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import AudioLDM2Pipeline
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import melscale_fbanks
from transformers import GenerationMixin, GPT2LMHeadModel, VitsModel

from store.errors import ModelUnavailable
from trainer.families.base import Family, Generation, Rules, Targets, Texts
from trainer.families.parts import in_batches, seeded
from trainer.objectives import Discrete, Objective

WINDOW, HIGHEST_HZ, LEAST = 1024, 8000.0, 1e-5
"""Of log-mel spectrograms: samples of the Hann window, upper end of the bands, floor of amplitudes. The authors' own
(`get_basic_config` and `TacotronSTFT` of haoheliu/AudioLDM2); bases keep only the rate, the hop and the bands."""
PEAK = 0.5
"""Of sounds as the authors scale them before (`normalize_wav`)."""


class AudioLDM2(Family):
    """Noise prediction on a discrete schedule.

    Raises:
        ModelUnavailable: the base is one for speech, which reads a transcription beside the text.
    """

    pipeline_class: ClassVar[Any] = AudioLDM2Pipeline
    media: ClassVar[Any] = "sound"
    denoiser_name: ClassVar[Any] = "unet"
    cross_attention: ClassVar[str] = r".*attentions\.[124578]\.transformer_blocks\.\d+\.attn2\.(to_[qkv]|to_out\.0)"
    """Of three attentions after each ResNet the first reads no text, though it has an `attn2`. See `pattern`."""
    conditioning: ClassVar[str] = ""
    control_at: ClassVar[str] = "time_embedding"
    text: ClassVar[Any] = "caption"
    recommended: ClassVar[Mapping[str, Any]] = {"rank": 16, "alpha": 16, "lr": 1e-4, "steps": 1500, "guidance": 3.5}
    """Guidance is the pipeline's. No others publish the rest for this family: chosen as for Stable Diffusion."""

    def __init__(self, pipeline: Any) -> None:
        if isinstance(pipeline.text_encoder_2, VitsModel):
            raise ModelUnavailable(
                "the base is an AudioLDM 2 for speech, expected one that reads captions alone; take cvssp/audioldm2"
            )
        if not isinstance(pipeline.language_model, GenerationMixin):
            pipeline.register_modules(language_model=_generating(pipeline.language_model))
        super().__init__(pipeline)

    def pattern(self, targets: Targets) -> str:
        """As `cross_attention`, by the base's own widths of text: of the large base's four attentions after each ResNet
        the first and the last read no text."""
        config = self.denoiser.config
        widths = config.cross_attention_dim[-1] * (config.layers_per_block + 1)
        places = "|".join(str(place) for place, width in enumerate(widths) if width is not None)
        return self.cross_attention.replace("[124578]", f"({places})")

    @property
    def rules(self) -> Rules:
        return Rules(rate_hz=self.pipeline.vocoder.config.sampling_rate, channels=1)

    @property
    def objective(self) -> Objective:
        scheduler = self.pipeline.scheduler
        return Discrete(scheduler.alphas_cumprod, scheduler.config.prediction_type)

    @torch.no_grad()
    def encode_media(self, media: np.ndarray) -> Tensor:
        """Latents [N, D, T, B] of log-mel spectrograms; sounds end in silence where T asks for more of them."""
        vae, vocoder = self.pipeline.vae, self.pipeline.vocoder.config
        hop = int(np.prod(vocoder.upsample_rates))

        def latents(sounds: np.ndarray) -> Tensor:
            scaled = at_peak(torch.from_numpy(sounds).mean(dim=1))
            silence = -scaled.shape[-1] % (hop * self.pipeline.vae_scale_factor)
            mel = log_mel(pad(scaled, (0, silence)), vocoder.sampling_rate, hop, vocoder.model_in_dim)
            mode = vae.encode(mel[:, None].to(vae.device, vae.dtype)).latent_dist.mode()
            return mode * vae.config.scaling_factor

        return in_batches(media, latents)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        """States of GPT-2 [N, 8, D], and of T5 [N, L, E] with their mask. Each text by itself: GPT-2 counts padding, so
        that among longer texts it would give other states."""
        encode, device = self.pipeline.encode_prompt, self.pipeline.device
        encoded = [encode([text], device, 1, do_classifier_free_guidance=False) for text in texts]
        states, masks, generated = ([one[0].cpu() for one in kind] for kind in zip(*encoded, strict=True))
        return {
            "encoder_hidden_states": torch.stack(generated).float(),
            "encoder_hidden_states_1": pad_sequence(states, batch_first=True).float(),
            "encoder_attention_mask_1": pad_sequence(masks, batch_first=True),
        }

    def predict(self, noised: Tensor, times: Tensor, texts: Texts) -> Tensor:
        dtype = self.dtype
        return self.denoiser(
            noised.to(dtype),
            times,
            encoder_hidden_states=texts["encoder_hidden_states"].to(dtype),
            encoder_hidden_states_1=texts["encoder_hidden_states_1"].to(dtype),
            encoder_attention_mask_1=texts["encoder_attention_mask_1"],
        ).sample.float()

    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        """One by one, as texts are encoded."""
        sounds = [
            self.pipeline(
                text,
                audio_length_in_s=how.duration_s,
                num_inference_steps=how.steps,
                guidance_scale=how.guidance,
                generator=generator,
                output_type="np",
            ).audios
            for text, generator in zip(texts, seeded(seeds), strict=True)
        ]
        return np.stack(sounds)


def at_peak(sounds: Tensor) -> Tensor:
    """Sounds float32 [N, S] around zero, the loudest sample of each at `PEAK`."""
    centred = sounds - sounds.mean(dim=-1, keepdim=True)
    return centred / (centred.abs().amax(dim=-1, keepdim=True) + 1e-8) * PEAK


def log_mel(sounds: Tensor, rate_hz: int, hop: int, n_bands: int) -> Tensor:
    """Log-mel spectrograms float32 [N, S // hop, n_bands] of sounds float32 [N, S].

    Amplitudes in bands of Slaney's scale and area, as the authors take them with librosa and HiFi-GAN (Kong et al.,
    arXiv 2010.05646) turns them into sound.
    """
    window = torch.hann_window(WINDOW)
    amplitudes = torch.stft(sounds, WINDOW, hop, window=window, pad_mode="reflect", return_complex=True).abs()
    bands = melscale_fbanks(WINDOW // 2 + 1, 0.0, HIGHEST_HZ, n_bands, rate_hz, norm="slaney", mel_scale="slaney")
    frames = amplitudes[..., : sounds.shape[-1] // hop].transpose(1, 2)
    return (frames @ bands).clamp(min=LEAST).log()


def _generating(model: Any) -> GPT2LMHeadModel:
    """The language model as the class that the pipeline needs: published bases hold a `GPT2Model`, which transformers 5
    lets generate nothing (huggingface/diffusers#12630). The pipeline reads hidden states alone, so there is no head."""
    with torch.device("meta"):
        generating = GPT2LMHeadModel(model.config)
    generating.transformer, generating.lm_head = model, nn.Identity()
    return generating
