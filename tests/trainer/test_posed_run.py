"""A run that is steered by poses, from request to the lines on its card, and the next that starts from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainer.made_discs import NOW, made_request, silent
from tests.trainer.made_people import person_at, posed_clip
from trainer.adapters import ADAPTER_FILE
from trainer.card import Lineage, loading
from trainer.control import CONTROL_FILE, read_control
from trainer.dataset import PoseTrack
from trainer.lora import Parent
from trainer.material import RunClips
from trainer.run import TrainingResult, Workplace, run_training
from trainer.skeletons import draw_people

QUICK = {"resolution_px": 32, "per_clip": 1, "steps": 10, "batch": 4, "sweeps": 0, "sampling_steps": 2, "pose": True}


@pytest.fixture(scope="module")
def members():
    """Ten people who stand somewhere; nobody looked for one of them."""
    places = np.random.default_rng(0).uniform(0.3, 0.7, (10, 2))
    clips = [
        posed_clip(number, PoseTrack((0.0,), (person_at(x, y, 0.25, 0.12),))) for number, (x, y) in enumerate(places)
    ]
    return [*clips[:-1], replace(clips[-1], poses=None)]


def trained(base, folder: Path, members, parent: TrainingResult | None = None, **settings: object) -> TrainingResult:
    place = Workplace(bases=base.folder.parent, kept=folder / "kept", run=folder / "run", out=folder / "out")
    lineage = Lineage(definition={}, recipe="", snapshot=None, parent=None, trained_at=NOW)
    request = made_request(settings=QUICK | {"base": str(base.folder)} | settings)
    if parent:
        request = made_request(run_id="run-2", stage="B", parent="run-1", settings=QUICK | settings)
        files = parent.artefacts
        lineage = replace(lineage, parent=Parent(files[ADAPTER_FILE], files.get(CONTROL_FILE)))
    return run_training(request, RunClips(members, (), members), place, lineage, silent)


@pytest.fixture(scope="module")
def stage_a(base, members, tmp_path_factory) -> TrainingResult:
    """A finished run on the tiny base."""
    return trained(base, tmp_path_factory.mktemp("run"), members)


def test_it_tells_what_poses_are_worth_and_shows_them(stage_a):
    metrics, files = stage_a.metrics, stage_a.artefacts
    assert metrics["reload_max_abs_diff"] == 0.0
    assert (metrics["pose"], metrics["channels"]) == (True, [])
    assert metrics["pose_gain_error"] >= 0.0
    assert metrics["pose_gain"] != 0.0
    assert {"cliploom_skeletons.py", "cliploom_control.py", CONTROL_FILE, "poses.png"} <= files.keys()
    cells = np.asarray(Image.open(files["poses.png"]))[-3 * 164 :, 130:].reshape(3, 164, 6, 164, 3)[:, :160, :, :160]
    asked, with_it, without = cells.astype(int)
    assert (asked == 0).all(-1).mean() > 0.7
    assert asked.max() > 100
    assert np.abs(with_it - without).max() > 0
    report = files["report.html"].read_text()
    assert "alt='Poses'" in report
    assert "lower by the clips&#x27; own poses" in report
    assert "ComfyUI reads no control" in files["README.md"].read_text()


def test_the_lines_on_its_card_draw_a_pose_and_steer_by_it(stage_a, base, monkeypatch):
    folder = stage_a.artefacts[CONTROL_FILE].parent
    monkeypatch.syspath_prepend(folder)
    lines = loading(stage_a.metrics)
    assert lines in stage_a.artefacts["README.md"].read_text()
    people = np.array([person_at(0.5, 0.5, 0.4, 0.3)])
    known = {"base_folder": base.folder, "folder": folder, "people": people, "height": 32, "width": 32}
    exec(lines.replace('"..."', '"a person", height=32, width=32, num_inference_steps=2'), known)
    assert np.array_equal(known["pose"], draw_people(people, 32, 32))
    assert known["sample"].images[0].size == (32, 32)


def test_the_next_run_goes_on_with_its_poses_or_leaves_them_behind(stage_a, base, members, tmp_path):
    on = trained(base, tmp_path / "on", members, stage_a, steps=1, lr=1e-6)
    ours, parents = (read_control(one.artefacts[CONTROL_FILE]).pose.state_dict() for one in (on, stage_a))
    assert all(torch.allclose(tensor, parents[name], atol=1e-5) for name, tensor in ours.items())
    assert ours["out.weight"].any()
    without = trained(base, tmp_path / "without", members, stage_a, steps=1, pose=False)
    assert CONTROL_FILE not in without.artefacts
    assert "pose_gain" not in without.metrics
    begun = trained(base, tmp_path / "begun", members, without, steps=1)
    assert CONTROL_FILE in begun.artefacts
