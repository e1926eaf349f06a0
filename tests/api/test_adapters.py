"""Adapters over REST and by command: versions, lineage, promotion, retirement, files."""

from datetime import timedelta

import pytest

from store.learned import LEARNED_FILE, put_learned
from store.records import TrainingFinished, TrainingRequested
from store.removed import withdraw_run
from tests.api.conftest import NOON

LOSSES = {"held_out_loss_before": 0.5, "held_out_loss_after": 0.25}


@pytest.fixture
def trained(live):
    """Puts a run that succeeded into the store; runs end a minute apart, in the order in which they are made."""
    minutes = iter(range(1, 100))

    def put(run_id, promoted=True, concept="calm", stage="A", parent=None):
        told = {"run_id": run_id, "concept": concept, "stage": stage, "parent": parent, "members_key": "k"}
        told |= {"members_digest": "d1", "settings": {}, "requested_by": "scheduler", "reason": "due"}
        verdict = {"promoted": promoted, "verdict": ["held-out loss is lower"], "base_label": "small base"}
        files = {"pytorch_lora_weights.safetensors": b"weights of " + run_id.encode(), "README.md": b"# card"}
        live.apply(
            TrainingRequested.model_validate(told | {"token": "zivtek", "requested_at": NOON - timedelta(hours=2)}),
            TrainingFinished(
                run_id=run_id,
                concept=concept,
                status="succeeded",
                reason="",
                artefacts={name: live.store.media.put_bytes(data, "bin") for name, data in files.items()}
                | {LEARNED_FILE: put_learned(live.store.media, run_id, ("c1",), ("c1",))},
                metrics=verdict | LOSSES,
                finished_at=NOON - timedelta(hours=1) + timedelta(minutes=next(minutes)),
            ),
        )

    return put


def decide(live, adapter, verb, **body):
    return live.http.post(f"/adapters/{adapter}/{verb}", json={"by": "Ada", "reason": "better hands"} | body)


def states(live, **query):
    return {one["name"]: one["state"] for one in live.http.get("/adapters", params=query).json()}


def test_adapters_are_listed_by_concept_and_by_what_is_in_use(live, trained):
    trained("r1")
    trained("r2", promoted=False)
    trained("r3", concept="lively")
    trained("r4", stage="B", parent="r1")

    assert states(live) == {
        "calm/A1": "in use",
        "calm/A2": "not promoted",
        "calm/B1": "in use",
        "lively/A1": "in use",
    }
    assert list(states(live, concept="calm")) == ["calm/A1", "calm/A2", "calm/B1"]
    assert list(states(live, concept="calm", in_use=True)) == ["calm/A1", "calm/B1"]


def test_an_adapter_tells_what_it_descends_from_by_its_name_and_by_its_runs_id(live, trained):
    trained("r1")
    trained("r2", stage="B", parent="r1")

    answer = live.http.get("/adapters/calm/B1").json()

    assert answer == live.http.get("/adapters/r2").json()
    assert (answer["run_id"], answer["parent"], answer["token"], answer["stage"]) == ("r2", "calm/A1", "zivtek", "B")
    assert (answer["evaluation"], answer["promoted"], answer["verdict"]) == (LOSSES, True, ["held-out loss is lower"])
    assert answer["base"] == {"base": None, "base_label": "small base", "base_revision": None}
    file = live.http.get(f"/training/{answer['run_id']}/artefacts/{answer['artefacts'][2]}")
    assert (answer["artefacts"][0], file.content) == ("README.md", b"weights of r2")
    assert live.http.get("/adapters/calm/A9").status_code == 404


def test_a_person_rolls_back_and_forth_on_record(live, trained):
    trained("r1")
    trained("r2")
    trained("r3", promoted=False)

    answer = decide(live, "calm/A2", "retire", reason="faces melt")

    assert (answer.status_code, answer.json()["durable"]) == (201, True)
    assert states(live) == {"calm/A1": "in use", "calm/A2": "retired", "calm/A3": "not promoted"}
    assert decide(live, "r3", "promote").status_code == 201
    assert states(live) == {"calm/A1": "superseded", "calm/A2": "retired", "calm/A3": "in use"}
    assert [(one.topic, one.run_id, one.verb, one.by, one.reason) for one in live.published] == [
        ("adapters.decided", "r2", "retire", "Ada", "faces melt"),
        ("adapters.decided", "r3", "promote", "Ada", "better hands"),
    ]
    (told,) = live.http.get("/adapters/calm/A2").json()["decisions"]
    assert (told["verb"], told["by"], told["reason"]) == ("retire", "Ada", "faces melt")


@pytest.mark.parametrize(
    ("before", "adapter", "verb", "told"),
    [
        ([], "calm/A2", "promote", "calm/A2 cannot be promoted: it is in use; retire it to go back to the one before"),
        ([("r2", "retire")], "r2", "retire", "it is retired by Ada: better hands; promote it to put it into use again"),
        ([], "calm/A3", "retire", "it is not promoted; nothing goes on from it, and it needs no retiring"),
        ([], "calm/A1", "promote", "it is withdrawn; it is gone for good; POST /training asks for another"),
        ([], "calm/A1", "retire", "cannot be retired: it is withdrawn"),
    ],
)
def test_what_an_adapters_state_forbids_is_a_conflict_with_its_remedy(live, trained, before, adapter, verb, told):
    for run_id in ("r1", "r2"):
        trained(run_id)
    trained("r3", promoted=False)
    withdraw_run(live.store, "r1", "removed")
    for one in before:
        decide(live, *one)

    answer = decide(live, adapter, verb)

    assert answer.status_code == 409
    assert told in answer.json()["what"]


def test_an_unknown_adapter_is_not_promoted_and_nobody_promotes_without_a_reason(live, trained):
    trained("r1", promoted=False)

    unknown = decide(live, "calm/A2", "promote")

    assert (unknown.status_code, "GET /adapters lists" in unknown.json()["what"]) == (404, True)
    assert decide(live, "calm/A1", "promote", reason="").status_code == 422
    assert live.published == []


def test_where_the_clock_was_put_back_the_last_decision_still_counts(live, trained):
    trained("r1")
    live.put_back = timedelta(days=1)

    decide(live, "calm/A1", "retire")
    retired = states(live)
    decide(live, "calm/A1", "promote")

    assert (retired, states(live)) == ({"calm/A1": "retired"}, {"calm/A1": "in use"})


def test_a_decision_that_the_store_does_not_show_yet_is_accepted(live, trained):
    trained("r1")
    live.drops = True
    assert decide(live, "r1", "retire").status_code == 202


# --- the commands ------------------------------------------------------------------------------------------------


def test_the_commands_list_show_promote_and_retire(live, trained, run, run_json):
    trained("r1")
    trained("r2", promoted=False)
    trained("r3", concept="lively")

    assert [one["name"] for one in run_json("adapters", "list", "calm", "--in-use")[1]] == ["calm/A1"]
    listed = run("adapters", "list")[1]
    assert all(told in listed for told in ("calm/A2", "not promoted", "0.25", "held-out loss is lower", "lively/A1"))
    code, out, _ = run("adapters", "promote", "calm/A2", "--by", "Ada", "--reason", "sharper")
    assert (code, "on record as" in out) == (0, True)
    assert run("adapters", "retire", "calm/A1", "--by", "Ada", "--reason", "old")[0] == 0
    assert states(live, concept="calm") == {"calm/A1": "retired", "calm/A2": "in use"}
    assert "promoted by Ada: sharper" in run("adapters", "list", "calm")[1]
    shown = run("adapters", "show", "calm/A2")[1]
    assert all(told in shown for told in ("Ada: sharper", "evaluation: held_out_loss_after", "small base", "in use"))
    code, _, refused = run("adapters", "promote", "calm/A2", "--by", "Ada", "--reason", "again")
    assert (code, "it is in use; retire it" in refused) == (1, True)


def test_an_adapter_is_fetched_whole_into_a_folder(trained, run, run_json, tmp_path, monkeypatch):
    trained("r1")
    monkeypatch.chdir(tmp_path)

    code, told = run_json("adapters", "fetch", "calm/A1", "--out", tmp_path / "mine")

    assert (code, told["files"]) == (0, {"README.md": 6, "pytorch_lora_weights.safetensors": 13})
    assert (tmp_path / "mine" / "pytorch_lora_weights.safetensors").read_bytes() == b"weights of r1"
    assert "13 B" in run("adapters", "fetch", "r1")[1]
    assert sorted(path.name for path in (tmp_path / "calm-A1").iterdir()) == sorted(told["files"])


def test_what_cannot_be_fetched_is_told(live, trained, run, tmp_path):
    trained("r1")
    trained("r2")
    withdraw_run(live.store, "r1", "its footage was removed")
    (tmp_path / "taken").write_text("a file")

    gone = run("adapters", "fetch", "calm/A1", "--out", tmp_path / "a")
    taken = run("adapters", "fetch", "calm/A2", "--out", tmp_path / "taken")
    live.store.media.delete(live.store.runs.get("r2")["artefacts"]["README.md"])
    lost = run("adapters", "fetch", "calm/A2", "--out", tmp_path / "b")

    assert (gone[0], "calm/A1 is withdrawn and has no files: its footage was removed" in gone[2]) == (1, True)
    assert (taken[0], "taken cannot be written" in taken[2]) == (1, True)
    assert (lost[0], list((tmp_path / "b").glob("*.md"))) == (1, [])
