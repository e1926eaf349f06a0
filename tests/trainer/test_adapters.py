"""Adapter files and warm starts, on the small base; what holds for every family is in tests/trainer/families."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from store.errors import InputError
from trainer.adapters import (
    ADAPTER_FILE,
    Adapter,
    adapter_header,
    add_adapter,
    grown,
    load_adapter,
    read_adapter,
    save_adapter,
    side_by_side,
    start_from,
    unload_adapter,
)
from trainer.families.base import Family
from trainer.opening import open_base


@pytest.fixture
def family(base) -> Family:
    """A freshly loaded base."""
    return open_base(base, "cpu")


@pytest.fixture(scope="module")
def parent(base, tmp_path_factory) -> Path:
    """The file of an adapter of rank 4 and alpha 2 that does something."""
    family = open_base(base, "cpu")
    for parameter in add_adapter(family, 4, 2, "cross_attention", 0):
        torch.nn.init.normal_(parameter, std=0.1)
    return save_adapter(family, None, tmp_path_factory.mktemp("parent"), {"base": base.id})


def rewritten(parent: Path, folder: Path, layers: dict[str, torch.Tensor]) -> Path:
    """The parent's file with other layers."""
    with safe_open(parent, framework="pt") as file:
        save_file(layers, folder / "other.safetensors", file.metadata())
    return folder / "other.safetensors"


def test_any_user_of_diffusers_can_load_the_file_with_its_alpha(base, parent):
    pipeline = StableDiffusionPipeline.from_pretrained(base.folder, local_files_only=True)
    pipeline.load_lora_weights(parent.parent, weight_name=ADAPTER_FILE, local_files_only=True)
    (config,) = pipeline.unet.peft_config.values()
    assert (config.r, config.lora_alpha) == (4, 2)
    assert adapter_header(parent)["cliploom"] == {"base": base.id}


def test_a_parent_with_missing_or_unexpected_keys_is_refused(family, parent, tmp_path):
    layers = load_file(parent)
    first = min(layers)
    add_adapter(family, 4, 2, "cross_attention", 0)
    fewer = rewritten(parent, tmp_path, {name: tensor for name, tensor in layers.items() if name != first})
    with pytest.raises(InputError, match=f"1 keys missing.*{first}.*0 unexpected"):
        start_from(family, fewer, "continue")
    more = rewritten(parent, tmp_path, layers | {"unet.other.lora_A.weight": torch.zeros(1)})
    with pytest.raises(InputError, match=r"0 keys missing.*1 unexpected.*unet.other"):
        start_from(family, more, "stack")


def test_a_parent_of_other_shapes_scale_or_of_a_higher_rank_is_refused(family, parent, tmp_path):
    layers = load_file(parent)
    name = next(name for name in sorted(layers) if "lora_A" in name)
    wrong = rewritten(parent, tmp_path, layers | {name: torch.zeros(4, 7)})
    add_adapter(family, 4, 2, "cross_attention", 0)
    for how in ("continue", "stack", "fuse"):
        with pytest.raises(InputError, match=r"has shape \[., 7\], expected"):
            start_from(family, wrong, how)
    other = open_base_again(family)
    add_adapter(other, 4, 4, "cross_attention", 0)
    with pytest.raises(InputError, match=r"alpha 2 at rank 4, expected 4; train with the parent's alpha / rank"):
        start_from(other, parent, "continue")
    other = open_base_again(family)
    add_adapter(other, 2, 1, "cross_attention", 0)
    with pytest.raises(InputError, match="has rank 4, more than 2; ranks only grow"):
        start_from(other, parent, "continue")


def open_base_again(family: Family) -> Family:
    """The same base without its adapter."""
    unload_adapter(family)
    return family


def test_a_broken_file_and_one_of_somebody_else_are_refused(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"broken.safetensors cannot be read"):
        read_adapter(tmp_path / "broken.safetensors")
    save_file({"a.lora_A.weight": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match="does not tell its rank and alpha"):
        read_adapter(tmp_path / "bare.safetensors")


def product(adapter: Adapter) -> torch.Tensor:
    return adapter.alpha / adapter.rank * adapter.layers["u.m.lora_B.weight"] @ adapter.layers["u.m.lora_A.weight"]


def made(rank: int, alpha: float, seed: int) -> Adapter:
    drawn = torch.Generator().manual_seed(seed)
    a, b = torch.randn(rank, 5, generator=drawn), torch.randn(6, rank, generator=drawn)
    return Adapter({"u.m.lora_A.weight": a, "u.m.lora_B.weight": b}, rank, alpha, {})


def test_a_grown_adapter_and_two_side_by_side_do_the_same_as_before():
    one, two = made(2, 3, 0), made(4, 1, 1)
    assert torch.allclose(product(grown(one, 5, "p")), product(one))
    assert (grown(one, 5, "p").rank, grown(one, 5, "p").alpha) == (5, 7.5)
    assert grown(one, 5, "p").layers["u.m.lora_A.weight"][2:].abs().min() > 0
    both = side_by_side(one, two)
    assert torch.allclose(product(both), product(one) + product(two), atol=1e-5)
    assert (both.rank, both.modules) == (6, {"u.m"})


def test_an_adapter_that_was_taken_off_leaves_the_base_as_it_was(family, parent):
    before = {name: tensor.clone() for name, tensor in family.denoiser.state_dict().items()}
    load_adapter(family, parent)
    assert family.denoiser.state_dict().keys() != before.keys()
    unload_adapter(family)
    after = family.denoiser.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    load_adapter(family, parent)
