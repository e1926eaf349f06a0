"""The inner loop that every training here runs: AdamW over a loss, checked at every step."""

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

from store.errors import InputError

REPORT_EVERY = 10
"""Steps between two calls of a progress callback; the last step is always told."""


class Progress(Protocol):
    """Told how far a run is; may raise to stop it."""

    def __call__(self, phase: str, step: int, steps: int, loss: float | None) -> None:
        """phase: `base`, `lora` or `evaluate`; step: 1 to steps."""


Told = Callable[[int, float], None]
"""Told (step from 1, loss) every `REPORT_EVERY` steps and at the last."""


def fit(
    parameters: Iterable[nn.Parameter],
    loss_of_step: Callable[[], Tensor],
    steps: int,
    lr: float,
    told: Told,
) -> list[float]:
    """Minimise a loss with AdamW: 5% linear warm-up, cosine decay, gradients clipped to norm 1.

    Args:
        loss_of_step: draws a batch and gives its mean loss.

    Returns:
        The loss of every step.

    Raises:
        InputError: a loss is not finite.
    """
    trained = list(parameters)
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=1e-4)
    warm_up = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    losses = []
    for step in range(1, steps + 1):
        loss = loss_of_step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise InputError(
                f"the loss became {losses[-1]} at step {step} of {steps} (learning rate {lr:g}); lower the rate, or"
                " look for broken frames among the clips"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if step % REPORT_EVERY == 0 or step == steps:
            told(step, losses[-1])
    return losses
