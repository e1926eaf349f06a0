"""Training an adapter: what it touches, what it leaves, that it learns, and that its file says all of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from store.errors import InputError, SettingsError
from tests.trainer.made_discs import made_clip, silent
from trainer.dataset import FrameSet, gather_frames
from trainer.families.base import ADAPTER_FILE, adapter_header, load_adapter_file
from trainer.families.sd import StableDiffusion
from trainer.lora import LoraSettings, encode, fixed_loss, reload_difference, train_lora
from trainer.opening import open_base

SETTINGS = LoraSettings(rank=4, alpha=2, steps=10, batch=4, resolution_px=32, frames_per_clip=3, lr=1e-2)
ATTENTIONS = (
    "down_blocks.1.attentions.0",
    "down_blocks.2.attentions.0",
    "mid_block.attentions.0",
    "up_blocks.0.attentions.0",
    "up_blocks.0.attentions.1",
    "up_blocks.1.attentions.0",
    "up_blocks.1.attentions.1",
)
CROSS_ATTENTION = {
    f"{attention}.transformer_blocks.0.attn2.{layer}"
    for attention in ATTENTIONS
    for layer in ("to_q", "to_k", "to_v", "to_out.0")
}


@pytest.fixture(scope="module")
def frames() -> FrameSet:
    """Nine clips of one video, of a colour that the base never saw: the concept."""
    return gather_frames([made_clip(number, "yellow") for number in range(20, 29)], 32, 3)


@pytest.fixture
def family(base) -> StableDiffusion:
    """A freshly loaded base."""
    return open_base(base, "cpu")


@pytest.fixture(scope="module")
def parent(base, frames, tmp_path_factory) -> Path:
    """The file of an adapter that was trained a little."""
    family = open_base(base, "cpu")
    train_lora(family, frames, SETTINGS, None, silent)
    return family.save_adapter(tmp_path_factory.mktemp("parent"), {"base": base.id})


def test_exactly_the_cross_attention_is_adapted(family):
    family.add_adapter(4, 4, seed=0)
    assert set(family.adapted_modules()) == CROSS_ATTENTION
    trainable = {name for name, parameter in family.denoiser.named_parameters() if parameter.requires_grad}
    assert trainable == {f"{name}.lora_{side}.default.weight" for name in CROSS_ATTENTION for side in "AB"}


def test_the_base_stays_as_it_was_and_the_loss_falls(family, frames):
    parts = ("unet", "vae", "text_encoder")
    before = {part: {k: v.clone() for k, v in getattr(family.pipeline, part).state_dict().items()} for part in parts}
    trained = train_lora(family, frames, replace(SETTINGS, steps=60, batch=8), None, silent)
    assert trained.held_out_after < trained.held_out_before
    assert trained.fixed_after < 0.985 * trained.fixed_before
    assert len(trained.losses) == 60
    for part in parts:
        after = getattr(family.pipeline, part).state_dict()
        for name, tensor in after.items():
            if "lora_" not in name:
                assert torch.equal(tensor, before[part][name.replace(".base_layer", "")]), name


def test_an_untrained_adapter_changes_nothing(family, frames):
    plain = fixed_loss(family, encode(family, frames), torch.arange(3))
    family.add_adapter(4, 4, seed=0)
    assert fixed_loss(family, encode(family, frames), torch.arange(3)) == plain


def test_a_fresh_pipeline_gives_the_same_with_the_file(base, family, frames, tmp_path):
    train_lora(family, frames, SETTINGS, None, silent)
    path = family.save_adapter(tmp_path, {"run_id": "r1"})
    reloaded = open_base(base, "cpu")
    assert reload_difference(family, reloaded, frames) > 1e-3
    reloaded.load_adapter(path)
    assert reload_difference(family, reloaded, frames) == 0.0
    assert adapter_header(path)["cliploom"] == {"run_id": "r1"}


def test_any_user_of_diffusers_can_load_the_file_with_its_alpha(base, parent):
    pipeline = StableDiffusionPipeline.from_pretrained(base.folder, local_files_only=True)
    pipeline.load_lora_weights(parent.parent, weight_name=ADAPTER_FILE, local_files_only=True)
    (config,) = pipeline.unet.peft_config.values()
    assert (config.r, config.lora_alpha) == (4, 2)


def test_training_repeats_by_seed(base, frames, tmp_path):
    files = []
    for number, seed in enumerate((0, 0, 1)):
        family = open_base(base, "cpu")
        train_lora(family, frames, replace(SETTINGS, steps=3, seed=seed), None, silent)
        files.append(load_adapter_file(family.save_adapter(tmp_path / str(number), {})))
    assert all(torch.equal(tensor, files[1][name]) for name, tensor in files[0].items())
    assert not any(torch.equal(tensor, files[2][name]) for name, tensor in files[0].items())


def test_a_warm_start_begins_where_the_parent_ended(base, family, frames, parent):
    end = open_base(base, "cpu")
    end.load_adapter(parent)
    family.add_adapter(4, 2, seed=5)
    family.start_from(parent)
    assert reload_difference(family, end, frames) == 0.0
    assert len([p for p in family.denoiser.parameters() if p.requires_grad]) == 2 * len(CROSS_ATTENTION)


def test_a_parent_with_wrong_keys_shapes_or_alpha_is_refused(family, parent, tmp_path):
    layers = load_adapter_file(parent)
    first = min(layers)
    save_file({name: tensor for name, tensor in layers.items() if name != first}, tmp_path / "missing.safetensors")
    save_file(layers | {"unet.other.lora_A.weight": torch.zeros(1)}, tmp_path / "extra.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    family.add_adapter(4, 2, seed=0)
    with pytest.raises(InputError, match=f"1 keys missing.*{first}.*0 unexpected"):
        family.start_from(tmp_path / "missing.safetensors")
    with pytest.raises(InputError, match=r"0 keys missing.*1 unexpected.*unet.other"):
        family.start_from(tmp_path / "extra.safetensors")
    with pytest.raises(InputError, match=r"broken.safetensors cannot be read"):
        family.start_from(tmp_path / "broken.safetensors")


@pytest.mark.parametrize(("rank", "alpha", "message"), [(8, 2, "parent's rank"), (4, 4, "alpha 2, expected 4")])
def test_a_parent_of_another_rank_or_alpha_is_refused(family, parent, rank, alpha, message):
    family.add_adapter(rank, alpha, seed=0)
    with pytest.raises(InputError, match=message):
        family.start_from(parent)


def test_a_loss_that_is_not_finite_ends_the_run(family, frames):
    family.denoiser.conv_out.bias.fill_(float("nan"))
    with pytest.raises(InputError, match=r"the loss became nan at step 1 of 10 .*lower the rate"):
        train_lora(family, frames, SETTINGS, None, silent)


def test_a_base_that_predicts_something_else_is_refused(family):
    family.pipeline.scheduler.register_to_config(prediction_type="v_prediction")
    with pytest.raises(InputError, match="predicts 'v_prediction'"):
        StableDiffusion(family.pipeline)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ranks": 4}, "ranks are not known; known: alpha, base"),
        ({"rank": 0}, "rank is 0; expected a number from 1 to 1024"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"resolution_px": 60}, "multiple of 8"),
    ],
)
def test_wrong_settings_are_refused(given, message):
    with pytest.raises(SettingsError, match=message):
        LoraSettings.of(given)
