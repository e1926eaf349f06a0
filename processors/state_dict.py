"""Published weights for nets whose architecture is written here."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from store.errors import ModelUnavailable


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a file of torch's; nothing else in it is read, and no code of it run.

    Raises:
        ModelUnavailable: the file is none such, or damaged.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, SafetensorError) as error:
        raise ModelUnavailable(f"{path} holds no weights that can be read ({error}); bring it again") from error


def fill(net: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a net whose architecture is written here; all of them, and nothing is left over.

    Raises:
        ModelUnavailable: names or shapes differ, so that the file is of another model.
    """
    # Counters of training steps, which files from before torch 0.4.1 do not have and nothing here reads.
    counters = {name: value for name, value in net.state_dict().items() if name.endswith("num_batches_tracked")}
    try:
        net.load_state_dict(counters | dict(state))
    except RuntimeError as error:
        raise ModelUnavailable(f"{path} holds the weights of another model: {str(error)[:500]}") from error
