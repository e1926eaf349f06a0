"""Training an adapter and control on the small base: that they learn, repeat, and go on where they were killed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from store.errors import InputError
from store.records import Control
from tests.trainer.made_discs import made_clip, made_request, silent
from trainer.adapters import save_adapter
from trainer.encoded import Kept
from trainer.loop import Checkpoints
from trainer.lora import fixed_losses, prepare, train_lora
from trainer.material import Material, RunClips, gather
from trainer.opening import open_base
from trainer.settings import LoraSettings

SETTINGS = LoraSettings(rank=4, alpha=2, steps=12, batch=4, resolution_px=32, per_clip=3, lr=1e-2)


def yellow(number: int):
    """A clip of the concept, a colour that the base never saw; its channel is where it is."""
    control = Control(names=("arousal", "same"), values=((number - 24) / 4, 0.3), present=(True, True))
    return replace(made_clip(number, "yellow"), control=control)


@pytest.fixture(scope="module")
def material(base, tmp_path_factory) -> Material:
    """Nine clips."""
    clips = RunClips([yellow(number) for number in range(20, 29)], (), ())
    kept = Kept(tmp_path_factory.mktemp("kept"), base.id)
    return gather(made_request(), clips, (), open_base(base, "cpu"), SETTINGS, kept, silent)


def trained(base, material, settings=SETTINGS, progress=silent, checkpoints=None):
    student = prepare(open_base(base, "cpu"), settings, material.channels, None)
    return student, train_lora(student, material.encoded, material.shares, settings, progress, checkpoints)


def test_the_loss_falls_on_clips_that_were_trained_on_and_on_others(base, material):
    settings = replace(SETTINGS, steps=60, batch=8, lr=3e-3)
    untrained = prepare(open_base(base, "cpu"), settings, material.channels, None)
    student, losses = trained(base, material, settings)
    for rows, most in ((material.held_out, 1.0), (material.trained_on, 0.985)):
        before, after = (fixed_losses(one, material.encoded, rows).mean() for one in (untrained, student))
        assert after < most * before
    assert len(losses) == 60


def test_only_channels_that_tell_clips_apart_are_trained(material):
    assert material.channels == ("arousal",)


def test_held_out_pieces_are_never_drawn(material):
    assert material.held_out
    assert material.shares[material.held_out].sum() == 0.0
    assert not set(material.clips_of(material.held_out)) & set(material.clips_of(material.trained_on))


def test_training_repeats_by_seed_and_a_run_that_is_killed_at_random_steps_ends_with_the_same_bits(
    base, material, tmp_path
):
    student, losses = trained(base, material)
    wanted = [parameter.detach().clone() for parameter in student.parameters]

    class Killed(Exception):
        """The process is gone."""

    def kill(phase: str, step: int, steps: int, loss: float | None) -> None:
        raise Killed

    path = tmp_path / "state.pt"
    for number in range(2):
        with pytest.raises(Killed):
            trained(base, material, progress=kill, checkpoints=Checkpoints(path, "r", 0.0 if number else 0.2))
    student, again = trained(base, material, checkpoints=Checkpoints(path, "r"))
    assert again == losses
    assert all(torch.equal(one, other) for one, other in zip(student.parameters, wanted, strict=True))
    other, _ = trained(base, material, replace(SETTINGS, seed=1))
    assert not any(torch.equal(one, two) for one, two in zip(other.parameters, wanted, strict=True))


def test_replayed_clips_have_their_share_of_the_draws_and_the_runs_own_the_rest(base, tmp_path):
    members = [yellow(number) for number in range(20, 36)]
    earlier = [made_clip(number, "red") for number in range(40, 56)]
    settings = replace(SETTINGS, replay=0.25, per_clip=1)
    request = made_request(stage="B", parent="p")
    clips = RunClips(members, earlier, ())
    found = gather(request, clips, (), open_base(base, "cpu"), settings, Kept(tmp_path, base.id), silent)
    assert found.shares[found.encoded.clip_of >= len(members)].sum() == pytest.approx(0.25)
    assert set(found.clips_of(found.held_out)) <= set(range(len(members)))


def test_a_loss_that_is_not_finite_ends_the_run(base, material):
    student = prepare(open_base(base, "cpu"), SETTINGS, (), None)
    student.family.denoiser.conv_out.bias.fill_(float("nan"))
    with pytest.raises(InputError, match=r"the loss became nan at step 1 of 12 .*lower the rate"):
        train_lora(student, material.encoded, material.shares, SETTINGS, silent)


def test_activations_that_are_computed_twice_give_the_same_adapter(base, material, tmp_path):
    plain, losses = trained(base, material, replace(SETTINGS, steps=2))
    saving, again = trained(base, material, replace(SETTINGS, steps=2, save_memory=True))
    assert again == pytest.approx(losses)
    for one, two in zip(plain.parameters, saving.parameters, strict=True):
        assert torch.allclose(one, two, atol=1e-5)
    assert save_adapter(saving.family, None, tmp_path, {}).is_file()


def test_losses_on_fixed_noise_do_not_depend_on_what_is_measured_beside(base, material):
    student = prepare(open_base(base, "cpu"), SETTINGS, (), None)
    rows = material.trained_on[:5]
    together = fixed_losses(student, material.encoded, rows)
    alone = np.concatenate([fixed_losses(student, material.encoded, [row]) for row in rows])
    assert together == pytest.approx(alone, rel=1e-4)
