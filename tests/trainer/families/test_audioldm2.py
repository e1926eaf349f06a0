"""AudioLDM 2's other bases, and its ear."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AudioLDM2UNet2DConditionModel
from transformers import GPT2Config, GPT2LMHeadModel, VitsConfig, VitsModel

from store.errors import ModelUnavailable
from trainer.families.audioldm2 import AudioLDM2, at_peak, log_mel


def pipeline(**components: Any) -> Any:
    """What the family reads of a pipeline."""
    with torch.device("meta"):
        language_model = GPT2LMHeadModel(GPT2Config(n_embd=4, n_layer=1, n_head=1))
    components = {"text_encoder_2": None, "language_model": language_model} | components
    return SimpleNamespace(**components, components=components, set_progress_bar_config=lambda disable: None)


def test_of_the_large_base_too_only_attentions_to_text_are_adapted():
    with torch.device("meta"):
        unet = AudioLDM2UNet2DConditionModel(
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
            attention_head_dim=2,
            cross_attention_dim=[[None, 768, 1024, None]] * 2,
            transformer_layers_per_block=2,
        )
    adapted = AudioLDM2(pipeline(unet=unet)).target_modules()
    widths = {name: module.in_features for name, module in unet.named_modules() if name.endswith("attn2.to_k")}
    assert {name for name in adapted if name in widths} == {name for name, width in widths.items() if width > 8}
    assert len(adapted) == 4 * 2 * 2 * (2 + 1 + 3)


def test_a_base_for_speech_is_refused():
    with torch.device("meta"):
        speech = VitsModel(VitsConfig(num_hidden_layers=1))
    with pytest.raises(ModelUnavailable, match="for speech"):
        AudioLDM2(pipeline(text_encoder_2=speech))


def test_a_tone_is_heard_in_its_band_at_one_loudness_whatever_it_came_in_at():
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    quiet, loud = at_peak(torch.stack([0.01 * tone, 0.9 * tone + 0.1]))
    assert torch.allclose(quiet, loud, atol=1e-4)
    heard = log_mel(quiet[None], rate_hz=16_000, hop=160, n_bands=64)
    assert heard.shape == (1, 100, 64)
    # 1,000 Hz is 15 of the 45.2 mels of Slaney's scale below 8,000 Hz, and bands are centred at n / 65 of them.
    assert heard[0, 50].argmax() + 1 == round(15 / 45.245 * 65)
    assert heard.min() >= torch.tensor(1e-5).log()
