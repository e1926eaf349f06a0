"""What is refused before a file for ComfyUI is offered; that it does what the adapter does is in families."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from store.errors import Conflict
from trainer.adapters import Adapter, read_adapter
from trainer.exports import COMFY_FILE, compare, export_adapter
from trainer.families.comfyui import ComfyLayout, Place

MERGED = ComfyLayout({r"b\.(q|k)": r"block.qk:\1", r"b\.out": "block.out"})
KOHYA = ComfyLayout({r"b\.(.*)": r"block.\1"}, prefix="lora_unet_", is_kohya=True)
SIZES = {"q": 6, "k": 4, "out": 5}


@pytest.fixture
def adapter(tmp_path) -> Path:
    """A file of three modules of rank 3 and alpha 2."""
    drawn, layers = torch.Generator().manual_seed(0), {}
    for module, n_rows in SIZES.items():
        layers[f"unet.b.{module}.lora_A.weight"] = torch.randn(3, 7, generator=drawn)
        layers[f"unet.b.{module}.lora_B.weight"] = torch.randn(n_rows, 3, generator=drawn)
    settings = '{"unet.r": 3, "unet.lora_alpha": 2}'
    header = {"lora_adapter_metadata": settings, "cliploom": '{"run_id": "run-1"}'}
    save_file(layers, tmp_path / "adapter.safetensors", header)
    return tmp_path / "adapter.safetensors"


def rewritten(export: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    """An export with its tensors changed."""
    tensors = load_file(export)
    change(tensors)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, export)
    return export


def test_kohyas_names_come_with_the_real_alpha_and_no_dots(adapter):
    export = export_adapter(KOHYA, adapter)
    tensors = load_file(export.path)
    assert export.path == adapter.with_name(COMFY_FILE)
    assert export.difference < 1e-7
    assert {name.partition(".")[0] for name in tensors} == {f"lora_unet_block_{module}" for module in SIZES}
    assert tensors["lora_unet_block_q.alpha"] == 2.0
    assert torch.equal(tensors["lora_unet_block_q.lora_up.weight"], load_file(adapter)["unet.b.q.lora_B.weight"])


def test_modules_that_are_one_layer_come_one_below_the_other_with_alpha_in_b(adapter):
    tensors, layers = load_file(export_adapter(MERGED, adapter).path), load_file(adapter)
    assert set(tensors) == {f"diffusion_model.block.{layer}.lora_{a}.weight" for layer in ("qk", "out") for a in "AB"}
    merged = tensors["diffusion_model.block.qk.lora_B.weight"] @ tensors["diffusion_model.block.qk.lora_A.weight"]
    products = [layers[f"unet.b.{module}.lora_B.weight"] @ layers[f"unet.b.{module}.lora_A.weight"] for module in "qk"]
    assert torch.allclose(merged, 2 / 3 * torch.cat(products), atol=1e-6)


def test_the_file_tells_its_lineage_as_the_adapter_does(adapter):
    with safe_open(export_adapter(MERGED, adapter).path, framework="pt") as file:
        assert file.metadata()["cliploom"] == '{"run_id": "run-1"}'


A, B = "diffusion_model.block.qk.lora_A.weight", "diffusion_model.block.out.lora_B.weight"
DAMAGES = {
    "a layer is missing": (lambda t: [t.pop(B), t.pop(B.replace("_B", "_A"))], r"1 layers are missing \[.*block.out"),
    "a layer is extra": (lambda t: t.update({n.replace("out", "in"): x for n, x in t.items()}), r"1 unexpected.*in"),
    "half of a layer is missing": (lambda t: t.pop(A), "block.qk lacks one of its two matrices"),
    "a key is not ComfyUI's": (lambda t: t.update({"block.out.bias": t[B]}), "ComfyUI reads no block.out.bias"),
    "a value differs a little": (lambda t: t[B][0].mul_(1.0001), r"unet.b.out differs by \S+ of its size"),
    "a value is no number": (lambda t: t[A][0].fill_(float("nan")), "unet.b.q differs by nan"),
    "alpha is told too": (
        lambda t: t.update({B.replace("lora_B.weight", "alpha"): torch.tensor(2.0)}),
        "out differs",
    ),
    "ranks differ": (lambda t: t.update({A: t[A][:-1]}), "or they have different ranks"),
    "rows are missing": (lambda t: t.update({B: t[B][:-1]}), r"has shape \[4, 7\], expected \[5, 7\]"),
    "rows are extra": (lambda t: t.update({B: torch.cat([t[B], t[B]])}), "block.out has 10 rows, expected 5"),
    "the parts are swapped": (lambda t: t.update({A: t[A].flip(0)}), "unet.b.q differs by"),
}


@pytest.mark.parametrize(("change", "told"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_file_that_is_not_the_adapter_is_refused(adapter, change, told):
    export = export_adapter(MERGED, adapter).path
    with pytest.raises(Conflict, match=rf"export {COMFY_FILE} is not what the adapter is: .*{told}"):
        compare(MERGED, read_adapter(adapter), rewritten(export, change))


def test_a_file_that_is_not_whole_is_refused(adapter):
    export = export_adapter(MERGED, adapter).path
    export.write_bytes(export.read_bytes()[:-8])
    with pytest.raises(Conflict, match="it cannot be read"):
        compare(MERGED, read_adapter(adapter), export)


def test_an_adapter_that_cannot_be_written_whole_leaves_no_file(adapter):
    unnamed = ComfyLayout({r"b\.out": "block.out"})
    with pytest.raises(Conflict, match=re.escape("ComfyUI has no place for unet.b.k; nothing is exported")):
        export_adapter(unnamed, adapter)
    save_file(load_file(adapter), adapter, {"lora_adapter_metadata": '{"unet.r": 3, "unet.lora_alpha": NaN}'})
    with pytest.raises(Conflict, match="differs by nan"):
        export_adapter(MERGED, adapter)
    assert not adapter.with_name(COMFY_FILE).exists()


def test_half_of_a_layer_is_refused(adapter):
    original = read_adapter(adapter)
    layers = {name: tensor for name, tensor in original.layers.items() if ".q." not in name}
    with pytest.raises(Conflict, match=r"block.qk is 2 modules, but adapters are on \['unet.b.k'\]"):
        compare(MERGED, Adapter(layers, original.rank, original.alpha, {}), export_adapter(MERGED, adapter).path)


def test_an_adapter_that_does_nothing_yet_is_exported_as_it_is(adapter):
    with safe_open(adapter, framework="pt") as file:
        header = file.metadata()
    layers = {name: tensor * (".lora_A." in name) for name, tensor in load_file(adapter).items()}
    save_file(layers, adapter, header)
    export = export_adapter(MERGED, adapter)
    assert export.difference == 0.0
    more = rewritten(export.path, lambda tensors: tensors[B].add_(1.0))
    with pytest.raises(Conflict, match=r"unet\.b\.out differs by"):
        compare(MERGED, read_adapter(adapter), more)


def test_a_place_is_found_by_the_whole_name():
    assert MERGED.place("b.k") == Place("diffusion_model.block.qk", 1, 2)
    assert MERGED.place("b.out") == Place("diffusion_model.block.out")
    assert MERGED.place("a.b.out") is None
