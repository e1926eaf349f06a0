"""What a process does that the main one of a run calls: it takes its part of every step, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from store.errors import InputError
from trainer.bases import Base
from trainer.crew import Crew
from trainer.encoded import Encoded
from trainer.loop import Checkpoints
from trainer.lora import Parent, prepare, train_lora
from trainer.opening import open_base
from trainer.settings import LoraSettings


@dataclass(frozen=True)
class Call:
    """What the main process has ready when the first step is due. It can be pickled.

    encoded: file of `Encoded.write`. shares: float64 [N], how often each piece is drawn. checkpoint, facts: see
    `trainer.loop.Checkpoints`; the state is read there, and written by the main process alone.
    """

    run_id: str
    base: Base
    settings: LoraSettings
    channels: tuple[str, ...]
    parent: Parent | None
    encoded: Path
    shares: np.ndarray
    checkpoint: Path
    facts: str


def join(call: Call, crew: Crew, device: str) -> None:
    """Train along.

    Raises:
        InputError: what `train_lora` raises, in each process; or too little memory.
    """
    with telling_of_memory(call.run_id, call.settings):
        family = open_base(call.base, device, getattr(torch, call.settings.precision))
        student = prepare(family, call.settings, call.channels, call.parent)
        checkpoints = Checkpoints(call.checkpoint, call.facts)
        encoded = Encoded.read(call.encoded)
        with crew.together(family.denoiser.device):
            train_lora(student, encoded, call.shares, call.settings, _silent, checkpoints, crew)


@contextmanager
def telling_of_memory(run_id: str, settings: LoraSettings) -> Iterator[None]:
    """Raises InputError: the device's memory ran out, with what would take less."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"run {run_id}: the device has too little memory for batch {settings.batch} at"
            f" {settings.resolution_px} px; lower `batch` and raise `accumulate`, set `save_memory`, lower"
            " `resolution_px` or `frames`, or set `precision` to bfloat16"
        ) from error


def _silent(phase: str, step: int, steps: int, loss: float | None) -> None:
    """The main process tells how far they all are."""
