"""LanceDB tables keyed by an id, written by idempotent upserts."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import lancedb
import pyarrow as pa
from lancedb.db import DBConnection
from lancedb.table import Table

from store.errors import InputError

T = TypeVar("T")

_PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
"""Keeps two writers that insert one new key at once from duplicating it (lance#4585)."""

_MAINTAINED_EVERY = 100
"""Writes of a table, each of which leaves a fragment and a version. Chosen: joining what 120 left takes 20 ms."""


def connect(url: str) -> DBConnection:
    """The database at `url`; readers see every commit at once."""
    return lancedb.connect(url, read_consistency_interval=timedelta(0))


def table_names(database: DBConnection) -> set[str]:
    """Names of all tables of the database."""
    names: set[str] = set()
    token: str | None = None
    while True:
        answer = database.list_tables(page_token=token)
        names.update(answer.tables)
        token = answer.page_token
        if not token:
            return names


def open_table(database: DBConnection, name: str, schema: pa.Schema) -> Table:
    """The table, created with `schema` if it is not there, else given the columns that it lacks."""
    if name not in table_names(database):
        return database.create_table(name, schema=schema, exist_ok=True)
    table = database.open_table(name)
    known = {field.name: field for field in table.schema}
    for field in schema:
        if field.name in known and known[field.name].type != field.type:
            raise InputError(
                f"column {field.name!r} of table {name!r} is {known[field.name].type} and now should be {field.type};"
                " give the changed processor's column a new name, or start a new store"
            )
    missing = [field for field in schema if field.name not in known]
    if missing:
        table.add_columns(pa.schema(missing))
    return table


def key_field(name: str) -> pa.Field:
    """The field that identifies a row."""
    return pa.field(name, pa.string(), nullable=False, metadata=_PRIMARY_KEY)


def sql_text(value: str) -> str:
    """A value as a SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def sql_in(column: str, values: Iterable[str]) -> str:
    """`column IN (...)` for text values; a condition that holds nowhere when there are none."""
    listed = ", ".join(sql_text(value) for value in values)
    return f"{column} IN ({listed})" if listed else "false"


def in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """So many at a time, as conditions, messages and memory can bear them."""
    return (items[first : first + size] for first in range(0, len(items), size))


def sql_holds(column: str, ids: Iterable[str]) -> str:
    """A condition on a JSON column: one of the ids is among its texts; holds nowhere when there are none."""
    # An underscore stands for any character, which may find too much but never too little.
    listed = " OR ".join(f"{column} LIKE {sql_text(f'%{json.dumps(id_)}%')}" for id_ in sorted(ids))
    return f"({listed})" if listed else "false"


def upsert(table: Table, key: str, rows: Sequence[dict[str, Any]]) -> None:
    """Insert or replace whole rows by `key`; durable on return."""
    if not rows:
        return
    data = pa.Table.from_pylist(list(rows), schema=table.schema)
    merge = table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all().use_index(False)
    # "null": a column of nothing but missing vectors is taken for bad ones otherwise; Arrow has checked the lengths.
    merge.execute(data, on_bad_vectors="null")


def free_old_versions(table: Table, older_than: timedelta, delete_unverified: bool = False) -> None:
    """Free versions that are neither the latest nor tagged (`optimize` alone refuses while an old one is tagged).

    Args:
        delete_unverified: also files of writes that never ended; only while nothing else writes.
    """
    table.to_lance().cleanup_old_versions(
        older_than=older_than, delete_unverified=delete_unverified, error_if_tagged_old_versions=False
    )


def purge(table: Table) -> None:
    """Make deleted and replaced rows vanish from disk: rewrite the files that hold them, free every old version.

    Compaction leaves a deleted row where it is while less than a tenth of its file is deleted, and the log of the
    last deletion names the deleted keys; so everything is rewritten, and a deletion of nothing is logged last.
    Run it in the writing process only: a reader in the middle of a query may find its files gone.
    """
    table.to_lance().optimize.compact_files(materialize_deletions=True, materialize_deletions_threshold=0.0)
    table.checkout_latest()
    table.delete("false")
    free_old_versions(table, timedelta(0), delete_unverified=True)


class DocumentTable:
    """Small things by id: a status to filter by and a JSON body.

    Columns: `id` text, `status` text, `body` JSON text.
    """

    def __init__(self, database: DBConnection, name: str) -> None:
        schema = pa.schema([key_field("id"), pa.field("status", pa.string()), pa.field("body", pa.string())])
        self._table = open_table(database, name, schema)
        self._maintained = 0
        """Version of the table when it was maintained last."""

    def put(self, documents: dict[str, dict[str, Any]]) -> None:
        """Insert or replace documents by id; each body's `status` is also its column."""
        rows = [
            {"id": id_, "status": body.get("status"), "body": json.dumps(body, sort_keys=True)}
            for id_, body in documents.items()
        ]
        upsert(self._table, "id", rows)

    def get(self, id_: str) -> dict[str, Any] | None:
        """The document, or None."""
        return self.get_many([id_]).get(id_)

    def get_many(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Those of the documents that exist, by id."""
        return self._read(sql_in("id", ids))

    def all(self, status: str | None = None) -> dict[str, dict[str, Any]]:
        """Every document (of one status), by id, in id order."""
        return self._read(f"status = {sql_text(status)}" if status else None)

    def under(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Every document whose id starts so, by id, in id order."""
        return self._read(f"starts_with(id, {sql_text(prefix)})")

    def counts(self) -> dict[str, int]:
        """Number of documents by status."""
        column = self._table.search().select(["status"]).limit(None).to_arrow()["status"]
        return {entry["values"]: entry["counts"] for entry in column.value_counts().to_pylist()}

    def delete(self, ids: Sequence[str]) -> None:
        """Remove documents; a missing id is no error."""
        if ids:
            self._table.delete(sql_in("id", ids))

    def maintain(self, keep_versions_for: timedelta = timedelta(hours=1)) -> None:
        """Join fragments and free old versions, once there were enough writes since that was done last.

        Run it in the writing process only, between writes.
        """
        self._table.checkout_latest()
        if self._table.version - self._maintained < _MAINTAINED_EVERY:
            return
        self._table.optimize()
        free_old_versions(self._table, keep_versions_for)
        self._table.checkout_latest()
        self._maintained = self._table.version

    def purge(self) -> None:
        """Make deleted and replaced documents vanish from disk; see `purge`."""
        purge(self._table)

    def _read(self, where: str | None) -> dict[str, dict[str, Any]]:
        query = self._table.search().select(["id", "body"]).limit(None)
        rows = (query.where(where) if where else query).to_arrow().to_pylist()
        return {row["id"]: json.loads(row["body"]) for row in sorted(rows, key=lambda row: row["id"])}
