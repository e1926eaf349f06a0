"""A run from request to artefacts, and the next stage that starts from it."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from store.errors import Conflict, InputError, NotFound, SettingsError
from store.records import Control
from tests.trainer.made_discs import NOW, TINY, made_clip, made_request, silent
from trainer import opening
from trainer.adapters import ADAPTER_FILE, adapter_header, read_adapter
from trainer.bases import GIVEN_LABEL, SMALL_LABEL
from trainer.card import Lineage, write_card
from trainer.control import CONTROL_FILE
from trainer.dataset import TrainingClip, falls_out, held_out_ids
from trainer.exports import COMFY_FILE, compare
from trainer.families.base import Texts
from trainer.families.sd import StableDiffusion
from trainer.lora import Parent
from trainer.material import RunClips
from trainer.run import TrainingResult, Workplace, run_training

QUICK = {
    **{"resolution_px": 32, "per_clip": 3, "steps": 40, "batch": 4, "lr": 5e-3},
    **{"sweeps": 1, "sampling_steps": 4},
}
LINEAGE = Lineage(
    definition={"name": "red_ground", "query": "ground = red"},
    recipe="rec1pe",
    snapshot=None,
    parent=None,
    trained_at=NOW,
)


def bright(number: int) -> TrainingClip:
    """A clip of the concept that says how bright it is, and how much of it is speech."""
    values = ((number - 24) / 4, (-1.0) ** number, 0.0)
    told = Control(names=("brightness", "speech", "tension"), values=values, present=(True, True, False))
    return replace(made_clip(number, "yellow"), control=told)


def workplace(bases: Path, folder: Path, **more: object) -> Workplace:
    """All folders of a run but the bases' below one."""
    return Workplace(bases=bases, kept=folder / "kept", run=folder / "run", out=folder / "out", **more)


@pytest.fixture(scope="module")
def members():
    """The concept: nine clips of two sources."""
    clips = [bright(number) for number in range(20, 29)]
    return [*clips[:-1], replace(clips[-1], source="street", licence=None, conditioning="close-up, red ground")]


@pytest.fixture(scope="module")
def stage_a(base, members, tmp_path_factory) -> tuple[TrainingResult, list[tuple]]:
    """A finished run on the tiny base, and what it told."""
    told: list[tuple] = []
    place = workplace(base.folder.parent, tmp_path_factory.mktemp("run"))
    request = made_request(settings=QUICK | {"base": str(base.folder)}, token="zivtek")
    clips = RunClips(members, (), members)
    result = run_training(request, clips, place, LINEAGE, lambda *progress: told.append(progress))
    return result, told


def test_it_leaves_every_artefact(stage_a):
    result, _ = stage_a
    pictures = {"grid.png", "sweeps.png", "losses.png", "report.html"}
    control = {CONTROL_FILE, "cliploom_control.py"}
    assert set(result.artefacts) == {ADAPTER_FILE, COMFY_FILE, "losses.json", "README.md", *control, *pictures}
    assert all(path.is_file() and path.name == name for name, path in result.artefacts.items())
    losses = json.loads(result.artefacts["losses.json"].read_text())
    assert len(losses["losses"]) == 40
    assert Image.open(result.artefacts["losses.png"]).width > 500
    assert Image.open(result.artefacts["sweeps.png"]).width > 5 * 160


def test_its_metrics_can_travel_and_tell_what_was_measured(stage_a, base):
    metrics = json.loads(json.dumps(stage_a[0].metrics))
    assert metrics["fixed_loss_after"] < metrics["fixed_loss_before"]
    assert metrics["reload_max_abs_diff"] == 0.0
    assert (metrics["base"], metrics["base_revision"], metrics["base_label"]) == (base.id, base.id, SMALL_LABEL)
    assert (metrics["definition"], metrics["recipe"]) == (LINEAGE.definition, "rec1pe")
    assert (metrics["dataset_digest"], metrics["parent"]) == ("d1ge57", None)
    assert (metrics["n_clips"], metrics["n_videos"], metrics["n_modules"]) == (9, 1, 28)
    assert stage_a[0].base_clip_ids == base.clip_ids
    # Speech varies more, but pictures have none that could be measured.
    assert (metrics["channels"], list(metrics["control_fidelity"])) == (["brightness", "speech"], ["brightness"])
    assert metrics["drift"] > 0.0
    assert isinstance(metrics["promoted"], bool)
    assert "held-out loss is" in metrics["verdict"][0]


def test_the_grid_shows_footage_base_and_adapter_for_every_text(stage_a):
    grid = np.asarray(Image.open(stage_a[0].artefacts["grid.png"]))
    cells = grid[-3 * 164 :, 130:].reshape(3, 164, 2, 164, 3)[:, :160, :, :160]
    assert cells.std((1, 3)).max() > 5
    assert np.abs(cells[0].astype(int) - cells[1]).mean() > 1
    assert np.abs(cells[1].astype(int) - cells[2]).mean() > 0.1


def test_the_card_tells_its_lineage_licences_and_limits(stage_a, base):
    card = stage_a[0].artefacts["README.md"].read_text()
    for told in (
        "LoRA of red_ground, stage A",
        "Trigger word: **zivtek**. Every text that it was trained on begins with it; begin yours with `zivtek, `.",
        "| trigger word | zivtek |",
        "`run-1`",
        '{"name": "red_ground", "query": "ground = red"}',
        "digest `d1ge57`, 9 clips of 1 videos",
        "`rec1pe`",
        f"`{base.id}`: {SMALL_LABEL}",
        f"| base revision | `{base.id}` |",
        "by scheduler at 2026-01-02T03:04:05+00:00: stage A: the first adapter",
        "| studio | CC-BY-4.0 | 8 |",
        "| street | none on record; released by a person | 1 |",
        "| parent adapter | none",
        "| lr | 0.005 |",
        "knows nothing but this footage",
        f"`{COMFY_FILE}`, the same adapter for ComfyUI: put it into `ComfyUI/models/loras`",
        "It opens no base as small as this one",
        "ComfyUI reads no control",
        f"`{COMFY_FILE}`, read back, changes each module as that does",
    ):
        assert told in card


def test_the_card_tells_how_comfyui_takes_the_adapter_or_that_it_cannot(stage_a, members, tmp_path):
    def card(**changes: object) -> str:
        metrics = stage_a[0].metrics | changes
        return write_card(tmp_path / "README.md", made_request(), LINEAGE, members, metrics).read_text()

    full_size = card(base_label=GIVEN_LABEL, channels=[])
    assert "with a strength of 1. The model that it is applied to must be this base.\n" in full_size
    assert "There is no file for ComfyUI, which has no such model." in card(exports={})
    assert COMFY_FILE not in card(exports={})


def test_its_file_for_comfyui_is_the_adapter(stage_a):
    files, metrics = stage_a[0].artefacts, stage_a[0].metrics
    difference = compare(StableDiffusion.comfy, read_adapter(files[ADAPTER_FILE]), files[COMFY_FILE])
    assert metrics["exports"] == {COMFY_FILE: difference}


def test_the_adapter_names_its_trigger_word(stage_a):
    header = adapter_header(stage_a[0].artefacts[ADAPTER_FILE])["cliploom"]
    assert (header["concept"], header["trigger_word"]) == ("red_ground", "zivtek")


class Reader(StableDiffusion):
    """Stable Diffusion that notes the texts that it is given."""

    read: tuple[str, ...] = ()

    def encode_texts(self, texts: Sequence[str]) -> Texts:
        type(self).read += tuple(texts)
        return super().encode_texts(texts)


class CaptionReader(Reader):
    """One that asks for captions, and that ComfyUI has no model of."""

    text = "caption"
    comfy = None


@pytest.fixture
def texts_of(members, base, tmp_path, monkeypatch):
    """Trains a family for one step; the texts that it read, but the empty one, and the result."""

    def train(family: type[Reader], token: str | None) -> tuple[set[str], TrainingResult]:
        monkeypatch.setitem(opening.known_families(), "StableDiffusionPipeline", family)
        monkeypatch.setattr(family, "read", ())
        captioned = [replace(members[0], caption="A disc crosses a yellow ground."), *members[1:]]
        request = made_request(settings=QUICK | {"base": str(base.folder), "steps": 1}, token=token)
        place = workplace(base.folder.parent, tmp_path / family.__name__ / str(token))
        result = run_training(request, RunClips(captioned, (), captioned), place, LINEAGE, silent)
        return set(family.read) - {""}, result

    return train


@pytest.mark.parametrize(
    ("family", "token", "read"),
    [
        (Reader, "zivtek", {"zivtek, wide shot, yellow ground, low motion", "zivtek, close-up, red ground"}),
        (Reader, None, {"wide shot, yellow ground, low motion", "close-up, red ground"}),
        (
            CaptionReader,
            "zivtek",
            {
                "zivtek, A disc crosses a yellow ground.",
                "zivtek, wide shot, yellow ground, low motion",
                "zivtek, close-up, red ground",
            },
        ),
    ],
    ids=["conditioning", "without a token", "captions"],
)
def test_a_family_trains_on_the_texts_that_it_asks_for_behind_the_token(texts_of, family, token, read):
    seen, result = texts_of(family, token)
    assert seen == read
    card = result.artefacts["README.md"].read_text()
    assert ("Trigger word: **zivtek**" in card) == (token is not None)
    assert ("| trigger word | none: requested before there were any |" in card) == (token is None)
    exports = [] if family.comfy is None else [COMFY_FILE]
    assert [name for name in result.artefacts if name == COMFY_FILE] == list(result.metrics["exports"]) == exports


def test_it_tells_how_far_it_is(stage_a):
    _, told = stage_a
    assert [(phase, step, steps) for phase, step, steps, _ in told] == [
        *(("encode", number, 9) for number in range(1, 10)),
        *(("lora", number, 40) for number in (10, 20, 30, 40)),
        *(("evaluate", number, 4) for number in range(1, 5)),
    ]


def parent_of(result: TrainingResult) -> Parent:
    return Parent(result.artefacts[ADAPTER_FILE], result.artefacts[CONTROL_FILE])


@pytest.mark.parametrize("start", ["continue", "stack", "fuse"])
def test_stage_b_goes_on_from_its_parent_on_the_parents_base(stage_a, members, base, tmp_path, start):
    settings = QUICK | {"lr": 1e-3, "steps": 5, "start": start, "replay": 0.25, "sweeps": 0}
    request = made_request(run_id="run-2", stage="B", parent="run-1", settings=settings, token="zivtek")
    lineage = replace(LINEAGE, parent=parent_of(stage_a[0]))
    narrow, place = members[2:8], workplace(base.folder.parent, tmp_path)
    result = run_training(request, RunClips(narrow, members, members), place, lineage, silent)
    assert (result.metrics["base"], result.metrics["parent"]) == (base.id, "run-1")
    assert set(result.learned_from) > {clip.clip_id for clip in narrow} - held_out_ids([c.clip_id for c in members])
    assert result.metrics["reload_max_abs_diff"] < 1e-4
    assert "that of its parent" in result.metrics["verdict"][0]
    assert "| parent adapter | run `run-1` |" in result.artefacts["README.md"].read_text()


def test_before_its_first_step_it_is_what_the_parent_was_at_its_end(stage_a, members, base, tmp_path):
    request = made_request(run_id="run-2", stage="B", parent="run-1", settings=QUICK | {"steps": 1}, token="zivtek")
    lineage = replace(LINEAGE, parent=parent_of(stage_a[0]))
    place = workplace(base.folder.parent, tmp_path)
    metrics = run_training(request, RunClips(members, (), members), place, lineage, silent).metrics
    assert metrics["held_out_loss_before"] == stage_a[0].metrics["held_out_loss_after"]
    assert metrics["control_fidelity_before"] == stage_a[0].metrics["control_fidelity"]


def test_a_run_that_is_killed_in_its_steps_ends_with_the_same_files(stage_a, members, base, tmp_path):
    request = made_request(settings=QUICK | {"base": str(base.folder)}, token="zivtek")
    place = workplace(base.folder.parent, tmp_path)

    def kill(phase: str, step: int, steps: int, loss: float | None) -> None:
        if (phase == "lora" and step == steps) or (phase == "evaluate" and step == 2):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_training(request, RunClips(members, (), members), place, LINEAGE, kill)
    result = run_training(request, RunClips(members, (), members), place, LINEAGE, silent)
    for name in (ADAPTER_FILE, CONTROL_FILE):
        once, again = (load_file(one.artefacts[name]) for one in (stage_a[0], result))
        assert all(torch.equal(again[layer], tensor) for layer, tensor in once.items())
    assert result.artefacts["losses.json"].read_text() == stage_a[0].artefacts["losses.json"].read_text()


def test_a_killed_run_whose_clips_are_told_otherwise_by_now_begins_anew(members, base, tmp_path):
    settings = QUICK | {"base": str(base.folder), "steps": 4, "sweeps": 0}
    request, place = made_request(settings=settings, token="zivtek"), workplace(base.folder.parent, tmp_path)

    def kill(phase: str, step: int, steps: int, loss: float | None) -> None:
        if phase == "evaluate" and step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(request, RunClips(members, (), members), place, LINEAGE, kill)
    told_otherwise = [replace(clip, conditioning="wide shot") for clip in members]
    clips = RunClips(told_otherwise, (), told_otherwise)
    results = [
        run_training(request, clips, one, LINEAGE, silent)
        for one in (place, workplace(base.folder.parent, tmp_path / "elsewhere"))
    ]
    resumed, anew = (result.artefacts["losses.json"].read_text() for result in results)
    assert resumed == anew


def test_a_run_without_control_on_a_parent_that_has_some_is_refused(stage_a, members, base, tmp_path):
    request = made_request(run_id="run-2", stage="B", parent="run-1", settings=QUICK | {"control": False})
    lineage = replace(LINEAGE, parent=parent_of(stage_a[0]))
    place = workplace(base.folder.parent, tmp_path)
    with pytest.raises(SettingsError, match="control is false, and the adapter that run run-2 goes on from is steered"):
        run_training(request, RunClips(members, (), members), place, lineage, silent)


def test_a_member_is_measured_on_also_where_only_what_is_replayed_falls_out(stage_a, members, base, tmp_path):
    few = [clip for clip in members if not falls_out(clip.clip_id)][:4]
    replayed = [made_clip(number, "red") for number in range(100, 130)]
    assert any(falls_out(clip.clip_id) for clip in replayed)
    settings = QUICK | {"steps": 1, "sweeps": 0, "replay": 0.25}
    request = made_request(run_id="run-2", stage="B", parent="run-1", settings=settings)
    lineage = replace(LINEAGE, parent=parent_of(stage_a[0]))
    place = workplace(base.folder.parent, tmp_path)
    result = run_training(request, RunClips(few, replayed, few), place, lineage, silent)
    assert result.metrics["n_held_out_pieces"] == QUICK["per_clip"]
    assert not [clip_id for clip_id in result.learned_from if falls_out(clip_id)]


def test_other_footage_that_the_family_cannot_take_is_passed_over_in_the_comparison(members, base, tmp_path):
    broken = replace(made_clip(40, "red"), load_frames=lambda: np.zeros((0, 8, 8, 3), np.uint8))
    request = made_request(settings=QUICK | {"base": str(base.folder), "steps": 1, "sweeps": 0})
    clips = RunClips(members, (), [*members, broken, made_clip(41, "red")])
    metrics = run_training(request, clips, workplace(base.folder.parent, tmp_path), LINEAGE, silent).metrics
    assert metrics["likeness_gap_after"] is not None


@pytest.mark.parametrize(("n_others", "members_too"), [(12, False), (7, True)])
def test_without_a_base_a_small_one_is_made_of_the_other_footage_where_there_is_enough(
    members, clips, tmp_path, n_others, members_too
):
    quick = replace(TINY, vae_steps=1, unet_steps=1)
    place = workplace(tmp_path / "bases", tmp_path, small_base=quick)
    footage = [*clips[:n_others], *members]
    request = made_request(settings=QUICK | {"steps": 1, "sweeps": 0})
    first = run_training(request, RunClips(members, (), footage), place, LINEAGE, silent)
    assert first.metrics["base_label"] == SMALL_LABEL
    seen = footage if members_too else clips
    assert {clip.clip_id for clip in seen} - set(first.base_clip_ids) == held_out_ids([c.clip_id for c in seen])
    phases: set[str] = set()
    again = replace(place, run=tmp_path / "again")
    second = run_training(
        request, RunClips(members, (), footage), again, LINEAGE, lambda phase, *rest: phases.add(phase)
    ).metrics
    assert second == first.metrics
    assert "base" not in phases


def test_a_held_member_stops_the_run_before_it_starts(members, base, tmp_path):
    place = workplace(base.folder.parent, tmp_path)
    held = [*members, made_clip(40, "red", held_for=("age",))]
    with pytest.raises(Conflict, match="clip clip40 of source 'studio' is held for age"):
        run_training(made_request(settings=QUICK), RunClips(held, (), members), place, LINEAGE, silent)
    assert not list(tmp_path.iterdir())


def test_a_held_clip_is_never_replayed(stage_a, members, base, tmp_path):
    held = [*members, made_clip(40, "red", held_for=("age",))]
    request = made_request(run_id="run-2", stage="B", parent="run-1", settings=QUICK | {"replay": 0.2})
    lineage = replace(LINEAGE, parent=parent_of(stage_a[0]))
    place = workplace(base.folder.parent, tmp_path)
    with pytest.raises(Conflict, match="clip clip40 of source 'studio' is held for age"):
        run_training(request, RunClips(members[:4], held, members), place, lineage, silent)


def test_too_few_clips_are_refused(members, base, tmp_path):
    place = workplace(base.folder.parent, tmp_path)
    with pytest.raises(InputError, match="1 clips; training takes at least 2 different clips"):
        run_training(made_request(settings=QUICK), RunClips(members[:1], (), members), place, LINEAGE, silent)


def test_too_little_memory_is_told_with_what_to_do(members, base, tmp_path):
    def full(phase: str, step: int, steps: int, loss: float | None) -> None:
        if phase == "lora":
            raise torch.OutOfMemoryError("out of memory")

    request = made_request(settings=QUICK | {"base": str(base.folder)})
    place = workplace(base.folder.parent, tmp_path)
    with pytest.raises(InputError, match=r"run run-1: the device has too little memory for batch 4 at 32 px; lower"):
        run_training(request, RunClips(members, (), members), place, LINEAGE, full)


def test_a_parent_on_another_base_or_without_its_file_is_refused(stage_a, members, base, tmp_path):
    lineage = replace(LINEAGE, parent=parent_of(stage_a[0]))
    stage_b = made_request(stage="B", parent="run-1", settings=QUICK)
    clips, empty = RunClips(members, (), members), workplace(tmp_path / "none", tmp_path)
    with pytest.raises(NotFound, match=rf"base {base.id} of the parent adapter is gone from none/"):
        run_training(stage_b, clips, empty, lineage, silent)
    with pytest.raises(InputError, match="parent run 'run-1' and its adapter file must come together"):
        run_training(stage_b, clips, empty, LINEAGE, silent)
    other = tmp_path / "other"
    shutil.copytree(base.folder, other, ignore=shutil.ignore_patterns("cliploom_base.json"))
    elsewhere = made_request(stage="B", parent="run-1", settings=QUICK | {"base": str(other)})
    with pytest.raises(Conflict, match=rf"trained on base {base.id}, not on base-"):
        run_training(elsewhere, clips, empty, lineage, silent)
