"""Records: the codec, the ids and the errors for what is no record."""

import json
import types
import typing
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationError

from store.codec import RECORD_TYPES, decode, encode
from store.errors import RecordError
from store.records import Clip, ClipDensified, FootageSubmitted, Json, Record, clip_id, digest
from tests.store.made_footage import NOON, Video

SUBMITTED = Video("a").submitted


def example(hint: Any) -> Any:
    """A value of a field's type."""
    simple = {str: "text", int: 3, float: 0.1, bool: True, datetime: NOON, Json: {"a": [1, None, 0.1]}, Any: 1}
    if hint in simple:
        return simple[hint]
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint(**{name: example(field.annotation) for name, field in hint.model_fields.items()})
    origin, given = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union) or origin is Literal:
        return example(given[0]) if origin is not Literal else given[0]
    if origin is tuple:
        return tuple(example(one) for one in given if one is not Ellipsis)
    assert origin is dict, hint
    return {example(given[0]): example(given[1])}


@pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=RECORD_TYPES.keys())
def test_every_record_survives_the_wire(record_type):
    record = example(record_type)
    assert decode(encode(record)) == record
    assert isinstance(record.key, str)


def test_every_record_type_has_a_topic_of_its_own():
    subclasses = {one for one in Record.__subclasses__() if one.__module__.startswith("store.records.")}
    assert subclasses == set(RECORD_TYPES.values())


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "empty record"),
        (b"", "empty record"),
        (b"\xff\xfe", "not a record"),
        (b"no json", "not a record"),
        (b"[1]", "not a record"),
        (b'{"type": "footage.submitted"}', "not a record"),
        (b'{"type": "nonsense", "version": 1, "body": {}}', "unknown record type 'nonsense'"),
        (b'{"type": ["footage.submitted"], "version": 1, "body": {}}', "unknown record type"),
        (b'{"type": "footage.submitted", "version": 99, "body": {}}', "footage.submitted version 99 is unknown here"),
        (b'{"type": "footage.submitted", "version": 1, "body": {"name": 3}}', "footage.submitted is malformed"),
        (b'{"type": "footage.submitted", "version": 1, "body": null}', "footage.submitted is malformed"),
    ],
)
def test_bytes_that_are_no_record_are_refused_with_a_reason(raw, message):
    with pytest.raises(RecordError, match=message):
        decode(raw)


def test_a_field_that_no_version_knows_is_named():
    body = json.loads(encode(SUBMITTED))
    body["body"]["colour"] = "red"
    with pytest.raises(RecordError, match="colour"):
        decode(json.dumps(body).encode())


def test_records_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        SUBMITTED.name = "other"


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_clip_id_depends_on_video_ticks_and_recipe():
    known = clip_id("v", 0, 50, "r")
    assert len(known) == 32
    assert known == clip_id("v", 0, 50, "r")
    assert (
        len(
            {
                known,
                clip_id("w", 0, 50, "r"),
                clip_id("v", 1, 50, "r"),
                clip_id("v", 0, 51, "r"),
                clip_id("v", 0, 50, "s"),
            }
        )
        == 5
    )


def test_a_clips_seconds_come_from_its_ticks():
    clip = Video("a").clips[1].model_copy(update={"start_pts": 3003, "end_pts": 6006, "time_base": (1, 30000)})
    assert isinstance(clip, Clip)
    assert clip.start_s == pytest.approx(0.1001)
    assert clip.duration_s == pytest.approx(0.1001)


def test_times_keep_their_microseconds():
    at = datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
    there = decode(encode(SUBMITTED.model_copy(update={"submitted_at": at})))
    assert isinstance(there, FootageSubmitted)
    assert there.submitted_at == at


@pytest.mark.parametrize(
    ("kind", "without"), [("training.requested", {"token": None}), ("removals.done", {"tokens": (), "n_parts": 1})]
)
def test_records_from_before_there_were_tokens_are_read_as_having_none(kind, without):
    record = example(RECORD_TYPES[kind])
    told = json.loads(encode(record))
    assert told["version"] == RECORD_TYPES[kind].version
    for name in without:
        del told["body"][name]
    assert decode(json.dumps(told | {"version": 1}).encode()) == record.model_copy(update=without)


def test_a_snapshot_of_before_named_its_clips_and_is_read_without():
    record = example(RECORD_TYPES["snapshots.finished"])
    told = json.loads(encode(record))
    assert told["version"] == 2
    told["body"]["clip_ids"] = ["a", "b"]
    assert decode(json.dumps(told | {"version": 1}).encode()) == record


def test_a_run_of_before_tells_its_clips_itself():
    record = example(RECORD_TYPES["training.finished"])
    told = json.loads(encode(record))
    assert told["version"] == 2
    told["body"]["clip_ids"] = ["a", "b"]
    assert decode(json.dumps(told | {"version": 1}).encode()).clip_ids == ("a", "b")


def test_progress_of_before_there_were_stints_is_read_as_telling_of_none():
    record = example(RECORD_TYPES["training.progress"])
    told = json.loads(encode(record))
    assert told["version"] == 2
    del told["body"]["stints"]
    assert decode(json.dumps(told | {"version": 1}).encode()) == record.model_copy(update={"stints": ()})


def test_a_review_of_before_there_was_undoing_is_read_as_labelling_and_undoing_nothing():
    told = json.loads(encode(example(RECORD_TYPES["reviews.decided"])))
    assert told["version"] == 2
    for name in ("concepts", "others", "undoes", "shown"):
        del told["body"][name]
    found = decode(json.dumps(told | {"version": 1}).encode())
    assert (found.concepts, found.others, found.undoes, found.shown) == ({}, (), None, {})


def test_an_annotation_of_before_there_was_reasoning_is_read_as_measured():
    told = json.loads(encode(Video("a").densified[0]))
    assert (told["type"], told["version"]) == ("clips.densified", 2)
    body = told["body"]
    del body["reasoning"]
    for name in ("readings", "origins", "alternatives", "caption"):
        del body["annotation"][name]
    del body["annotation"]["affect"]["valence_trend"], body["annotation"]["control"]["calibration"]
    body["annotation"]["attributes"] = {"shot_scale": "wide", "pose": None}
    found = decode(json.dumps(told | {"version": 1}).encode())
    assert isinstance(found, ClipDensified)
    assert found.reasoning is None
    assert found.annotation.attributes == {"shot_scale": "wide", "pose": None}
    assert found.annotation.readings == {"shot_scale": {"wide": 1.0}}
    assert found.annotation.origins == {"shot_scale": "measured"}
    assert (found.annotation.alternatives, found.annotation.caption) == ((), None)
    assert decode(encode(found)) == found
