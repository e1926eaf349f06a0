"""The clip table: one row per clip, with its measurements, annotation, place among the others and verdict."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.db import DBConnection
from lancedb.index import FTS, HnswSq
from lancedb.table import Table

from store.clip_columns import ClipRow, clip_fields, decoded, encoded, json_columns
from store.errors import InputError, NotFound
from store.records import Column
from store.tables import free_old_versions, in_parts, key_field, open_table, purge, sql_in, upsert

_VECTOR_INDEX_ROWS = 5_000
"""Below this a scan takes milliseconds (3.7 ms at 1,000 rows, 418 ms at 1,000,000)."""


class ClipTable:
    """The clip table; one process writes it, any number read.

    Args:
        columns: columns of the profile's processors and of the annotation; a column that the table lacks is
            added and is None in older rows. A reader passes none and sees the table as it is.
    """

    def __init__(self, database: DBConnection, columns: Sequence[Column] = ()) -> None:
        schema = pa.schema([key_field("clip_id"), *clip_fields(columns)])
        self._database = database
        self._table = open_table(database, "clips", schema)
        if not any(index.index_type == "FTS" for index in self._table.list_indices()):
            self._table.create_index("conditioning", config=FTS())

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema; a declared column's field metadata gives kind, unit, range and source."""
        return self._table.schema

    @property
    def vector_columns(self) -> list[str]:
        """Names of the vector columns, in name order."""
        return sorted(f.name for f in self.schema if f.metadata and f.metadata.get(b"kind") == b"vector")

    @property
    def version(self) -> int:
        """Version of the table as last committed."""
        self._table.checkout_latest()
        return self._table.version

    def upsert(self, rows: Sequence[ClipRow]) -> None:
        """Insert or replace whole rows by clip id; durable on return.

        Raises:
            InputError: a row has a column that the table does not have, or a value that does not fit it.
        """
        names = set(self.schema.names)
        for row in rows:
            if unknown := set(row) - names:
                raise InputError(
                    f"clip {row.get('clip_id')}: columns {sorted(unknown)} are not in the clip table;"
                    " is the service running another profile than the one that measured this clip?"
                )
        as_json = json_columns(self.schema)
        try:
            upsert(self._table, "clip_id", [encoded(row, as_json) for row in rows])
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(
                f"clips {[row['clip_id'] for row in rows][:5]}: a value does not fit its column: {error}"
            ) from error

    def rounded(self, row: ClipRow) -> ClipRow:
        """The row with its numbers as the table will hold them, so that a judgement does not depend on whether they
        have been there already.
        """
        single = {field.name for field in self.schema if field.type == pa.float32()}
        return {
            name: float(np.float32(value)) if name in single and isinstance(value, float | int) else value
            for name, value in row.items()
        }

    def get(self, clip_id: str) -> ClipRow:
        """One row.

        Raises:
            NotFound: no such clip.
        """
        rows = self.get_many([clip_id])
        if not rows:
            raise NotFound(f"no clip {clip_id!r}; `cliploom search` lists clips")
        return rows[clip_id]

    def get_many(self, clip_ids: Iterable[str], columns: Sequence[str] | None = None) -> dict[str, ClipRow]:
        """Those of some rows that are there, by clip id, in order of the ids: whole, or some columns."""
        parts = in_parts(sorted(set(clip_ids)), 1_000)
        return {row["clip_id"]: row for ids in parts for row in self.select(sql_in("clip_id", ids), columns)}

    def select(
        self,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        version: int | None = None,
    ) -> list[ClipRow]:
        """Rows by a SQL condition over the columns, in clip id order.

        Args:
            version: read the table as it was then; None: as it is.

        Raises:
            InputError: the condition is no valid SQL over these columns.
        """
        query = self._at(version).search().limit(None)
        if columns is not None:
            query = query.select(["clip_id", *(c for c in columns if c != "clip_id")])
        rows = self._run(query.where(where) if where else query, where)
        rows.sort(key=lambda row: row["clip_id"])
        return rows[:limit]

    def some(self, where: str, limit: int) -> list[str]:
        """Ids of at most so many rows that meet a condition, whichever are found first."""
        return [row["clip_id"] for row in self._table.search().select(["clip_id"]).where(where).limit(limit).to_list()]

    def nearest(
        self,
        vector: np.ndarray,
        column: str,
        where: str | None = None,
        limit: int = 10,
        columns: Sequence[str] | None = None,
    ) -> list[ClipRow]:
        """Rows nearest to `vector` (float [D]) by cosine distance in a vector column, with `_distance`; whole, or with
        the clip's id and these columns only.

        Raises:
            InputError: no such vector column, a vector of another length, or a condition that is no SQL.
        """
        field = self.schema.field(column) if column in self.schema.names else None
        if field is None or not pa.types.is_fixed_size_list(field.type):
            raise InputError(f"{column!r} is no vector column; there are {', '.join(self.vector_columns) or 'none'}")
        if len(vector) != field.type.list_size:
            raise InputError(f"vector has {len(vector)} numbers, column {column!r} holds {field.type.list_size}")
        query: Any = self._table.search(np.asarray(vector, np.float32), vector_column_name=column)
        query = query.distance_type("cosine").limit(limit)
        if columns is not None:
            query = query.select(["clip_id", *columns, "_distance"])
        return self._run(query.where(where, prefilter=True) if where else query, where)

    def matching(self, text: str, where: str | None = None, limit: int = 10) -> list[ClipRow]:
        """Rows whose conditioning string matches the words, best first, with `_score`.

        Raises:
            InputError: a condition that is no SQL.
        """
        query = self._table.search(text, query_type="fts").limit(limit)
        return self._run(query.where(where, prefilter=True) if where else query, where)

    def top(
        self, column: str, where: str, limit: int, is_highest: bool = True, columns: Sequence[str] = ()
    ) -> list[ClipRow]:
        """The rows with the highest (else lowest) values of a number column, with these columns, the extreme first and
        equal ones by id. The table is read in batches of these columns, of which the best are kept.

        Raises:
            InputError: the condition is no valid SQL over these columns.
        """
        keys = [(column, "descending" if is_highest else "ascending"), ("clip_id", "ascending")]
        best: pa.Table | None = None
        for found in self._batches(["clip_id", column, *columns], f"({where}) AND {column} IS NOT NULL"):
            both = found if best is None else pa.concat_tables([best, found])
            best = both.take(pc.select_k_unstable(both, limit, keys))
        as_json = json_columns(self.schema)
        return [] if best is None else [decoded(row, as_json) for row in best.to_pylist()]

    def groups(self, column: str, where: str) -> dict[str, tuple[int, str]]:
        """Value of a text column to the number of its rows and the least of their ids, in the order of the values.

        Raises:
            InputError: the condition is no valid SQL over these columns.
        """
        found: dict[str, tuple[int, str]] = {}
        for batch in self._batches(["clip_id", column], f"({where}) AND {column} IS NOT NULL"):
            for row in batch.group_by(column).aggregate([("clip_id", "count"), ("clip_id", "min")]).to_pylist():
                n_before, least = found.get(row[column], (0, row["clip_id_min"]))
                found[row[column]] = (n_before + row["clip_id_count"], min(least, row["clip_id_min"]))
        return dict(sorted(found.items()))

    def _batches(self, columns: Sequence[str], where: str) -> Iterator[pa.Table]:
        query = self._table.search().where(where).select(list(dict.fromkeys(columns))).limit(None)
        try:
            for batch in query.to_batches():
                yield pa.Table.from_batches([batch])
        except (ValueError, RuntimeError) as error:
            raise _bad_condition(where, error) from error

    def count(self, where: str | None = None) -> int:
        """Number of rows that meet a condition.

        Raises:
            InputError: the condition is no valid SQL over these columns.
        """
        try:
            return self._table.count_rows(where)
        except ValueError as error:
            raise _bad_condition(where, error) from error

    def counts(self, column: str, where: str | None = None) -> dict[Any, int]:
        """Number of rows by what a column holds, None included.

        Raises:
            InputError: a condition that is no SQL.
        """
        query = self._table.search().limit(None).select([column])
        try:
            values = (query.where(where) if where else query).to_arrow()[column].value_counts().to_pylist()
        except (ValueError, RuntimeError) as error:
            raise _bad_condition(where, error) from error
        return {entry["values"]: entry["counts"] for entry in values}

    def counts_by(self, column: str, by: str, where: str | None = None) -> dict[Any, dict[Any, int]]:
        """Number of rows by what the column `by` holds, then by what `column` holds, None included; one scan.

        Raises:
            InputError: a condition that is no SQL.
        """
        query = self._table.search().limit(None).select([by, column])
        try:
            groups = (query.where(where) if where else query).to_arrow().group_by([by, column])
        except (ValueError, RuntimeError) as error:
            raise _bad_condition(where, error) from error
        found: dict[Any, dict[Any, int]] = {}
        for entry in groups.aggregate([([], "count_all")]).to_pylist():
            found.setdefault(entry[by], {})[entry[column]] = entry["count_all"]
        return found

    def delete(self, clip_ids: Sequence[str]) -> None:
        """Remove rows; a missing id is no error."""
        for ids in in_parts(clip_ids, 1_000):
            self._table.delete(sql_in("clip_id", ids))

    def maintain(self, keep_versions_for: timedelta = timedelta(hours=1)) -> None:
        """Join fragments, bring indexes up to date, index vectors once they are many, free old versions.

        Run it in the writing process only, between writes. Tagged versions stay.
        """
        self._table.optimize()
        free_old_versions(self._table, keep_versions_for)
        self._index_vectors()

    def purge(self) -> None:
        """Make deleted and replaced rows vanish from disk, except from tagged versions; see `store.tables.purge`."""
        self._table.create_index("conditioning", config=FTS())  # the old index keeps the words of deleted rows
        purge(self._table)

    def tags(self) -> dict[str, int]:
        """Tagged versions by name."""
        return {name: tag["version"] for name, tag in self._table.tags.list().items()}

    def tag(self, name: str, version: int) -> None:
        """Keep a version under a name."""
        self._table.tags.create(name, version)

    def untag(self, name: str) -> None:
        """Let a named version go; a missing name is no error."""
        if name in self.tags():
            self._table.tags.delete(name)

    def _index_vectors(self) -> None:
        indexed = {column for index in self._table.list_indices() for column in index.columns}
        for name in self.vector_columns:
            if name not in indexed and self._table.count_rows(f"{name} IS NOT NULL") >= _VECTOR_INDEX_ROWS:
                self._table.create_index(name, config=HnswSq(distance_type="cosine"))

    def _at(self, version: int | None) -> Table:
        """The table, or a handle of its own on an old version: checking out the shared one would move its writer."""
        if version is None:
            return self._table
        table = self._database.open_table("clips")
        table.checkout(version)
        return table

    def _run(self, query: Any, where: str | None) -> list[ClipRow]:
        as_json = json_columns(self.schema)
        try:
            return [decoded(row, as_json) for row in query.to_arrow().to_pylist()]
        except (ValueError, RuntimeError) as error:
            if where is None:
                raise
            raise _bad_condition(where, error) from error


def _bad_condition(where: str | None, error: Exception) -> InputError:
    return InputError(
        f"condition {where!r} does not work on the clip table: {str(error).splitlines()[0][:300]};"
        " write SQL over its columns, such as \"motion = 'high' AND duration_s > 2\""
    )
