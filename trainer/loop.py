"""The inner loop that every training here runs: AdamW over a loss, checked at every step, resumed to the bit.

What a step draws depends on the seed and the step's number alone (`drawn`), and the rate on the number; so the state
of a run is its parameters, the optimizer's moments and the number of steps that were taken.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from store.errors import InputError
from store.files import replacing
from trainer.crew import Crew

REPORT_EVERY = 10
"""Steps between two calls of a progress callback; the last step is always told."""
KEEP_EVERY_S = 30.0
"""Chosen: a kill costs half a minute of steps, and keeping them takes less than a hundredth of the time."""


class Progress(Protocol):
    """Told how far a run is; may raise to stop it."""

    def __call__(self, phase: str, step: int, steps: int, loss: float | None) -> None:
        """phase: `base`, `encode`, `lora` or `evaluate`; step: 1 to steps."""


Told = Callable[[int, float], None]
"""Told (step from 1, loss) every `REPORT_EVERY` steps and at the last."""


def drawn(seed: int, step: int) -> torch.Generator:
    """The random numbers of a step."""
    return torch.Generator().manual_seed((seed << 32) + step)


@dataclass
class Checkpoints:
    """Where a run keeps its state, and how often.

    facts: what the run is of; a state of another is not taken up.
    """

    path: Path
    facts: Any
    every_s: float = KEEP_EVERY_S
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    @property
    def is_due(self) -> bool:
        """Whether it is time to keep the state."""
        return self.clock() - self._last >= self.every_s

    def keep(self, parameters: Sequence[nn.Parameter], optimizer: Any, losses: Sequence[float]) -> None:
        """Put the state after `len(losses)` steps in place of the last, in one move."""
        state = {
            "facts": self.facts,
            "parameters": [parameter.detach() for parameter in parameters],
            "optimizer": optimizer.state_dict(),
            "losses": list(losses),
        }
        with replacing(self.path) as unfinished:
            torch.save(state, unfinished)
        self._last = self.clock()

    def take_up(self, parameters: Sequence[nn.Parameter], optimizer: Any) -> list[float]:
        """Go on from the kept state; the losses of the steps that it has behind it, none where there is no state."""
        if not self.path.is_file():
            return []
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        if state["facts"] != self.facts:
            return []
        with torch.no_grad():
            for parameter, kept in zip(parameters, state["parameters"], strict=True):
                parameter.copy_(kept)
        optimizer.load_state_dict(state["optimizer"])
        return state["losses"]


def fit(
    parameters: Sequence[nn.Parameter],
    loss_of_step: Callable[[int], Tensor],
    steps: int,
    lr: float,
    told: Told,
    accumulate: int = 1,
    checkpoints: Checkpoints | None = None,
    crew: Crew = Crew(),
) -> list[float]:
    """Minimise a loss with AdamW: 5% linear warm-up, cosine decay, gradients clipped to norm 1.

    Args:
        loss_of_step: draws the batch of this number, from 0, and gives its mean loss.
        accumulate: batches whose gradients make one step.
        crew: of processes that call this with the same arguments, each with a loss of its part of every batch; all end
            with the same parameters. Only the main one keeps checkpoints.

    Returns:
        The loss of every step.

    Raises:
        InputError: a loss is not finite; what was kept before stays.
    """
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=1e-4)
    warm_up = max(1, steps // 20)
    losses = checkpoints.take_up(parameters, optimizer) if checkpoints else []
    for step in range(len(losses), steps):
        optimizer.param_groups[0]["lr"] = lr * min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        optimizer.zero_grad(set_to_none=True)
        mean = 0.0
        for part in range(step * accumulate, (step + 1) * accumulate):
            loss = loss_of_step(part) / accumulate
            loss.backward()
            mean += loss.item()
        mean = crew.average(parameters, mean)
        if not math.isfinite(mean):
            raise InputError(
                f"the loss became {mean} at step {step + 1} of {steps} (learning rate {lr:g}); lower the rate, or"
                " look for broken frames among the clips"
            )
        losses.append(mean)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if checkpoints is not None and crew.is_main and checkpoints.is_due:
            checkpoints.keep(parameters, optimizer, losses)
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == steps:
            told(step + 1, mean)
    if checkpoints is not None and crew.is_main:
        checkpoints.keep(parameters, optimizer, losses)
    return losses
