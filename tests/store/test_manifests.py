"""What becomes of concepts' manifests that are superseded."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from store.manifests import FOLDERS, reclaim, supersede
from store.records import ConceptChanged, TrainingRequested, digest
from store.view import View
from tests.store.made_footage import NOON

DAY = timedelta(days=1)


def manifest(store, *clip_ids):
    listed = [{"clip_id": one, "eligible": True} for one in clip_ids]
    return store.media.put_bytes(json.dumps(listed).encode(), "json")


def changed(key, name="calm"):
    return ConceptChanged(
        concept=name,
        definition={},
        members_key=key,
        members_digest=digest(key),
        n_members=1,
        n_eligible=1,
        n_videos=1,
        purity=None,
        purity_low=None,
        ready=False,
        reasons=(),
        recipe="r",
    )


def requested(key):
    return TrainingRequested(
        run_id="r1",
        concept="calm",
        stage="A",
        members_key=key,
        members_digest=digest(key),
        parent=None,
        settings={},
        requested_by="schedule",
        reason="first",
        requested_at=NOON,
    )


def become(store, record):
    """As the writer does it."""
    supersede(store, [record])
    View(store).apply([record])


def age(store, *keys):
    """Let objects be two days old."""
    for key in keys:
        then = (datetime.now(UTC) - 2 * DAY).timestamp()
        os.utime(store.media.local_path(key), (then, then))


def swept(store, after=timedelta(0)):
    return reclaim(store, FOLDERS, datetime.now(UTC) + after)


def test_a_manifest_goes_a_day_after_another_took_its_place(store):
    first, second = manifest(store, "a"), manifest(store, "a", "b")
    become(store, changed(first))
    age(store, first, second)
    become(store, changed(second))
    assert swept(store) == [], "it is two days old and was in use until now"
    assert swept(store, after=DAY) == [first]
    assert store.media.keys() == [second]


def test_a_manifest_that_a_concept_or_a_run_is_of_stays_however_old_it_is(store):
    shared, of_run, last = manifest(store, "a"), manifest(store, "b"), manifest(store, "c")
    for key in (shared, of_run):
        become(store, changed(key))
    become(store, changed(shared, "lively"))
    become(store, requested(of_run))
    become(store, changed(last))
    assert swept(store, after=9 * DAY) == []
    assert len(store.media.keys()) == 3


def test_a_manifest_that_is_put_again_is_new(store):
    """Its record is on its way, and it would be gone when that comes."""
    first, second = manifest(store, "a"), manifest(store, "b")
    become(store, changed(first))
    become(store, changed(second))
    age(store, first)
    assert manifest(store, "a") == first
    assert swept(store) == []


@pytest.mark.parametrize(("content", "suffix"), [(b'{"loss": 0.1}', "json"), (b"[1, 2]", "json"), (b"[]", "mp4")])
def test_what_is_no_manifest_stays(store, content, suffix):
    key = store.media.put_bytes(content, suffix)
    assert swept(store, after=9 * DAY) == []
    assert store.media.exists(key)


def test_only_the_folders_that_are_asked_for_are_looked_through(store):
    key = manifest(store, "a")
    others = [one for one in FOLDERS if not key.startswith(one)]
    assert reclaim(store, others, datetime.now(UTC) + 9 * DAY) == []
    assert reclaim(store, [key[:2]], datetime.now(UTC) + 9 * DAY) == [key]
