"""One tiny base for all tests of the trainer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.trainer.made_discs import TINY, made_clip, silent
from trainer.bases import Base
from trainer.dataset import TrainingClip
from trainer.smallbase import small_base


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors on a shared machine: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def clips() -> list[TrainingClip]:
    """Twelve clips of three videos."""
    return [made_clip(number, ("red", "green", "blue")[number % 3]) for number in range(12)]


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of bases."""
    return tmp_path_factory.mktemp("bases")


@pytest.fixture(scope="session")
def base(clips: list[TrainingClip], bases: Path) -> Base:
    """A tiny base of the clips."""
    return small_base(clips, bases, TINY, silent)
