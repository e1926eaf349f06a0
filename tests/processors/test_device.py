"""Which device is chosen, and what is told where it is not there."""

import numpy as np
import pytest
import torch

from processors.base import DecodedClip
from processors.device import choose_device, half_precision, nth_device
from processors.engine import Engine
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


def test_several_processes_take_gpus_in_their_order_or_share_the_cpu() -> None:
    assert [nth_device("cpu", n) for n in range(3)] == ["cpu"] * 3
    assert [nth_device("auto", n) for n in range(N_GPUS)] == [f"cuda:{n}" for n in range(N_GPUS)]


@pytest.mark.skipif(N_GPUS == 0, reason="this machine has no GPU")
def test_more_processes_than_gpus_are_told_with_the_remedy() -> None:
    with pytest.raises(SettingsError, match=rf"{N_GPUS + 1} GPUs from cuda:0 on .*lower devices_per_run"):
        nth_device("auto", N_GPUS)


def test_a_cpu_computes_in_full_precision() -> None:
    assert half_precision("cpu") is None


def test_what_takes_half_precision_gives_nearly_the_same_in_it(engine: Engine, clips: dict[str, DecodedClip]) -> None:
    (whole,) = engine.run([clips["short"]])
    (half,) = Engine(engine.profile, half=torch.bfloat16).run([clips["short"]])
    taking = [processor for processor in engine.profile.processors if processor.half_on_gpu]
    of_them = {"vision.siglip", "audio.wav2vec2", "audio.hubert", "audio.ast"}
    assert of_them <= {processor.id for processor in taking}
    for processor in taking:
        assert processor.id not in half.failed
        for column in processor.columns:
            if column.kind == "vector":
                one, other = np.array(whole.values[column.name]), np.array(half.values[column.name])
                # Two clips are .85 alike at most; one in both precisions .9999, and .96 on CPUs that have bfloat16.
                assert one @ other > 0.9, column.name
                assert (one != other).any(), column.name
