"""Several processes that share the steps of a run: the weights of one alone, and the same bits where they are killed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from store.errors import SettingsError
from streams.together import work_together
from tests.trainer.made_discs import silent
from tests.trainer.made_runs import SETTINGS, gathered
from trainer.bases import Base
from trainer.crew import Crew
from trainer.encoded import Encoded
from trainer.lora import prepare, train_lora
from trainer.opening import open_base


def test_each_process_has_its_own_part_of_a_batch():
    rows = list(range(12))
    assert [rows[Crew(rank, 3).part(12)] for rank in range(3)] == [rows[:4], rows[4:8], rows[8:]]


def test_a_batch_that_cannot_be_shared_is_refused_with_the_remedy():
    Crew(0, 4).refuse_uneven(8)
    with pytest.raises(SettingsError, match=r"a batch of 6 .* evenly by 4 processes; set `batch` to a multiple of 4"):
        Crew(0, 4).refuse_uneven(6)


def test_what_is_encoded_comes_to_other_processes_as_it_is(base, tmp_path):
    encoded = gathered(base, tmp_path).encoded
    encoded.write(tmp_path / "encoded.pt")
    found = Encoded.read(tmp_path / "encoded.pt")
    assert all(torch.equal(one, other) for one, other in zip(found.latents, encoded.latents, strict=True))
    assert (found.clip_of == encoded.clip_of).all()
    assert torch.equal(found.text_shares, encoded.text_shares)
    assert found.texts.keys() == encoded.texts.keys()


@pytest.fixture(scope="module")
def shared(base, tmp_path_factory) -> list[Any]:
    """What two processes came to: (parameters, losses), at once, and of a run that was killed twice."""
    place = {"base": str(base.folder), "folder": str(tmp_path_factory.mktemp("together"))}
    ways = [place | {"kills": ()}, place | {"kills": (3, 7)}]
    return [work_together(2, "tests.trainer.made_runs", (), way, lambda message: None) for way in ways]


def test_two_processes_end_with_the_weights_of_one(base: Base, shared, tmp_path: Path):
    material = gathered(base, tmp_path)
    student = prepare(open_base(base, "cpu"), SETTINGS, material.channels, None)
    losses = train_lora(student, material.encoded, material.shares, SETTINGS, silent)
    found, found_losses = shared[0]
    assert found_losses == pytest.approx(losses, rel=1e-5)
    largest = max(parameter.abs().max().item() for parameter in student.parameters)
    for one, other in zip(found, student.parameters, strict=True):
        assert (one - other).abs().max().item() <= 1e-5 * largest


def test_all_processes_hold_the_same_bits_and_a_killed_run_ends_with_them(shared):
    (whole, losses), (resumed, again) = shared
    assert again == losses
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))


def test_more_steps_or_another_seed_end_elsewhere(base, shared, tmp_path):
    material = gathered(base, tmp_path)
    student = prepare(open_base(base, "cpu"), SETTINGS, material.channels, None)
    train_lora(student, material.encoded, material.shares, replace(SETTINGS, seed=1), silent)
    assert not any(torch.equal(one, other) for one, other in zip(shared[0][0], student.parameters, strict=True))
