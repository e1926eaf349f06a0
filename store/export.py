"""What a snapshot publishes, and the files that it is: columns, decisions, digest, checksums.

Only clips with verdict keep whose annotation is complete are published; every clip's decisions are.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from store.clip_columns import ClipRow
from store.records import Json, Spent, digest
from store.store import Store

PUBLISHED_VECTORS = frozenset({"visual", "sound"})
"""The vectors that describe a picture or a sound. Any other stays at home: a vector of a face or a body tells who
someone is, and one that nobody listed here might."""
_NEVER = "identity"
"""Columns whose names begin so link people across clips."""
_APART = (
    "trace",
    "checks",
    "contradiction",
    "is_contradicted",
    "reason_limit",
    "reason_recipe",
    "reason_rounds",
    "reason_failed",
    *(f"reason_{name}" for name in Spent.model_fields),
)
"""Columns of the reasoning, told in reasoning.jsonl and checks.jsonl."""
_INTERNAL = frozenset(
    {"media_key", "strip_key", "samples_key", "stage", "dead", "review", "verdict", "held_for", "decisions", *_APART}
)
"""Columns of the store's own working, or told in a file of their own."""
_ANNOTATION = (
    "readings",
    "origins",
    "conditioning",
    "alternatives",
    "caption",
    "temporal",
    "affect",
    "control",
    "engine",
)
_RECIPES = ("segment_recipe", "recipes", "annotation_recipe")
_DECISION_COLUMNS = (
    "video_id",
    "source",
    "licence",
    "start_s",
    "duration_s",
    "stage",
    "verdict",
    "held_for",
    "decisions",
)
_SIGNIFICANT_DIGITS = 5
"""Chosen: float32 keeps seven, so the same footage measured twice agrees."""
CHECKSUMS = "checksums.sha256"


@dataclass(frozen=True)
class Content:
    """What a snapshot holds.

    published: rows of metadata.jsonl, in clip id order.
    reasoning: lines of reasoning.jsonl: what the annotation of each published clip was distilled from.
    checks: lines of checks.jsonl: how each claim of it stands against the measurements.
    decisions: lines of decisions.jsonl: every clip in id order, then every dropped span of a video.
    media: file name within the folder to media key.
    table: the published rows as they go into metadata.parquet.
    content_columns: columns of `published` that the digest covers.
    """

    published: list[Json]
    reasoning: list[Json]
    checks: list[Json]
    decisions: list[Json]
    media: dict[str, str]
    table: pa.Table
    content_columns: tuple[str, ...]

    @property
    def digest(self) -> str:
        """See `content_digest`."""
        return content_digest(self.published, self.reasoning, self.decisions, self.content_columns)

    @property
    def counts(self) -> Counter[str]:
        """Number of clips that are kept, dropped, held, or unfinished."""
        return Counter(verdict_in(line) for line in self.decisions if line["kind"] == "clip")


def publishable_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that a snapshot publishes: never a vector that could tell who someone is."""
    return [
        field.name
        for field in schema
        if field.name not in _INTERNAL
        and not field.name.startswith(_NEVER)
        and (_kind(field) != "vector" or field.name in PUBLISHED_VECTORS)
    ]


def read_content(store: Store, version: int) -> Content:
    """The content of the clip table at one version, with the spans that gave no clip."""
    rows = store.clips.select(columns=_DECISION_COLUMNS, version=version)
    kept = store.clips.select(where=PUBLISHED, version=version)
    columns = publishable_columns(store.clips.schema)
    names = {row["clip_id"]: f"media/{row['clip_id']}.mp4" for row in kept}
    published = [_published(row, names[row["clip_id"]], columns) for row in kept]
    texts = [field.name for field in store.clips.schema if _kind(field) == "text" and field.name in columns]
    return Content(
        published=published,
        reasoning=[line for row in kept if (line := _reasoning_line(row)) is not None],
        checks=[line for row in kept if (line := _checks_line(row)) is not None],
        decisions=[_clip_line(row) for row in rows] + _span_lines(store),
        media={names[row["clip_id"]]: row["media_key"] for row in kept},
        table=_table(published, store.clips.schema),
        content_columns=(*sorted(texts), *_ANNOTATION, *_RECIPES),
    )


PUBLISHED = "verdict = 'keep' AND stage = 'densified'"
"""Condition on the clips that a snapshot publishes."""
_DIGESTS = {"media_sha256": "media_key", "samples_sha256": "samples_key"}
"""Published column to the key that names its object."""


def content_digest(
    published: Iterable[Json], reasoning: Iterable[Json], decisions: Iterable[Json], content_columns: Sequence[str]
) -> str:
    """SHA-256 over what a snapshot says, whenever and wherever it was made.

    It covers, in id order: each published clip's id, sampled pictures and sound, annotation and recipes; what it was
    distilled from; each clip's verdict with the rules' reasons; each dropped span. The MP4's own bytes are left out:
    one clip in six was seen to come out of x264 with some other bytes from one run to the next. Floats count to five
    significant digits. Cluster numbers are left out (they depend on the order in which footage arrived), and so are
    clocks, paths, tags, notes and people's names.
    """
    clips = [
        [row["clip_id"], row["samples_sha256"], {name: rounded(row.get(name)) for name in content_columns}]
        for row in published
    ]
    verdicts: list[list[Any]] = []
    spans: list[list[Any]] = []
    for line in decisions:
        if line["kind"] == "span":
            spans.append([line["video_id"], line["start_pts"], line["end_pts"], line["reason"]])
        else:
            reasons = [[one["rule"], one["verdict"], one["reason"]] for one in line["decisions"]]
            verdicts.append([line["clip_id"], verdict_in(line), reasons])
    reasoned = sorted(
        ([line["clip_id"], line["recipe"], rounded(line["trace"])] for line in reasoning), key=lambda r: r[0]
    )
    told = {"verdicts": sorted(verdicts), "spans": sorted(spans)} | ({"reasoning": reasoned} if reasoned else {})
    return digest({"clips": sorted(clips, key=lambda c: c[0])} | told)


def verdict_in(line: Json) -> str:
    """The verdict in a clip's line of decisions.jsonl; `unfinished` while the clip is not annotated."""
    return line["verdict"] if line["stage"] == "densified" else "unfinished"


def write_files(store: Store, content: Content, folder: Path, told: dict[str, str]) -> None:
    """Write a snapshot's folder, which must not be there yet.

    Args:
        told: name to text of the files that tell about the snapshot (README.md, manifest.json).
    """
    (folder / "media").mkdir(parents=True)
    sums = {name: _place(store, key, folder / name) for name, key in content.media.items()}
    pq.write_table(content.table, folder / "metadata.parquet")
    _write_lines(folder / "metadata.jsonl", content.published)
    lines = {"decisions": content.decisions, "reasoning": content.reasoning, "checks": content.checks}
    for name, told_in in lines.items():
        _write_lines(folder / f"{name}.jsonl", told_in)
    for name, text in told.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("metadata.parquet", "metadata.jsonl", *(f"{name}.jsonl" for name in lines), *told):
        sums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    listed = [f"{sha256}  {name}\n" for name, sha256 in sorted(sums.items())]
    (folder / CHECKSUMS).write_text("".join(listed), encoding="utf-8")


def read_lines(path: Path) -> list[Json]:
    """The objects of a JSON Lines file."""
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def _place(store: Store, key: str, path: Path) -> str:
    """Put an object's bytes at `path`, without a copy where the file system can; returns their SHA-256."""
    with store.media.local_file(key) as stored:
        try:
            path.hardlink_to(stored)
        except OSError:  # another file system, or one without links
            shutil.copyfile(stored, path)
    return sha256_of(key)


def sha256_of(media_key: str) -> str:
    """The SHA-256 that a media key names."""
    return media_key.split("/")[1].split(".")[0]


def _published(row: ClipRow, file_name: str, columns: Sequence[str]) -> Json:
    digests = {name: sha256_of(row[key]) for name, key in _DIGESTS.items()}
    return {"file_name": file_name} | digests | {name: row.get(name) for name in columns}


def _reasoning_line(row: ClipRow) -> Json | None:
    if row["trace"] is None:
        return None
    told = {"clip_id": row["clip_id"], "engine": row["engine"], "recipe": row["reason_recipe"]}
    return told | {"rounds": row["reason_rounds"], "failed": row["reason_failed"], "trace": row["trace"]}


def _checks_line(row: ClipRow) -> Json | None:
    if row["checks"] is None:
        return None
    told = {"clip_id": row["clip_id"], "recipe": row["reason_recipe"], "contradiction": row["contradiction"]}
    return told | {"checks": row["checks"]}


def _clip_line(row: ClipRow) -> Json:
    line = {"kind": "clip", "clip_id": row["clip_id"]} | {name: row[name] for name in _DECISION_COLUMNS}
    return line | {"held_for": row["held_for"] or [], "decisions": row["decisions"] or []}


def _span_lines(store: Store) -> list[Json]:
    return [
        {"kind": "span", "video_id": video_id, "source": video.get("source")} | span
        for video_id, video in store.videos.all().items()
        for span in sorted(video.get("dropped", ()), key=lambda span: (span["start_pts"], span["end_pts"]))
    ]


def _table(published: Sequence[Json], schema: pa.Schema) -> pa.Table:
    """Arrow table of the published rows: the clip table's own types, JSON columns as text."""
    own = [schema.field(name) for name in publishable_columns(schema)]
    fields = [*(pa.field(name, pa.string()) for name in ("file_name", *_DIGESTS)), *own]
    text = {field.name for field in own if pa.types.is_string(field.type)}
    rows = [
        {
            name: json.dumps(value, sort_keys=True) if name in text and not isinstance(value, str | None) else value
            for name, value in row.items()
        }
        for row in published
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _kind(field: pa.Field) -> str | None:
    """Kind of a declared column; a list of fixed size that is not declared to be anything else is a vector."""
    if field.metadata and b"kind" in field.metadata:
        return field.metadata[b"kind"].decode()
    is_vector = pa.types.is_fixed_size_list(field.type) and pa.types.is_floating(field.type.value_type)
    return "vector" if is_vector else None


def _write_lines(path: Path, lines: Iterable[Json]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n" for line in lines)


def rounded(value: Any) -> Any:
    """The value with every float in it rounded to the digits that count; minus zero is zero."""
    if isinstance(value, float):
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") + 0.0
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return value
