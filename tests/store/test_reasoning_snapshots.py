"""Snapshots of clips that were reasoned about: the trace and its checks lie in files of their own."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from store.answers import AnswerStore
from store.export import read_lines
from store.records import SnapshotRequested
from store.snapshots import create_snapshot, diff_snapshots, read_manifest, verify_snapshot
from store.store import Store
from store.view import View
from tests.store.made_footage import COLUMNS, NOON, Video, reasoned

SAID = Video("said", reasoning=reasoned())
BEFORE = Video("before", n_clips=1)
"""Annotated before reasoning was kept."""


def publish(store, folder, tag="v1"):
    return create_snapshot(store, SnapshotRequested(tag=tag, note="", requested_by="Ada", requested_at=NOON), folder)


def test_trace_and_checks_lie_in_their_files_with_their_recipes(store, ingest, tmp_path):
    ingest(store, SAID, BEFORE)
    publish(store, tmp_path)
    reasoning = read_lines(tmp_path / "v1" / "reasoning.jsonl")
    assert [line["clip_id"] for line in reasoning] == sorted(SAID.clip_ids)
    assert reasoning[0] == {
        "clip_id": min(SAID.clip_ids),
        "engine": "measured",
        "recipe": "0f" * 8,
        "rounds": 1,
        "failed": None,
        "trace": {"caption": "A park.", "findings": {}},
    }
    checks = read_lines(tmp_path / "v1" / "checks.jsonl")
    assert [line["clip_id"] for line in checks] == sorted(SAID.clip_ids)
    assert (checks[0]["recipe"], checks[0]["contradiction"]) == ("0f" * 8, 0.0)
    assert [(one["claim"], one["verdict"]) for one in checks[0]["checks"]] == [("motion is high", "supported")]


def test_the_metadata_hold_neither_trace_nor_checks_and_no_file_holds_raw_answers(store, ingest, tmp_path):
    ingest(store, SAID)
    AnswerStore(store.media).put(SAID.clip_ids[0], "0f" * 8, {"q1": {"thinking": "raw-thinking-xyz"}})
    publish(store, tmp_path / "snapshots")
    folder = tmp_path / "snapshots" / "v1"
    told = set(read_lines(folder / "metadata.jsonl")[0])
    assert told == set(pq.read_schema(folder / "metadata.parquet").names)
    assert not told & {"trace", "checks", "contradiction", "is_contradicted", "reason_recipe", "reason_failed"}
    assert {"caption", "readings", "origins", "engine"} <= told
    assert not any(b"raw-thinking-xyz" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (reasoned(), True),
        (reasoned("A street."), False),
        (reasoned(recipe="ab" * 8), False),
        (None, False),
    ],
    ids=["the same", "another trace", "another recipe", "none"],
)
def test_the_digest_covers_what_annotations_were_distilled_from(other, same, ingest, tmp_path):
    digests = []
    for name, reasoning in (("one", reasoned()), ("two", other)):
        there = Store.open(tmp_path / name, COLUMNS)
        ingest(there, replace(SAID, reasoning=reasoning))
        digests.append(publish(there, tmp_path / f"{name}-snapshots").digest)
    assert (digests[0] == digests[1]) == same


@pytest.mark.parametrize("name", ["reasoning.jsonl", "checks.jsonl"])
def test_a_changed_file_is_a_fault(name, store, ingest, tmp_path):
    ingest(store, SAID)
    publish(store, tmp_path)
    assert verify_snapshot(tmp_path / "v1") == []
    path = tmp_path / "v1" / name
    path.write_text(path.read_text().replace("park", "lake").replace("motion is high", "motion is low"))
    faults = verify_snapshot(tmp_path / "v1")
    assert faults[0] == f"{name} was changed"
    # Checks follow from the trace and the measurements: only the sums cover them.
    assert any("manifest.json says" in fault for fault in faults) == (name == "reasoning.jsonl")


def test_a_file_that_is_gone_is_a_fault(store, ingest, tmp_path):
    ingest(store, SAID)
    publish(store, tmp_path)
    (tmp_path / "v1" / "reasoning.jsonl").unlink()
    assert "reasoning.jsonl is missing" in verify_snapshot(tmp_path / "v1")


def test_clips_of_before_reasoning_was_kept_are_published_with_empty_files(store, ingest, tmp_path):
    ingest(store, BEFORE)
    assert publish(store, tmp_path).n_kept == len(BEFORE.clip_ids)
    assert read_lines(tmp_path / "v1" / "reasoning.jsonl") == []
    assert "reason" not in read_manifest(tmp_path / "v1")["recipes"]
    assert verify_snapshot(tmp_path / "v1") == []


def test_a_snapshot_that_was_made_before_there_were_such_files_still_verifies(store, ingest, tmp_path):
    ingest(store, BEFORE)
    publish(store, tmp_path)
    folder = tmp_path / "v1"
    sums = (folder / "checksums.sha256").read_text().splitlines(keepends=True)
    for name in ("reasoning.jsonl", "checks.jsonl"):
        (folder / name).unlink()
        sums = [line for line in sums if not line.endswith(f"  {name}\n")]
    (folder / "checksums.sha256").write_text("".join(sums))
    assert verify_snapshot(folder) == []
    publish(store, tmp_path, "v2")
    assert diff_snapshots(folder, tmp_path / "v2")["changed"] == {}


def test_the_manifest_and_the_card_name_the_recipe_of_the_reasoning(store, ingest, tmp_path):
    ingest(store, SAID, BEFORE)
    publish(store, tmp_path)
    assert read_manifest(tmp_path / "v1")["recipes"]["reason"] == ["0f" * 8]
    assert f"| reason | `{'0f' * 8}` |" in (tmp_path / "v1" / "README.md").read_text()


def test_a_contradicted_clip_is_kept_back_and_the_card_says_why(store, ingest, tmp_path):
    ingest(store, SAID, Video("lying", n_clips=1, reasoning=reasoned(is_contradicted=True)))
    assert publish(store, tmp_path).n_kept == len(SAID.clip_ids)
    told = "- 1 held for reasoning: its description contradicts what was measured, also on a second look"
    assert told in (tmp_path / "v1" / "README.md").read_text()
    assert len(read_lines(tmp_path / "v1" / "reasoning.jsonl")) == len(SAID.clip_ids)


def test_an_annotation_without_reasoning_takes_the_place_of_one_with_it_whole(store, ingest):
    ingest(store, SAID)
    old = [record.model_copy(update={"reasoning": None}) for record in SAID.densified]
    View(store).apply(old)
    row = store.clips.get(SAID.clip_ids[0])
    assert {row[name] for name in ("trace", "contradiction", "is_contradicted", "reason_recipe")} == {None}
    assert {one["rule"] for one in row["decisions"]} == {"licence", "age", "black"}
