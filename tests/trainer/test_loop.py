"""The loop: the same to the bit where it was interrupted, and it stops where a loss is no number."""

import random

import pytest
import torch
from torch import nn

from store.errors import InputError
from trainer.loop import Checkpoints, drawn, fit

STEPS = 30


class Stopped(Exception):
    """The process is gone."""


def train(path, stop_at: int | None = None, facts: str = "run", every_s: float = 0.0) -> tuple[list, list[float]]:
    """Fit a small net from its own start; parameters and losses."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1))

    def loss_of_step(step: int) -> torch.Tensor:
        if step == stop_at:
            raise Stopped
        x = torch.randn(16, 4, generator=drawn(3, step))
        return (net(x) - x.sum(1, keepdim=True)).square().mean()

    checkpoints = None if path is None else Checkpoints(path, facts, every_s)
    losses = fit(list(net.parameters()), loss_of_step, STEPS, 1e-2, lambda *told: None, checkpoints=checkpoints)
    return [parameter.detach().clone() for parameter in net.parameters()], losses


def test_a_run_that_is_stopped_at_twenty_steps_ends_with_the_same_bits(tmp_path):
    wanted, wanted_losses = train(None)
    stops = sorted(random.Random(1).sample(range(STEPS), 20))
    for stop in stops:
        with pytest.raises(Stopped):
            train(tmp_path / "state.pt", stop)
    found, losses = train(tmp_path / "state.pt")
    assert losses == wanted_losses
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert losses[-1] < losses[0]


def test_a_finished_run_takes_no_step_again_and_another_run_does_not_take_its_state_up(tmp_path):
    _, losses = train(tmp_path / "state.pt", every_s=1e9)
    assert train(tmp_path / "state.pt", stop_at=0)[1] == losses
    with pytest.raises(Stopped):
        train(tmp_path / "state.pt", stop_at=0, facts="another")


def test_batches_that_are_accumulated_make_one_step_of_their_mean():
    def fitted(accumulate: int, batches: list[float]) -> float:
        weight = nn.Parameter(torch.tensor(1.0))
        fit([weight], lambda part: weight * batches[part], 1, 0.1, lambda *told: None, accumulate)
        return weight.grad.item()

    assert fitted(2, [0.2, 0.4]) == pytest.approx(fitted(1, [0.3]))


def test_a_loss_that_is_no_number_ends_the_run_and_what_was_kept_before_stays(tmp_path):
    weight = nn.Parameter(torch.tensor(1.0))
    checkpoints = Checkpoints(tmp_path / "state.pt", "run", every_s=0.0)

    def loss_of_step(step: int) -> torch.Tensor:
        return weight * (float("nan") if step == 3 else 1.0)

    with pytest.raises(InputError, match=r"the loss became nan at step 4 of 10 .*lower the rate"):
        fit([weight], loss_of_step, 10, 0.1, lambda *told: None, checkpoints=checkpoints)
    kept = torch.load(tmp_path / "state.pt", weights_only=True)
    assert len(kept["losses"]) == 3
    assert torch.isfinite(kept["parameters"][0])


def test_the_end_is_always_told():
    weight, told = nn.Parameter(torch.tensor(1.0)), []
    fit([weight], lambda part: weight**2, 13, 0.1, lambda step, loss: told.append(step))
    assert told == [10, 13]
