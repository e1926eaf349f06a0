"""Which device is chosen, and what is told where it is not there."""

import pytest
import torch

from processors.device import choose_device, half_precision
from store.errors import SettingsError

N_GPUS = torch.cuda.device_count() if torch.cuda.is_available() else 0


def test_auto_is_the_first_gpu_where_there_is_one() -> None:
    assert choose_device("auto") == ("cuda:0" if N_GPUS else "cpu")
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize("asked", ["tpu", "cuda:", "cuda:one", "cuda:-1", "cpu:0", ""])
def test_what_is_no_device_is_refused(asked: str) -> None:
    with pytest.raises(SettingsError, match="is no device; give auto, cpu, cuda or cuda:<number>"):
        choose_device(asked)


def test_a_gpu_that_is_not_there_is_told_with_the_remedy() -> None:
    with pytest.raises(SettingsError, match=r"sees .*on this machine; install .*or give --device cpu or auto"):
        choose_device(f"cuda:{N_GPUS}")


@pytest.mark.skipif(N_GPUS > 0, reason="this machine has a GPU")
def test_without_a_gpu_it_is_told() -> None:
    with pytest.raises(SettingsError, match="sees no GPU on this machine"):
        choose_device("cuda")


def test_a_cpu_computes_in_full_precision() -> None:
    assert half_precision("cpu") is None
