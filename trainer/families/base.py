"""What a diffusion family declares, so that one training loop serves them all.

A family wraps the loaded pipeline of a base. It names the modules that an adapter may touch, turns media and
texts into what the denoiser reads, gives the loss at given times and noise, and writes and reads adapters in
the format of its own pipeline.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from store.errors import InputError

ADAPTER_FILE = "pytorch_lora_weights.safetensors"
"""The name that diffusers looks for."""

Texts = dict[str, Tensor]
"""Arguments of the denoiser that carry the text; the first dimension counts texts."""


@dataclass(frozen=True)
class Generation:
    """How pictures are drawn from a model."""

    resolution_px: int
    steps: int
    guidance: float


class Family(ABC):
    """One diffusion family over one loaded base; the base's own weights are frozen."""

    pipeline_class: ClassVar[Any]
    """Pipeline of diffusers; a base's `model_index.json` names it."""
    targets: ClassVar[str]
    """Modules that get an adapter: a regular expression over module names, matched whole (PEFT does so only for a
    string; a list would match by suffix and reach self-attention)."""
    text: ClassVar[Literal["conditioning", "caption"]] = "conditioning"
    """What of a clip its texts are: the short conditioning string, or the caption, for encoders that read sentences."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        pipeline.set_progress_bar_config(disable=True)
        for component in pipeline.components.values():
            if isinstance(component, nn.Module):
                component.requires_grad_(False).eval()

    @classmethod
    def load(cls, folder: Path, device: str) -> "Family":
        """The base in `folder`, in float32 on `device`; nothing is fetched."""
        return cls(cls.pipeline_class.from_pretrained(folder, local_files_only=True).to(device))

    # --- what a family defines ---

    @property
    @abstractmethod
    def denoiser(self) -> Any:
        """The module that adapters are added to."""

    @abstractmethod
    def encode_frames(self, frames_rgb: np.ndarray) -> Tensor:
        """Scaled latents float32 [N, ...] on the CPU of frames uint8 [N, H, W, 3] RGB."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        """What the denoiser is given for each text, on the CPU."""

    @abstractmethod
    def sample_times(self, n: int, generator: torch.Generator) -> Tensor:
        """[n] times as the family's training draws them."""

    @abstractmethod
    def spread_times(self, n: int) -> Tensor:
        """[n] times spread evenly over the schedule, for a loss that can be compared."""

    @abstractmethod
    def predict(self, latents: Tensor, noise: Tensor, times: Tensor, texts: Texts) -> Tensor:
        """The denoiser's output [N, ...] for latents [N, ...] noised by `noise` to `times` [N]; differentiable."""

    @abstractmethod
    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What `predict` should have given."""

    @abstractmethod
    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        """One picture for each text and seed: uint8 [N, H, W, 3] RGB."""

    @abstractmethod
    def write_layers(self, folder: Path, layers: Mapping[str, Tensor], save_function: Any) -> None:
        """Write the adapter's tensors as `ADAPTER_FILE`, in the pipeline's own format."""

    @abstractmethod
    def adapter_layers(self) -> dict[str, Tensor]:
        """The adapter's tensors, under the names that `write_layers` takes."""

    @property
    @abstractmethod
    def prefix(self) -> str:
        """What the pipeline puts before the denoiser's names in an adapter file."""

    def loss(self, latents: Tensor, noise: Tensor, times: Tensor, texts: Texts) -> Tensor:
        """Mean squared error [N] of the prediction for each latent."""
        predicted = self.predict(latents, noise, times, texts)
        wanted = self.target(latents, noise, times).to(predicted.device)
        return mse_loss(predicted, wanted, reduction="none").flatten(1).mean(1)

    # --- adapters ---

    def target_modules(self) -> list[str]:
        """Names of the denoiser's modules that `targets` matches."""
        return [name for name, _ in self.denoiser.named_modules() if re.fullmatch(self.targets, name)]

    def adapted_modules(self) -> list[str]:
        """Names of the denoiser's modules that carry an adapter."""
        return [name for name, module in self.denoiser.named_modules() if isinstance(module, LoraLayer)]

    def add_adapter(self, rank: int, alpha: int, seed: int) -> list[nn.Parameter]:
        """Add a trainable adapter that changes nothing yet; returns its parameters.

        Low-rank adaptation (Hu et al., arXiv 2106.09685): W x + (alpha / rank) B A x with B = 0 at the start.

        Raises:
            InputError: the base has no module that the family's adapters belong on.
        """
        expected = self.target_modules()
        if not expected:
            raise InputError(f"the base has no module that matches {self.targets!r}; is it a {type(self).__name__}?")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.denoiser.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=self.targets))
        assert self.adapted_modules() == expected, "PEFT adapted other modules than the family names"
        return [parameter for parameter in self.denoiser.parameters() if parameter.requires_grad]

    def save_adapter(self, folder: Path, facts: Mapping[str, Any]) -> Path:
        """Write the adapter with its LoRA settings (without them alpha is lost) and `facts` in the file's header."""
        config = self.denoiser.peft_config["default"].to_dict()
        settings = {f"{self.prefix}.{name}": sorted(v) if isinstance(v, set) else v for name, v in config.items()}
        header = {
            "format": "pt",
            "lora_adapter_metadata": json.dumps(settings, sort_keys=True),
            "cliploom": json.dumps(dict(facts), sort_keys=True),
        }
        self.write_layers(folder, self.adapter_layers(), partial(save_file, metadata=header))
        return folder / ADAPTER_FILE

    def load_adapter(self, path: Path) -> None:
        """Load an adapter file the way any user of diffusers does."""
        self.pipeline.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)

    def start_from(self, path: Path) -> None:
        """Give the added adapter the weights of `path`.

        Raises:
            InputError: keys, shapes or alpha differ. (PEFT would load what fits and say nothing.)
        """
        own = {f"{self.prefix}.{name}": tensor for name, tensor in self.adapter_layers().items()}
        given = load_adapter_file(path)
        missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
        if missing or unexpected:
            raise InputError(
                f"parent adapter {path.name} does not fit: {len(missing)} keys missing {missing[:2]}, {len(unexpected)}"
                f" unexpected {unexpected[:2]}; start from an adapter of the same family and targets, or from none"
            )
        wrong = [name for name, tensor in own.items() if tensor.shape != given[name].shape]
        if wrong:
            raise InputError(
                f"parent adapter {path.name}: {wrong[0]} has shape {list(given[wrong[0]].shape)}, expected"
                f" {list(own[wrong[0]].shape)}; train with the parent's rank"
            )
        self._same_alpha(path)
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(given[name])

    def _same_alpha(self, path: Path) -> None:
        header = adapter_header(path).get("lora_adapter_metadata", {})
        parents, own = header.get(f"{self.prefix}.lora_alpha"), self.denoiser.peft_config["default"].lora_alpha
        if parents != own:
            raise InputError(f"parent adapter {path.name} has alpha {parents}, expected {own}; train with the parent's")


def load_adapter_file(path: Path) -> dict[str, Tensor]:
    """The tensors of an adapter file.

    Raises:
        InputError: it is no safetensors file.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"adapter {path.name} cannot be read ({error}); expected a whole safetensors file") from error


def adapter_header(path: Path) -> dict[str, Any]:
    """What an adapter file says of itself: `lora_adapter_metadata` (LoRA settings) and `cliploom` (lineage).

    Raises:
        InputError: it is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"adapter {path.name} cannot be read ({error}); expected a whole safetensors file") from error
    return {name: json.loads(header[name]) for name in ("lora_adapter_metadata", "cliploom") if name in header}
