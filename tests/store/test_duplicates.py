"""Copies in a store: nearest first, through each other, and not beyond."""

import numpy as np
import pytest

from store.clips import ClipTable
from store.duplicates import COLUMN, distance, group_of
from store.errors import InputError, NotFound
from store.records import Column
from store.tables import connect


@pytest.fixture
def clips(tmp_path):
    return ClipTable(connect(str(tmp_path)), (Column(name=COLUMN, kind="vector", size=2),))


def at(degrees):
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


def put(clips, **degrees):
    clips.upsert([{"clip_id": name, COLUMN: None if d is None else at(d)} for name, d in degrees.items()])


def test_distance_is_of_directions():
    assert distance(np.array([2.0, 0.0]), np.array([5.0, 0.0])) == pytest.approx(0.0)
    assert distance(np.array([1.0, 0.0]), np.array([0.0, 3.0])) == pytest.approx(1.0)
    assert distance(np.array([1.0, 0.0]), np.array([-1.0, 0.0])) == pytest.approx(2.0)


def test_copies_come_nearest_first_with_their_scores(clips):
    put(clips, a=0, b=20, c=-10, d=90, e=None)
    group = group_of(clips, "a")
    assert [one.clip_id for one in group] == ["c", "b"]
    assert [one.distance for one in group] == pytest.approx([1 - np.cos(np.radians(d)) for d in (10, 20)], abs=1e-6)
    assert group[0].score == pytest.approx(1.0 - group[0].distance)
    assert group_of(clips, "d") == []


def test_a_copy_of_a_copy_is_of_the_group_and_tells_how_far_it_is(clips):
    put(clips, a=0, b=25, c=50, d=120)
    group = group_of(clips, "a")
    assert [one.clip_id for one in group] == ["b", "c"]
    assert group[1].distance > 0.12
    assert {one.clip_id for one in group_of(clips, "c")} == {"a", "b"}
    assert [one.clip_id for one in group_of(clips, "a", near=0.05)] == []


def test_a_clip_that_arrives_later_joins_the_group(clips):
    put(clips, a=0, c=50)
    assert group_of(clips, "a") == []
    put(clips, b=25)
    assert [one.clip_id for one in group_of(clips, "a")] == ["b", "c"]


def test_a_large_group_is_cut_off(clips):
    put(clips, **{f"clip{i:03d}": i / 100 for i in range(230)})
    assert len(group_of(clips, "clip000")) == 200


def test_what_has_no_signature_is_told(clips):
    put(clips, a=None)
    with pytest.raises(InputError, match="clip a has no signature"):
        group_of(clips, "a")
    with pytest.raises(NotFound, match="no clip 'b'"):
        group_of(clips, "b")
