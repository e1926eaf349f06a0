"""The columns of the clip table, and what each record says of a clip as such columns."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from store.errors import InputError
from store.records import Annotation, Clip, ClipCurated, Column, IdentityLinked, Reasoning, Spent

ClipRow = dict[str, Any]
"""A row as plain Python values, by column name; JSON columns are parsed."""

_TYPES = {
    "float": pa.float32(),
    "int": pa.int64(),
    "text": pa.string(),
    "curve": pa.list_(pa.float32()),
    "json": pa.string(),
}
_FIXED = (
    # where it comes from
    pa.field("video_id", pa.string()),
    pa.field("source", pa.string()),
    pa.field("licence", pa.string()),
    pa.field("shot", pa.int32()),
    pa.field("start_pts", pa.int64()),
    pa.field("end_pts", pa.int64()),
    pa.field("time_base", pa.list_(pa.int64(), 2)),
    pa.field("start_s", pa.float64()),
    pa.field("duration_s", pa.float64()),
    # its media
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("fps", pa.list_(pa.int64(), 2)),
    pa.field("n_frames", pa.int32()),
    pa.field("has_audio", pa.bool_()),
    pa.field("media_key", pa.string()),
    pa.field("strip_key", pa.string()),
    pa.field("samples_key", pa.string()),
    pa.field("segment_recipe", pa.string()),
    # what was measured (the profile's columns follow) and how
    pa.field("recipes", pa.string()),
    pa.field("failed", pa.string()),
    # annotation (the attribute columns follow)
    pa.field("readings", pa.string()),
    pa.field("origins", pa.string()),
    pa.field("conditioning", pa.string()),
    pa.field("alternatives", pa.string()),
    pa.field("caption", pa.string()),
    pa.field("temporal", pa.string()),
    pa.field("affect", pa.string()),
    pa.field("control", pa.string()),
    pa.field("engine", pa.string()),
    pa.field("annotation_recipe", pa.string()),
    # what the annotation was distilled from
    pa.field("trace", pa.string()),
    pa.field("checks", pa.string()),
    pa.field("contradiction", pa.float32()),
    pa.field("is_contradicted", pa.bool_()),
    pa.field("reason_limit", pa.float64()),
    pa.field("reason_recipe", pa.string()),
    pa.field("reason_rounds", pa.int32()),
    pa.field("reason_failed", pa.string()),
    pa.field("reason_seconds", pa.float64()),
    pa.field("reason_prompt_tokens", pa.int64()),
    pa.field("reason_answer_tokens", pa.int64()),
    pa.field("reason_cost", pa.float64()),
    # place among the others
    pa.field("cluster", pa.int32()),
    pa.field("cluster_probability", pa.float32()),
    pa.field("outlier_score", pa.float32()),
    pa.field("is_outlier", pa.bool_()),
    pa.field("margin", pa.float32()),
    pa.field("is_boundary", pa.bool_()),
    pa.field("next_cluster", pa.int32()),
    pa.field("by_modality", pa.string()),
    pa.field("sample_threshold", pa.float64()),
    pa.field("settled", pa.int64()),
    pa.field("copies", pa.string()),
    pa.field("is_keeper", pa.bool_()),
    pa.field("curation_recipe", pa.string()),
    pa.field("pivots", pa.string()),
    # who is seen
    pa.field("identity_ids", pa.string()),
    pa.field("identity_recipe", pa.string()),
    # what was decided
    pa.field("stage", pa.string()),
    pa.field("dead", pa.string()),
    pa.field("review", pa.string()),
    pa.field("verdict", pa.string()),
    pa.field("held_for", pa.list_(pa.string())),
    pa.field("decisions", pa.string()),
)
_FIXED_JSON = frozenset(
    {
        "recipes",
        "failed",
        "readings",
        "origins",
        "alternatives",
        "temporal",
        "affect",
        "control",
        "trace",
        "checks",
        "by_modality",
        "pivots",
        "identity_ids",
        "review",
        "decisions",
    }
)


def clip_fields(columns: Sequence[Column]) -> list[pa.Field]:
    """Fields of the table's schema beside the clip's id: its own, and those that are declared.

    Raises:
        InputError: two columns of one name.
    """
    taken = {field.name for field in _FIXED} | {"clip_id"}
    for column in columns:
        if column.name in taken:
            raise InputError(
                f"column {column.name!r} is one of the clip table's own, or of the annotation's; give the"
                " processor's another name"
            )
        taken.add(column.name)
    return [*_FIXED, *(declared_field(column) for column in columns)]


def declared_field(column: Column) -> pa.Field:
    """A declared column as a field; its metadata gives kind, unit, range and source."""
    kind = pa.list_(pa.float32(), column.size) if column.kind == "vector" else _TYPES[column.kind]
    described = column.model_dump(exclude={"name"})
    return pa.field(
        column.name,
        kind,
        metadata={name: str(value) for name, value in described.items() if value not in (None, "")},
    )


def json_columns(schema: pa.Schema) -> set[str]:
    """Names of the columns that hold JSON as text."""
    return {f.name for f in schema if f.metadata and f.metadata.get(b"kind") == b"json"} | _FIXED_JSON


def segmented_columns(clip: Clip) -> ClipRow:
    """What `clips.segmented` says of a clip, as columns."""
    row = clip.model_dump(exclude={"recipe"})
    return row | {"start_s": clip.start_s, "duration_s": clip.duration_s, "segment_recipe": clip.recipe}


def clip_of(row: ClipRow) -> Clip:
    """The clip that a row with media holds: the inverse of `segmented_columns`."""
    fields = {name: row[name] for name in Clip.model_fields if name != "recipe"}
    return Clip.model_validate(fields | {"recipe": row["segment_recipe"]})


def annotation_columns(annotation: Annotation, recipe: str) -> ClipRow:
    """What an annotation says of a clip, as columns; each attribute is a column of its own."""
    body = annotation.model_dump(mode="json")
    attributes = body.pop("attributes")
    return attributes | body | {"annotation_recipe": recipe}


def reasoning_columns(reasoning: Reasoning | None) -> ClipRow:
    """What an annotation was distilled from, as columns; all None for one of before reasoning was kept."""
    own, spent = ("trace", "checks", "contradiction", "is_contradicted"), tuple(Spent.model_fields)
    if reasoning is None:
        return dict.fromkeys((*own, *(f"reason_{name}" for name in ("limit", "recipe", "rounds", "failed", *spent))))
    body = reasoning.model_dump(mode="json", include=set(own))
    told: ClipRow = {"limit": reasoning.limit, "recipe": reasoning.recipe}
    told |= {"rounds": reasoning.n_rounds, "failed": reasoning.failed}
    told |= dict.fromkeys(spent) if reasoning.spent is None else reasoning.spent.model_dump()
    return body | {f"reason_{name}": value for name, value in told.items()}


def curation_columns(curated: ClipCurated) -> ClipRow:
    """What `clips.curated` says of a clip, as columns."""
    return curated.model_dump(exclude={"recipe", "clip_id"}) | {"curation_recipe": curated.recipe}


def linked_columns(linked: IdentityLinked) -> ClipRow:
    """What `identities.linked` says of a clip, as columns; `store.identity_decisions` adds who the tracks are now."""
    links = []
    for link in linked.links:
        body = link.model_dump(mode="json")
        body["linked"] = body["identity"]
        body["candidates"] = [one | {"linked": one["identity"]} for one in body["candidates"]]
        links.append(body)
    return {"identity_ids": links, "identity_recipe": linked.recipe, "video_id": linked.video_id}


def stage_of(row: ClipRow) -> str:
    """How far a clip is: the last step whose columns it has with those of every step before, or dead."""
    cut, measured, annotated = (row.get(name) is not None for name in ("media_key", "recipes", "conditioning"))
    if cut and measured and annotated:
        return "densified"
    if row.get("dead") is not None:
        return "dead"
    return "embedded" if cut and measured else "segmented"


def encoded(row: ClipRow, as_json: set[str]) -> ClipRow:
    """The row with its JSON columns as text."""
    return {
        name: json.dumps(value, sort_keys=True) if name in as_json and value is not None else value
        for name, value in row.items()
    }


def decoded(row: ClipRow, as_json: set[str]) -> ClipRow:
    """The row with its JSON columns parsed."""
    return {name: json.loads(value) if name in as_json and value is not None else value for name, value in row.items()}
