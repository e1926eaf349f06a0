"""A second file of an adapter, for ComfyUI, which is read back and compared before it is offered."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from store.errors import Conflict
from trainer.adapters import Adapter, read_adapter
from trainer.families.comfyui import ComfyLayout

COMFY_FILE = "comfyui.safetensors"
ROUNDING = 1e-6
"""Of float32, for a change of weights whose B was scaled: at most 6e-8 of each term, and terms may cancel. 7e-8 was
measured on the tiny bases."""
ENDINGS = {
    ".lora_A.weight": "down",
    ".lora_down.weight": "down",
    ".lora_B.weight": "up",
    ".lora_up.weight": "up",
    ".alpha": "alpha",
}
"""Of the names that ComfyUI reads a low-rank change by (its `comfy/weight_adapter/lora.py`)."""


@dataclass(frozen=True)
class Change:
    """What an adapter adds to a layer's weight: scale * up @ down, with up [out, r] and down [r, in]."""

    down: Tensor
    up: Tensor
    scale: float

    def weight(self, first: int = 0, n_rows: int | None = None) -> Tensor:
        """Some of its rows, float64 [n_rows, in]."""
        rows = self.up[first:] if n_rows is None else self.up[first : first + n_rows]
        return self.scale * rows.double() @ self.down.double()


@dataclass(frozen=True)
class Export:
    """A file that changes weights as the adapter does.

    difference: the largest in any module, as a share of the module's largest change.
    """

    path: Path
    difference: float


def export_adapter(layout: ComfyLayout, adapter: Path) -> Export:
    """Write `comfyui.safetensors` beside an adapter file, read it back and compare.

    Raises:
        Conflict: ComfyUI has no place for a module, or what was read back does something else. There is no file then.
    """
    original = read_adapter(adapter)
    path = adapter.with_name(COMFY_FILE)
    header = {"format": "pt", "cliploom": json.dumps(dict(original.facts), sort_keys=True)}
    save_file(_tensors(layout, original), path, header)
    try:
        return Export(path, compare(layout, original, path))
    except Conflict:
        path.unlink()
        raise


def compare(layout: ComfyLayout, original: Adapter, path: Path) -> float:
    """How much at most a file for ComfyUI differs from an adapter; see `Export`.

    Raises:
        Conflict: by more than rounding, or it lacks a layer, or has one more.
    """
    modules, read = _by_layer(layout, original), read_changes(path)
    missing, extra = sorted(modules.keys() - read.keys()), sorted(read.keys() - modules.keys())
    if missing or extra:
        raise _refused(path, f"{len(missing)} layers are missing {missing[:2]}, {len(extra)} unexpected {extra[:2]}")
    largest = 0.0
    for layer, parts in modules.items():
        first = 0
        for module in parts:
            wanted = _change(original, module).weight()
            given = read[layer].weight(first, len(wanted))
            if given.shape != wanted.shape:
                raise _refused(path, f"{layer} has shape {list(given.shape)}, expected {list(wanted.shape)}")
            first += len(wanted)
            difference = _share(given, wanted)
            if not difference <= ROUNDING:
                raise _refused(
                    path, f"{module} differs by {difference:g} of its size, at most {ROUNDING:g} is accepted"
                )
            largest = max(largest, difference)
        if first != len(read[layer].up):
            raise _refused(path, f"{layer} has {len(read[layer].up)} rows, expected {first}")
    return largest


def read_changes(path: Path) -> dict[str, Change]:
    """What a file adds to each layer, read as ComfyUI reads it: without an alpha the scale is 1, else alpha / rank.

    Raises:
        Conflict: a name that ComfyUI would pass over, half of a change, or no whole safetensors file.
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise _refused(path, f"it cannot be read ({error})") from error
    layers: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        ending = next((ending for ending in ENDINGS if name.endswith(ending)), None)
        if ending is None:
            raise _refused(path, f"ComfyUI reads no {name}")
        layers[name.removesuffix(ending)][ENDINGS[ending]] = tensor
    changes = {}
    for layer, held in layers.items():
        if not held.keys() >= {"up", "down"} or held["up"].shape[1] != len(held["down"]):
            raise _refused(path, f"{layer} lacks one of its two matrices, or they have different ranks")
        scale = held["alpha"].item() / len(held["down"]) if "alpha" in held else 1.0
        changes[layer] = Change(held["down"], held["up"], scale)
    return changes


def _tensors(layout: ComfyLayout, original: Adapter) -> dict[str, Tensor]:
    """What the file holds. A layer of several modules gets their sum: A's rows of all, and B's on a diagonal."""
    tensors: dict[str, Tensor] = {}
    for layer, modules in _by_layer(layout, original).items():
        changes = [_change(original, module) for module in modules]
        down, up = torch.cat([one.down for one in changes]), torch.block_diag(*(one.up for one in changes))
        scale = changes[0].scale
        if layout.is_kohya:
            tensors |= {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}
            tensors[f"{layer}.alpha"] = torch.tensor(scale * len(down))
        else:
            tensors |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": scale * up}
    return tensors


def _by_layer(layout: ComfyLayout, original: Adapter) -> dict[str, list[str]]:
    """ComfyUI's layers, each with the modules that it holds, in its order.

    Raises:
        Conflict: a module has no place there, or not all modules of a layer have an adapter.
    """
    layers: defaultdict[str, dict[int, str]] = defaultdict(dict)
    sizes = {}
    for module in sorted(original.modules):
        place = layout.place(module.partition(".")[2])
        if place is None:
            raise Conflict(f"ComfyUI has no place for {module}; nothing is exported; name it in the family's layout")
        layers[place.layer][place.part] = module
        sizes[place.layer] = place.of
    for layer, parts in layers.items():
        if len(parts) != sizes[layer]:
            raise Conflict(f"ComfyUI's {layer} is {sizes[layer]} modules, but adapters are on {sorted(parts.values())}")
    return {layer: [parts[number] for number in sorted(parts)] for layer, parts in layers.items()}


def _change(original: Adapter, module: str) -> Change:
    layers = original.layers
    down, up = layers[f"{module}.lora_A.weight"], layers[f"{module}.lora_B.weight"]
    return Change(down, up, original.alpha / original.rank)


def _share(given: Tensor, wanted: Tensor) -> float:
    """The largest difference as a share of the largest wanted value; 0 where there is none."""
    difference = (given - wanted).abs_().max().item()
    largest = max(abs(end.item()) for end in wanted.aminmax())
    return difference / largest if difference != 0.0 and largest > 0.0 else difference


def _refused(path: Path, why: str) -> Conflict:
    return Conflict(f"export {path.name} is not what the adapter is: {why}; it is not offered; report it as an error")
