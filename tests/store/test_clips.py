"""The clip table: rows in and out, search, conditions, versions."""

from datetime import timedelta

import numpy as np
import pytest

from store.clip_columns import clip_of, segmented_columns, stage_of
from store.clips import ClipTable
from store.errors import InputError, NotFound
from store.records import Column
from store.store import Store
from store.tables import connect
from tests.store.made_footage import COLUMNS, Video

ONE = Video("one", n_clips=3)


@pytest.fixture
def clips(store, ingest) -> ClipTable:
    ingest(store, ONE)
    return store.clips


def test_a_row_holds_what_the_records_said(clips):
    row = clips.get(ONE.clip_ids[1])
    assert (row["start_s"], row["duration_s"], row["time_base"]) == (2.0, 2.0, [1, 25])
    assert row["visual"] == pytest.approx([0.5, -0.25, 0.125, 0.1])
    assert row["recipes"] == {"vision.texture": "texture-1"}
    assert row["identity_links"] == {"person": "p-7"}
    assert row["affect"]["arousal"] == {"low": 0.2, "mid": 0.5, "high": 0.3}
    assert row["shot_scale"] == "wide"
    assert row["cluster"] is None
    assert clip_of(row) == ONE.clips[1]


def test_an_unknown_clip_is_not_found(clips):
    with pytest.raises(NotFound, match="no clip 'nope'"):
        clips.get("nope")
    assert clips.get_many(["nope"]) == {}


def test_more_clips_than_one_query_takes_are_found(store):
    rows = [{"clip_id": f"{i:032x}", "video_id": "v"} for i in range(2_300)]
    store.clips.upsert(rows)
    assert len(store.clips.get_many(row["clip_id"] for row in rows)) == 2_300
    store.clips.delete([row["clip_id"] for row in rows[1:]])
    assert [row["clip_id"] for row in store.clips.select()] == [rows[0]["clip_id"]]


def test_upserting_a_row_twice_leaves_one(clips):
    row = clips.get(ONE.clip_ids[0])
    clips.upsert([row])
    clips.upsert([row | {"shot_scale": "close"}])
    clips.upsert([])
    assert clips.count() == 3
    assert clips.get(ONE.clip_ids[0]) == row | {"shot_scale": "close"}


def test_a_column_of_another_profile_is_refused_by_name(clips):
    with pytest.raises(InputError, match=r"columns \['glitter'\] are not in the clip table"):
        clips.upsert([{"clip_id": "a", "video_id": "v", "glitter": 1.0}])


@pytest.mark.parametrize("value", ["many", [1.0, 2.0]], ids=["a word", "a shorter vector"])
def test_a_value_that_does_not_fit_is_refused(value, clips):
    column = "face_count" if value == "many" else "visual"
    with pytest.raises(InputError, match="a value does not fit its column"):
        clips.upsert([{"clip_id": "a", "video_id": "v", column: value}])
    assert clips.count() == 3


def test_a_declared_column_may_not_take_a_name_of_the_tables_own(tmp_path):
    with pytest.raises(InputError, match="'source' is one of the clip table's own"):
        ClipTable(connect(str(tmp_path)), [Column(name="source", kind="text")])


def test_rows_are_selected_by_condition_in_id_order(clips):
    rows = clips.select(where="start_s >= 2 AND shot_scale = 'wide'", columns=["start_s"])
    assert [row["clip_id"] for row in rows] == sorted(ONE.clip_ids[1:])
    assert set(rows[0]) == {"clip_id", "start_s"}
    assert [row["clip_id"] for row in clips.select(limit=2)] == sorted(ONE.clip_ids)[:2]
    assert clips.count("start_s >= 2") == 2


@pytest.mark.parametrize("where", ["glitter > 1", "start_s >", "DROP TABLE clips", "shot_scale > 3 AND"])
def test_a_condition_that_is_no_sql_over_the_columns_is_refused(where, clips):
    for ask in (clips.select, clips.count):
        with pytest.raises(InputError, match="does not work on the clip table"):
            ask(where)


def test_the_nearest_clip_comes_first(clips):
    found = clips.nearest(np.array([0.5, -0.25, 0.125, 0.2]), "visual", limit=2)
    assert found[0]["clip_id"] == ONE.clip_ids[2]
    assert found[0]["_distance"] == pytest.approx(0.0, abs=1e-6)
    assert len(found) == 2


def test_the_nearest_that_meets_a_condition_is_found_however_far(clips):
    found = clips.nearest(np.array([0.5, -0.25, 0.125, 0.2]), "visual", where="start_s = 0", limit=5)
    assert [row["clip_id"] for row in found] == [ONE.clip_ids[0]]


def test_a_clip_without_a_vector_is_near_to_nothing(clips):
    clips.upsert([{"clip_id": "bare", "video_id": "v"}])
    assert "bare" not in {row["clip_id"] for row in clips.nearest(np.zeros(4) + 1, "visual", limit=10)}


def test_search_names_the_vector_columns_there_are(clips):
    with pytest.raises(InputError, match="'colour' is no vector column; there are face_embedding, visual"):
        clips.nearest(np.zeros(4), "colour")
    with pytest.raises(InputError, match="vector has 3 numbers, column 'visual' holds 4"):
        clips.nearest(np.zeros(3), "visual")


def test_words_find_the_clip_that_says_them_at_once(clips):
    assert [row["clip_id"] for row in clips.matching(ONE.words(1))] == [ONE.clip_ids[1]]
    assert len(clips.matching("wide shot")) == 3
    assert clips.matching("nothing says this") == []
    assert clips.matching("wide", where="start_s = 4")[0]["clip_id"] == ONE.clip_ids[2]


def test_a_reader_sees_the_writers_columns_and_writes(clips, tmp_path):
    reader = Store.open(tmp_path / "data").clips
    assert reader.get(ONE.clip_ids[0])["face_count"] == 0
    clips.delete([ONE.clip_ids[0]])
    assert reader.count() == 2


def test_columns_tell_their_unit_range_and_source(clips):
    told = clips.schema.field("black_share").metadata
    assert told[b"kind"] == b"float"
    assert (told[b"low"], told[b"high"], told[b"measured"]) == (b"0.0", b"1.0", b"True")
    assert clips.schema.field("visual").metadata[b"source"] == b"colour histogram"


def test_a_new_column_is_none_in_older_rows(clips, tmp_path):
    wider = ClipTable(connect(f"{tmp_path}/data/lance"), [*COLUMNS, Column(name="hue", kind="float", unit="deg")])
    assert wider.get(ONE.clip_ids[0])["hue"] is None
    assert wider.schema.field("hue").metadata[b"unit"] == b"deg"


def test_an_old_version_is_read_without_moving_the_table(clips):
    version = clips.version
    clips.delete(list(ONE.clip_ids[:2]))
    assert len(clips.select(version=version)) == 3
    clips.upsert([{"clip_id": "after", "video_id": "v"}])
    assert {row["clip_id"] for row in clips.select()} == {ONE.clip_ids[2], "after"}


def test_maintenance_keeps_tagged_versions_and_frees_others(clips):
    clips.tag("kept", clips.version)
    for i in range(3):
        clips.upsert([{"clip_id": f"more-{i}", "video_id": "v"}])
    freed = clips.version
    clips.upsert([{"clip_id": "last", "video_id": "v"}])
    clips.maintain(timedelta(0))
    assert len(clips.select(version=clips.tags()["kept"])) == 3
    assert clips.count() == 7
    with pytest.raises((ValueError, RuntimeError)):
        clips.select(version=freed)
    clips.untag("kept")
    clips.untag("kept")
    assert clips.tags() == {}


def test_many_clips_get_a_vector_index_and_are_found_through_it(store):
    vectors = np.random.default_rng(7).normal(size=(5_000, 4)).astype(np.float32)
    store.clips.upsert([{"clip_id": f"{i:032x}", "video_id": "v", "visual": list(v)} for i, v in enumerate(vectors)])
    store.clips.maintain()
    assert store.clips.nearest(vectors[77], "visual", limit=1)[0]["clip_id"] == f"{77:032x}"
    store.clips.delete([f"{77:032x}"])
    store.clips.purge()
    assert store.clips.nearest(vectors[77], "visual", limit=1)[0]["clip_id"] != f"{77:032x}"
    assert store.clips.nearest(vectors[78], "visual", limit=1)[0]["clip_id"] == f"{78:032x}"


@pytest.mark.parametrize(
    ("row", "stage"),
    [
        ({"media_key": "k"}, "segmented"),
        ({"recipes": {}}, "segmented"),
        ({"media_key": "k", "recipes": {}}, "embedded"),
        ({"media_key": "k", "conditioning": "c"}, "segmented"),
        ({"media_key": "k", "recipes": {}, "conditioning": "c"}, "densified"),
        ({"media_key": "k", "dead": "d"}, "dead"),
        ({"media_key": "k", "recipes": {}, "conditioning": "c", "dead": "d"}, "densified"),
    ],
)
def test_a_clip_is_as_far_as_its_last_complete_step(row, stage):
    assert stage_of(row) == stage


def test_segmented_columns_and_back_is_the_clip():
    clip = ONE.clips[2]
    assert clip_of(segmented_columns(clip)) == clip


def test_the_words_of_the_last_clips_leave_the_index_with_them(clips, tmp_path):
    clips.maintain()
    assert list(tmp_path.rglob("_indices/*/*tokens.lance"))
    clips.delete(list(ONE.clip_ids))
    clips.purge()
    assert not list(tmp_path.rglob("_indices/*/*tokens.lance"))
