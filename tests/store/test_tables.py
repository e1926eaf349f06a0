"""Tables by id: upserts that repeat, columns that are added, rows that vanish."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pyarrow as pa
import pytest

from store.errors import InputError
from store.tables import (
    DocumentTable,
    connect,
    free_old_versions,
    key_field,
    open_table,
    sql_in,
    sql_text,
    table_names,
    upsert,
)


@pytest.fixture
def database(tmp_path):
    return connect(str(tmp_path / "lance"))


@pytest.fixture
def documents(database) -> DocumentTable:
    return DocumentTable(database, "videos")


def test_documents_are_read_back_by_id(documents):
    documents.put({"b": {"status": "done", "n": [1, None]}, "a": {"status": "dead", "text": "it's é"}})
    assert documents.get("a") == {"status": "dead", "text": "it's é"}
    assert documents.get("c") is None
    assert list(documents.all()) == ["a", "b"]
    assert documents.get_many(["b", "c"]) == {"b": {"status": "done", "n": [1, None]}}
    assert documents.get_many([]) == {}


def test_putting_twice_replaces(documents):
    documents.put({"a": {"status": "x"}})
    documents.put({"a": {"status": "y"}})
    documents.put({})
    assert documents.all() == {"a": {"status": "y"}}


def test_documents_are_counted_and_listed_by_status(documents):
    documents.put({"a": {"status": "x"}, "b": {"status": "y"}, "c": {"status": "y"}})
    assert documents.counts() == {"x": 1, "y": 2}
    assert list(documents.all("y")) == ["b", "c"]


@pytest.mark.parametrize("id_", ["it's", "a' OR 'b' = 'b", '"', "%", "ключ"])
def test_an_id_is_text_and_never_a_condition(id_, documents):
    documents.put({id_: {"status": "x"}, "other": {"status": "x"}})
    assert list(documents.get_many([id_])) == [id_]
    documents.delete([id_])
    assert list(documents.all()) == ["other"]


def test_deleting_what_is_not_there_changes_nothing(documents):
    documents.put({"a": {"status": "x"}})
    documents.delete(["b"])
    documents.delete([])
    assert list(documents.all()) == ["a"]


def test_documents_that_were_written_often_are_joined_and_their_old_versions_freed(documents, tmp_path):
    folder = tmp_path / "lance" / "videos.lance"
    for number in range(100):
        documents.put({f"v{number % 3}": {"status": "done", "n": number}})
    assert len(list(folder.glob("data/*"))) == 100
    documents.maintain()
    assert len(list(folder.glob("_versions/*.manifest"))) > 100, "versions of the last hour are read by others"
    assert len(DocumentTable(connect(str(tmp_path / "lance")), "videos").all()) == 3
    for number in range(100):
        documents.put({f"v{number % 3}": {"status": "done", "n": number}})
    documents.maintain(timedelta(0))
    assert (len(list(folder.glob("data/*"))), len(list(folder.glob("_versions/*.manifest")))) == (1, 1)
    assert documents.all() == {f"v{n % 3}": {"status": "done", "n": n} for n in (99, 97, 98)}


def test_documents_that_were_written_seldom_are_left_as_they_are(documents, tmp_path):
    for number in range(3):
        documents.put({"v": {"status": "done", "n": number}})
    before = sorted((tmp_path / "lance").rglob("*"))
    documents.maintain(timedelta(0))
    assert sorted((tmp_path / "lance").rglob("*")) == before


def test_another_handle_sees_a_write_at_once(documents, tmp_path):
    other = DocumentTable(connect(str(tmp_path / "lance")), "videos")
    documents.put({"a": {"status": "x"}})
    assert other.get("a") == {"status": "x"}


def test_two_writers_that_insert_one_new_id_at_once_leave_one_row(tmp_path):
    schema = pa.schema([key_field("id"), pa.field("writer", pa.int64())])
    tables = [open_table(connect(str(tmp_path / "lance")), "t", schema) for _ in range(2)]
    together = Barrier(2)

    def write(writer: int) -> None:
        for i in range(10):
            together.wait()
            upsert(tables[writer], "id", [{"id": f"new-{i}", "writer": writer}])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    assert tables[0].count_rows() == 10


def files_with(needle: bytes, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


@pytest.mark.parametrize("n_deleted", [1, 100], ids=["one of many", "all"])
def test_purge_takes_deleted_documents_and_their_ids_off_the_disk(n_deleted, documents, tmp_path):
    documents.put({f"id-{i:03d}": {"status": "x", "secret": f"secret-{i:03d}"} for i in range(100)})
    documents.delete([f"id-{i:03d}" for i in range(n_deleted)])
    assert files_with(b"secret-000", tmp_path)
    documents.purge()
    assert files_with(b"secret-000", tmp_path) == []
    assert files_with(b"id-000", tmp_path) == []
    assert len(documents.all()) == 100 - n_deleted


def test_purge_takes_replaced_documents_off_the_disk(documents, tmp_path):
    documents.put({f"id-{i:03d}": {"status": "x", "secret": f"secret-{i:03d}"} for i in range(100)})
    documents.put({"id-007": {"status": "y"}})
    documents.purge()
    assert files_with(b"secret-007", tmp_path) == []
    assert documents.get("id-007") == {"status": "y"}
    assert documents.get("id-008") == {"status": "x", "secret": "secret-008"}


def test_more_tables_than_one_page_are_all_named(database):
    for i in range(15):
        open_table(database, f"table-{i:02d}", pa.schema([key_field("id")]))
    assert table_names(database) == {f"table-{i:02d}" for i in range(15)}


def test_a_column_that_is_new_is_empty_in_older_rows_and_keeps_its_metadata(database):
    upsert(open_table(database, "t", pa.schema([key_field("id")])), "id", [{"id": "a"}])
    wider = pa.schema([key_field("id"), pa.field("n", pa.int64(), metadata={"unit": "px"})])
    table = open_table(database, "t", wider)
    upsert(table, "id", [{"id": "b", "n": 3}])
    assert sorted(table.to_arrow().to_pylist(), key=lambda row: row["id"]) == [
        {"id": "a", "n": None},
        {"id": "b", "n": 3},
    ]
    assert table.schema.field("n").metadata == {b"unit": b"px"}


def test_a_column_of_another_type_is_refused(database):
    open_table(database, "t", pa.schema([key_field("id"), pa.field("n", pa.int64())]))
    with pytest.raises(InputError, match=r"column 'n' of table 't' is int64 and now should be string"):
        open_table(database, "t", pa.schema([key_field("id"), pa.field("n", pa.string())]))


def test_old_versions_are_freed_beside_a_tagged_one(database):
    table = open_table(database, "t", pa.schema([key_field("id")]))
    for id_ in "abcd":
        upsert(table, "id", [{"id": id_}])
        if id_ == "b":
            table.tags.create("kept", table.version)
    free_old_versions(table, timedelta(0))
    left = [version["version"] for version in table.list_versions()]
    assert left == [table.tags.get_version("kept"), table.version]


def test_sql_text_and_lists_are_quoted():
    assert sql_text("it's") == "'it''s'"
    assert sql_in("id", ["a", "b'c"]) == "id IN ('a', 'b''c')"
    assert sql_in("id", []) == "false"
