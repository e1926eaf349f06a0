"""The processes of one machine that share the steps of a run: each takes its part of a batch, the gradients are
averaged, and so each of them takes the very step that one alone would take.

Nothing of this is there before the first step or after the last: the main process alone encodes, measures, draws and
writes. It calls the others when there is something to train on.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import nn

from store.errors import Passing, SettingsError

WAIT_FOR = timedelta(minutes=30)
"""Chosen: how long a step waits for a process that still loads its base."""


def _nobody(message: Any) -> None:
    """One process alone has nobody to call."""


@dataclass(frozen=True)
class Crew:
    """This process, and how many share the steps with it.

    rank: 0 is the main process. size: of all. call: has the others join, with what `trainer.joining` needs; only the
    main process calls, and only where there are others.
    """

    rank: int = 0
    size: int = 1
    call: Callable[[Any], None] = _nobody

    @property
    def is_main(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    def refuse_uneven(self, batch: int) -> None:
        """Raises SettingsError: the processes cannot have equal parts of a batch."""
        if batch % self.size:
            raise SettingsError(
                f"a batch of {batch} cannot be shared evenly by {self.size} processes; set `batch` to a multiple of"
                f" {self.size} (and `accumulate` to what keeps their product), or another devices_per_run in"
                " training.toml"
            )

    def part(self, batch: int) -> slice:
        """The rows of a batch that are this process's own."""
        own = batch // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    @contextmanager
    def together(self, device: torch.device) -> Iterator[None]:
        """While it is open, `average` works; every process of the crew opens it, on a device of its own."""
        if self.size == 1:
            yield
            return
        if device.index is not None:
            # Accelerate takes it for the number of the GPU; a service need not begin at the first.
            os.environ["LOCAL_RANK"] = str(device.index)
        state = PartialState(cpu=device.type == "cpu", timeout=WAIT_FOR)
        try:
            yield
        finally:
            state.destroy_process_group()
            PartialState._reset_state()

    def average(self, parameters: Sequence[nn.Parameter], loss: float) -> float:
        """Put the mean of all processes' gradients into each; the mean of their losses.

        Every process ends with the same bits: a sum is made once and handed round.

        Raises:
            Passing: another process is gone.
        """
        if self.size == 1:
            return loss
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        told = gradients[0].new_tensor([loss])
        own = torch.cat([*(gradient.flatten() for gradient in gradients), told])
        try:
            mean = reduce(own, "mean")
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise Passing(f"a process that shares the steps is gone, or cannot be reached: {error}") from error
        parts = mean.split([*(gradient.numel() for gradient in gradients), 1])
        for gradient, part in zip(gradients, parts[:-1], strict=True):
            gradient.copy_(part.view_as(gradient))
        return parts[-1].item()
