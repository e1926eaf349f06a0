"""Removal takes what models answered about the clips, also what they answer late."""

import base64
from dataclasses import replace

import pytest

from store.answers import AnswerStore
from store.codec import encode
from store.media import MediaStore
from store.records import ClipSegmented, DeadLetter, RemovalRequested
from store.removal import remove
from store.view import View
from tests.store.made_footage import NOON, Video, later, reasoned

GOING = Video("going", source="street", reasoning=reasoned("Two people in a street."))
STAYING = Video("staying", source="park", reasoning=reasoned("A park."))
RECIPE = "0f" * 8


@pytest.fixture
def answers(store, ingest):
    """Answers about every clip of both videos, in a store of them."""
    ingest(store, GOING, STAYING)
    kept = AnswerStore(store.media)
    for clip_id in (*GOING.clip_ids, *STAYING.clip_ids):
        answer(kept, clip_id)
    return kept


def answer(kept, clip_id):
    kept.put(clip_id, RECIPE, {"q1": {"text": "{}", "thinking": f"who is seen in {clip_id}?"}})


def removed(store, tmp_path, subject="video", subject_id=GOING.video_id):
    asked = RemovalRequested(
        removal_id="removal-1", subject=subject, subject_id=subject_id, by="Ada", reason="-", requested_at=later(60)
    )
    View(store).apply([asked])
    proof = remove(store, asked, tmp_path / "snapshots", later(61))
    View(store).apply([proof])
    return proof


def about(kept, video):
    return [clip_id for clip_id in video.clip_ids if kept.of(clip_id)]


def test_answers_and_trace_go_with_their_clips_and_others_stay(store, answers, tmp_path):
    assert removed(store, tmp_path).verified
    assert about(answers, GOING) == []
    assert about(answers, STAYING) == list(STAYING.clip_ids)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for trace in (b"Two people in a street", *(f"who is seen in {id_}".encode() for id_ in GOING.clip_ids)):
        assert [path for path in files if trace in path.read_bytes()] == []


def test_answers_that_were_kept_again_before_the_removal_is_repeated_go_too(store, answers, tmp_path):
    first = removed(store, tmp_path)
    answer(answers, GOING.clip_ids[0])
    assert removed(store, tmp_path) == first
    assert about(answers, GOING) == []


def test_a_removal_that_leaves_answers_behind_is_not_verified(store, answers, tmp_path):
    class Forgetful(MediaStore):
        def delete(self, key):
            if not key.startswith("answers/"):
                super().delete(key)

    forgetful = replace(store, media=Forgetful(str(tmp_path / "data" / "media")))
    assert not removed(forgetful, tmp_path).verified
    assert removed(store, tmp_path).verified


def test_an_annotation_that_comes_after_the_removal_is_refused_and_its_answers_deleted(store, answers, tmp_path):
    removed(store, tmp_path)
    answer(answers, GOING.clip_ids[0])
    View(store).apply([GOING.densified[0], STAYING.densified[0]])
    assert about(answers, GOING) == []
    assert about(answers, STAYING) == list(STAYING.clip_ids)
    assert {row["video_id"] for row in store.clips.select()} == {STAYING.video_id}


def test_a_clip_that_dies_after_the_removal_takes_its_answers_along(store, answers, tmp_path):
    removed(store, tmp_path)
    answer(answers, GOING.clip_ids[0])
    letter = DeadLetter(
        dead_id="dead-1",
        step="densify",
        origin_topic="clips.embedded",
        origin_partition=0,
        origin_offset=7,
        origin_key=None,
        kind="refused",
        raw_base64=base64.b64encode(encode(GOING.embedded[0])).decode(),
        reason="no annotation",
        traceback="",
        attempts=1,
        video_id=GOING.video_id,
        clip_id=GOING.clip_ids[0],
        died_at=NOON,
    )
    View(store).apply([letter])
    assert about(answers, GOING) == []
    assert store.dead_letters.all() == {}


def test_a_video_whose_source_was_removed_before_it_was_told_of_loses_its_answers(store, answers, tmp_path):
    removed(store, tmp_path, "source", "street")
    slow = Video("slow", source="street", reasoning=reasoned(), submitted_at=later(59))
    slow.put_media(store.media)
    View(store).apply([*(ClipSegmented(clip=clip) for clip in slow.clips), *slow.embedded, *slow.densified])
    for clip_id in slow.clip_ids:
        answer(answers, clip_id)
    View(store).apply([slow.submitted])
    assert about(answers, slow) == []
    assert {row["video_id"] for row in store.clips.select()} == {STAYING.video_id}
