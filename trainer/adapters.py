"""Adapters on a family's denoiser and their files: adding, warm starts, saving, loading.

A warm start is explicit. `continue`: the parent's weights go on being trained; the rank may grow. `stack`: a new
adapter is trained on top of the parent's, which stays as it is. `fuse`: the same with the parent's added to the base's
weights, which makes steps a little cheaper and rounds where the base is not in float32. What is saved is one file that
holds all of it: two low-rank products side by side are one of the summed rank.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.utils import recurse_remove_peft_layers
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from store.errors import InputError
from trainer.families.base import Family, Targets

ADAPTER_FILE = "pytorch_lora_weights.safetensors"
"""The name that diffusers looks for."""
WarmStart = Literal["continue", "stack", "fuse"]
_OWN, _PARENT = "default", "parent"


@dataclass(frozen=True)
class Adapter:
    """An adapter as a file holds it.

    layers: tensors by name, `{denoiser}.{module}.lora_A.weight` [r, in] and `...lora_B.weight` [out, r]. rank, alpha:
    its output is scaled by alpha / rank. facts: what the file says of its lineage.
    """

    layers: Mapping[str, Tensor]
    rank: int
    alpha: float
    facts: Mapping[str, Any]

    @property
    def modules(self) -> set[str]:
        """Names of the modules that it is on; they begin with the denoiser's."""
        return {name.rpartition(".lora_")[0] for name in self.layers}


def add_adapter(family: Family, rank: int, alpha: float, targets: Targets, seed: int) -> list[nn.Parameter]:
    """Add a trainable adapter that changes nothing yet; returns its parameters.

    Low-rank adaptation (Hu et al., arXiv 2106.09685): W x + (alpha / rank) B A x with B = 0 at the start.

    Raises:
        InputError: the base has no module that the family's adapters belong on.
    """
    expected, pattern = family.target_modules(targets), family.pattern(targets)
    if not expected:
        raise InputError(f"the base has no module that matches {pattern!r}; is it a {type(family).__name__}?")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=pattern)  # type: ignore[arg-type]  # may be a float
        # Not the models' own `add_adapter`: some have none.
        inject_adapter_in_model(config, family.denoiser, adapter_name=_OWN)
    assert adapted_modules(family) == expected, "PEFT adapted other modules than the family names"
    return [parameter for parameter in family.denoiser.parameters() if parameter.requires_grad]


def adapted_modules(family: Family) -> list[str]:
    """Names of the denoiser's modules that carry an adapter."""
    return [name for name, module in family.denoiser.named_modules() if isinstance(module, LoraLayer)]


def start_from(family: Family, path: Path, how: WarmStart) -> Adapter | None:
    """Let the adapter that was added begin as the one in `path`.

    Returns:
        What the trained adapter now lies on top of, to be saved with it; None where it goes on from it.

    Raises:
        InputError: keys, shapes or scales do not fit. (PEFT would load what fits and say nothing.)
    """
    parent, own = read_adapter(path), _layers(family)
    missing, unexpected = sorted(own.keys() - parent.layers.keys()), sorted(parent.layers.keys() - own.keys())
    if missing or unexpected:
        raise InputError(
            f"parent adapter {path.name} does not fit: {len(missing)} keys missing {missing[:2]}, {len(unexpected)}"
            f" unexpected {unexpected[:2]}; start from an adapter of the same family and targets, or from none"
        )
    config = family.denoiser.peft_config[_OWN]
    if how == "continue":
        parent = grown(parent, config.r, path.name)
        if parent.alpha != config.lora_alpha:
            scale = parent.alpha / parent.rank
            raise InputError(
                f"parent adapter {path.name} has alpha {parent.alpha:g} at rank {parent.rank}, expected"
                f" {config.lora_alpha:g}; train with the parent's alpha / rank, which is {scale:g}"
            )
        for name, tensor in own.items():
            _same_shape(path, name, parent.layers[name], tensor)
            with torch.no_grad():
                tensor.copy_(parent.layers[name])
        return None
    for name, tensor in own.items():
        ranks = 0 if ".lora_A." in name else 1
        _same_shape(path, name, parent.layers[name].narrow(ranks, 0, 1), tensor.narrow(ranks, 0, 1))
    if how == "fuse":
        _fuse(family, parent)
    else:
        _freeze_beside(family, parent)
    return parent


def grown(adapter: Adapter, rank: int, name: str) -> Adapter:
    """The same function at a higher rank: B gets columns of zeros, A rows like a new adapter's; alpha / rank stays.

    Raises:
        InputError: the rank is lower.
    """
    more = rank - adapter.rank
    if more < 0:
        raise InputError(f"parent adapter {name} has rank {adapter.rank}, more than {rank}; ranks only grow")
    if more == 0:
        return adapter
    drawn = torch.Generator().manual_seed(rank)
    layers = {}
    for layer, tensor in adapter.layers.items():
        if ".lora_A." in layer:
            bound = tensor.shape[1] ** -0.5
            new = (2 * torch.rand(more, *tensor.shape[1:], generator=drawn) - 1) * bound
            layers[layer] = torch.cat([tensor, new.to(tensor.dtype)])
        else:
            layers[layer] = torch.cat([tensor, tensor.new_zeros(tensor.shape[0], more, *tensor.shape[2:])], dim=1)
    return Adapter(layers, rank, adapter.alpha * rank / adapter.rank, adapter.facts)


def side_by_side(first: Adapter, second: Adapter) -> Adapter:
    """One adapter that does what two do together; its alpha is its rank."""
    layers = {}
    for name, tensor in first.layers.items():
        other = second.layers[name]
        if ".lora_A." in name:
            layers[name] = torch.cat([tensor, other])
        else:
            scales = [one.alpha / one.rank for one in (first, second)]
            layers[name] = torch.cat([tensor * scales[0], other * scales[1]], dim=1)
    rank = first.rank + second.rank
    return Adapter(layers, rank, rank, second.facts)


def save_adapter(family: Family, beneath: Adapter | None, folder: Path, facts: Mapping[str, Any]) -> Path:
    """Write the adapter, together with what it lies on top of, in the format of diffusers and PEFT.

    Its LoRA settings (without them alpha is lost) and `facts` go into the file's header.
    """
    config = family.denoiser.peft_config[_OWN]
    layers = {name: tensor.detach().cpu().float() for name, tensor in _layers(family).items()}
    adapter = Adapter(layers, config.r, config.lora_alpha, facts)
    if beneath is not None:
        adapter = side_by_side(beneath, adapter)
    told = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, target_modules=config.target_modules).to_dict()  # type: ignore[arg-type]
    settings = {f"{family.denoiser_name}.{name}": sorted(v) if isinstance(v, set) else v for name, v in told.items()}
    header = {
        "format": "pt",
        "lora_adapter_metadata": json.dumps(settings, sort_keys=True),
        "cliploom": json.dumps(dict(facts), sort_keys=True),
    }
    save_file({name: tensor.contiguous() for name, tensor in adapter.layers.items()}, folder / ADAPTER_FILE, header)
    return folder / ADAPTER_FILE


def load_adapter(family: Family, path: Path) -> None:
    """Load an adapter file the way any user of diffusers does, and by PEFT where diffusers has no way."""
    if hasattr(family.pipeline, "load_lora_weights"):
        family.pipeline.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)
        return
    config = adapter_header(path)["lora_adapter_metadata"]
    known = {name.removeprefix(f"{family.denoiser_name}."): value for name, value in config.items()}
    _put_on(family, LoraConfig(**known), read_adapter(path), _OWN)


def unload_adapter(family: Family) -> None:
    """Take every adapter off the denoiser."""
    recurse_remove_peft_layers(family.denoiser)
    for name in ("peft_config", "_hf_peft_config_loaded"):
        vars(family.denoiser).pop(name, None)


def read_adapter(path: Path) -> Adapter:
    """The adapter in a file.

    Raises:
        InputError: it is no adapter file of ours, or not whole.
    """
    header = adapter_header(path)
    config = {name.partition(".")[2]: value for name, value in header.get("lora_adapter_metadata", {}).items()}
    if not config.keys() >= {"r", "lora_alpha"}:
        raise InputError(f"adapter {path.name} does not tell its rank and alpha; expected one that was trained here")
    return Adapter(load_file(path), config["r"], config["lora_alpha"], header.get("cliploom", {}))


def adapter_header(path: Path) -> dict[str, Any]:
    """What an adapter file says of itself: `lora_adapter_metadata` (LoRA settings) and `cliploom` (lineage).

    Raises:
        InputError: it is no whole safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"adapter {path.name} cannot be read ({error}); expected a whole safetensors file") from error
    return {name: json.loads(header[name]) for name in ("lora_adapter_metadata", "cliploom") if name in header}


def _put_on(family: Family, config: LoraConfig, adapter: Adapter, name: str) -> None:
    """Add an adapter of these weights to the denoiser under a name of PEFT's."""
    inject_adapter_in_model(config, family.denoiser, adapter_name=name)
    start = f"{family.denoiser_name}."
    layers = {layer.removeprefix(start): tensor for layer, tensor in adapter.layers.items()}
    result = set_peft_model_state_dict(family.denoiser, layers, adapter_name=name)
    assert result is None or not result.unexpected_keys, "PEFT found no place for some keys"


def _layers(family: Family) -> dict[str, Tensor]:
    """The trained adapter's own tensors, as adapter files name them."""
    layers = get_peft_model_state_dict(family.denoiser, adapter_name=_OWN)
    return {f"{family.denoiser_name}.{name}": tensor for name, tensor in layers.items()}


def _same_shape(path: Path, name: str, given: Tensor, own: Tensor) -> None:
    if given.shape != own.shape:
        raise InputError(
            f"parent adapter {path.name}: {name} has shape {list(given.shape)}, expected {list(own.shape)}; start from"
            " an adapter of the same base"
        )


def _fuse(family: Family, parent: Adapter) -> None:
    """Add the parent's products to the base's weights."""
    scale = parent.alpha / parent.rank
    for key in parent.modules:
        layer = family.denoiser.get_submodule(key.removeprefix(f"{family.denoiser_name}."))
        product = parent.layers[f"{key}.lora_B.weight"].float() @ parent.layers[f"{key}.lora_A.weight"].float()
        weight = layer.get_base_layer().weight
        with torch.no_grad():
            weight.add_((scale * product).to(weight))


def _freeze_beside(family: Family, parent: Adapter) -> None:
    """Load the parent as a second adapter that is active and not trained."""
    own = family.denoiser.peft_config[_OWN]
    config = LoraConfig(r=parent.rank, lora_alpha=parent.alpha, target_modules=own.target_modules)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`", category=UserWarning)
        _put_on(family, config, parent, _PARENT)
    for module in family.denoiser.modules():
        if isinstance(module, LoraLayer):
            module.set_adapter([_PARENT, _OWN])
    for name, parameter in family.denoiser.named_parameters():
        if f".{_PARENT}." in name:
            parameter.requires_grad_(False)
