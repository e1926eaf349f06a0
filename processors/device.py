"""Where models compute, and how exactly."""

import torch

from store.errors import SettingsError


def choose_device(asked: str) -> str:
    """The device that is meant: `cpu`, `cuda:n`, or for `auto` the first GPU where there is one.

    Raises:
        SettingsError: it is no device, or not on this machine.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "cpu" or (asked == "auto" and not n_gpus):
        return "cpu"
    kind, _, number = asked.partition(":")
    if asked not in ("auto", "cuda") and not (kind == "cuda" and number.isdecimal()):
        raise SettingsError(f"--device {asked} is no device; give auto, cpu, cuda or cuda:<number>")
    if int(number or 0) >= n_gpus:
        told = "no GPU" if not n_gpus else "only " + ", ".join(f"cuda:{n}" for n in range(n_gpus))
        raise SettingsError(
            f"--device {asked}: torch {torch.__version__} sees {told} on this machine; install NVIDIA's driver "
            "(`nvidia-smi` must list the card), or give --device cpu or auto"
        )
    return f"cuda:{int(number or 0)}"


def nth_device(asked: str, n: int) -> str:
    """The device of the nth of several processes, from 0: GPUs in their order from the one that is meant, or the CPU
    for all.

    Raises:
        SettingsError: there are not so many GPUs.
    """
    first = choose_device(asked)
    if first == "cpu":
        return first
    number, n_gpus = int(first.partition(":")[2]) + n, torch.cuda.device_count()
    if number >= n_gpus:
        raise SettingsError(
            f"--device {asked}: {n + 1} GPUs from {first} on are asked for, and this machine has {n_gpus} in all; lower"
            " devices_per_run in training.toml, or give an earlier --device"
        )
    return f"cuda:{number}"


def half_precision(device: str) -> torch.dtype | None:
    """What `Processor.half_on_gpu` is computed in: bfloat16 where the GPU has it, else float16; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
