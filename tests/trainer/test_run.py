"""A run from request to artefacts, and the next stage that starts from it."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from store.errors import Conflict, InputError, NotFound
from tests.trainer.made_discs import NOW, TINY, made_clip, made_request, silent
from trainer.bases import SMALL_LABEL
from trainer.card import Lineage
from trainer.dataset import held_out_ids
from trainer.families.base import ADAPTER_FILE, Texts, adapter_header
from trainer.families.sd import StableDiffusion
from trainer.opening import FAMILIES
from trainer.run import TrainingResult, Workplace, run_training

QUICK = {"resolution_px": 32, "frames_per_clip": 3, "steps": 20, "batch": 4, "lr": 1e-2}
LINEAGE = Lineage(
    definition={"name": "red_ground", "query": "ground = red"},
    recipe="rec1pe",
    snapshot=None,
    parent_adapter=None,
    trained_at=NOW,
)


@pytest.fixture(scope="module")
def members():
    """The concept: nine clips of two sources."""
    clips = [made_clip(number, "yellow") for number in range(20, 29)]
    return [*clips[:-1], replace(clips[-1], source="street", licence=None, conditioning="close-up, red ground")]


@pytest.fixture(scope="module")
def stage_a(base, members, tmp_path_factory) -> tuple[TrainingResult, list[tuple]]:
    """A finished run on the tiny base, and what it told."""
    told: list[tuple] = []
    place = Workplace(bases=base.folder.parent, out=tmp_path_factory.mktemp("out"))
    request = made_request(settings=QUICK | {"base": str(base.folder)}, token="zivtek")
    result = run_training(request, members, members, place, LINEAGE, lambda *progress: told.append(progress))
    return result, told


def test_it_leaves_every_artefact(stage_a):
    result, _ = stage_a
    assert set(result.artefacts) == {ADAPTER_FILE, "grid.png", "losses.png", "losses.json", "README.md"}
    assert all(path.is_file() and path.name == name for name, path in result.artefacts.items())
    losses = json.loads(result.artefacts["losses.json"].read_text())
    assert len(losses["losses"]) == 20
    assert Image.open(result.artefacts["losses.png"]).width > 500


def test_its_metrics_can_travel_and_tell_what_was_measured(stage_a, base):
    metrics = json.loads(json.dumps(stage_a[0].metrics))
    assert metrics["fixed_loss_after"] < metrics["fixed_loss_before"]
    assert metrics["reload_max_abs_diff"] == 0.0
    assert (metrics["base"], metrics["base_label"]) == (base.id, SMALL_LABEL)
    assert (metrics["n_clips"], metrics["n_videos"], metrics["n_modules"]) == (9, 1, 28)
    assert metrics["base_clip_ids"] == list(base.clip_ids)


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
        "by scheduler at 2026-01-02T03:04:05+00:00: stage A: the first adapter",
        "| studio | CC-BY-4.0 | 8 |",
        "| street | none on record; released by a person | 1 |",
        "| parent adapter | none",
        "| lr | 0.01 |",
        "knows nothing but this footage",
    ):
        assert told in card


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
    """One that asks for captions."""

    text = "caption"


@pytest.fixture
def texts_of(members, base, tmp_path, monkeypatch):
    """Trains a family for one step; the texts that it read, but the empty one, and the card."""

    def train(family: type[Reader], token: str | None) -> tuple[set[str], str]:
        monkeypatch.setitem(FAMILIES, "StableDiffusionPipeline", family)
        monkeypatch.setattr(family, "read", ())
        captioned = [replace(members[0], caption="A disc crosses a yellow ground."), *members[1:]]
        request = made_request(settings=QUICK | {"base": str(base.folder), "steps": 1}, token=token)
        place = Workplace(bases=base.folder.parent, out=tmp_path)
        result = run_training(request, captioned, captioned, place, LINEAGE, silent)
        return set(family.read) - {""}, result.artefacts["README.md"].read_text()

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
    seen, card = texts_of(family, token)
    assert seen == read
    assert ("Trigger word: **zivtek**" in card) == (token is not None)
    assert ("| trigger word | none: requested before there were any |" in card) == (token is None)


def test_it_tells_how_far_it_is(stage_a):
    _, told = stage_a
    assert [(phase, step, steps) for phase, step, steps, _ in told] == [
        ("lora", 10, 20),
        ("lora", 20, 20),
        ("evaluate", 1, 3),
        ("evaluate", 2, 3),
        ("evaluate", 3, 3),
    ]


def test_stage_b_goes_on_from_its_parent_on_the_parents_base(stage_a, members, base, tmp_path):
    parent = stage_a[0].artefacts[ADAPTER_FILE]
    changed = QUICK | {"lr": 1e-3, "steps": 5}
    request = made_request(run_id="run-2", stage="B", parent="run-1", settings=changed, token="zivtek")
    place = Workplace(bases=base.folder.parent, out=tmp_path)
    result = run_training(request, members, [], place, replace(LINEAGE, parent_adapter=parent), silent)
    assert result.metrics["base"] == base.id
    assert result.metrics["held_out_loss_before"] == stage_a[0].metrics["held_out_loss_after"]
    assert "| parent adapter | run `run-1` |" in result.artefacts["README.md"].read_text()


@pytest.mark.parametrize(("n_others", "members_too"), [(12, False), (7, True)])
def test_without_a_base_a_small_one_is_made_of_the_other_footage_where_there_is_enough(
    members, clips, tmp_path, n_others, members_too
):
    quick = replace(TINY, vae_steps=1, unet_steps=1)
    place = Workplace(bases=tmp_path / "bases", out=tmp_path / "out", small_base=quick)
    footage = [*clips[:n_others], *members]
    metrics = run_training(
        made_request(settings=QUICK | {"steps": 1}), members, footage, place, LINEAGE, silent
    ).metrics
    assert metrics["base_label"] == SMALL_LABEL
    seen = footage if members_too else clips
    assert {clip.clip_id for clip in seen} - set(metrics["base_clip_ids"]) == held_out_ids([c.clip_id for c in seen])


def test_a_small_base_is_kept_for_the_next_run(members, clips, tmp_path):
    quick = replace(TINY, vae_steps=1, unet_steps=1)
    place = Workplace(bases=tmp_path / "bases", out=tmp_path / "out", small_base=quick)
    footage = [*clips, *members]
    request = made_request(settings=QUICK | {"steps": 2})
    first = run_training(request, members, footage, place, LINEAGE, silent).metrics
    phases: set[str] = set()
    second = run_training(request, members, footage, place, LINEAGE, lambda phase, *rest: phases.add(phase)).metrics
    assert second == first
    assert "base" not in phases


def test_a_held_member_stops_the_run_before_it_starts(members, base, tmp_path):
    place = Workplace(bases=base.folder.parent, out=tmp_path / "out")
    held = [*members, made_clip(40, "red", held_for=("age",))]
    with pytest.raises(Conflict, match="clip clip40 of source 'studio' is held for age"):
        run_training(made_request(settings=QUICK), held, members, place, LINEAGE, silent)
    assert not place.out.exists()


def test_too_few_clips_are_refused(members, base, tmp_path):
    place = Workplace(bases=base.folder.parent, out=tmp_path)
    with pytest.raises(InputError, match="1 clips; training takes at least 2 different clips"):
        run_training(made_request(settings=QUICK), members[:1], members, place, LINEAGE, silent)


def test_a_parent_on_another_base_or_without_its_file_is_refused(stage_a, members, base, tmp_path):
    lineage = replace(LINEAGE, parent_adapter=stage_a[0].artefacts[ADAPTER_FILE])
    stage_b = made_request(stage="B", parent="run-1", settings=QUICK)
    empty = Workplace(bases=tmp_path / "none", out=tmp_path)
    with pytest.raises(NotFound, match=rf"base {base.id} of the parent adapter is gone from none/"):
        run_training(stage_b, members, members, empty, lineage, silent)
    with pytest.raises(InputError, match="parent run 'run-1' and its adapter file must come together"):
        run_training(stage_b, members, members, empty, LINEAGE, silent)
    other = tmp_path / "other"
    shutil.copytree(base.folder, other, ignore=shutil.ignore_patterns("cliploom_base.json"))
    elsewhere = made_request(stage="B", parent="run-1", settings=QUICK | {"base": str(other)})
    with pytest.raises(Conflict, match=rf"trained on base {base.id}, not on base-"):
        run_training(elsewhere, members, members, empty, lineage, silent)
