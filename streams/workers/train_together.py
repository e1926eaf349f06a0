"""Trains a LoRA for a request in several processes, one to a device, that share every step.

This process only launches them and passes on what they tell: it holds no model.
"""

from collections.abc import Callable
from typing import Any

from store.records import TrainingFinished, TrainingRequested
from streams.together import work_together


def make_worker(
    data: str, device: str, size: int
) -> Callable[[TrainingRequested, Callable[[Any], None]], TrainingFinished]:
    """As `streams.workers.train.make_worker`, in `size` processes: on `device` and those that follow it, or on the
    CPU."""

    def work(request: TrainingRequested, emit: Callable[[Any], None]) -> TrainingFinished:
        return work_together(size, "streams.workers.train", (data, device), request, emit)

    return work
