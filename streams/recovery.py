"""What a broker that forgets must be told again: the unfinished work that the store knows of."""

from store.clips import clip_of
from store.records import (
    ClipSegmented,
    FootageSubmitted,
    Record,
    RemovalRequested,
    SnapshotRequested,
    TrainingRequested,
)
from store.store import Store
from store.tables import sql_in


def unfinished_work(store: Store) -> list[Record]:
    """Records that put every unfinished video, clip, run, snapshot and removal back on the road.

    Everything is named by its content, so that work which was half done ends as the same rows. A video
    whose clips did not all reach the store is segmented again.
    """
    records: list[Record] = [_again(RemovalRequested, body) for body in store.removals.all(status="requested").values()]
    for video in store.videos.all(status="submitted").values():
        records.append(_again(FootageSubmitted, video))
    for video_id, video in store.videos.all(status="segmented").items():
        rows = {row["clip_id"]: row for row in store.clips.select(where=sql_in("video_id", [video_id]))}
        if any(clip_id not in rows or rows[clip_id]["media_key"] is None for clip_id in video["clip_ids"]):
            records.append(_again(FootageSubmitted, video))
        else:
            unmeasured = [row for row in rows.values() if row["stage"] in ("segmented", "embedded")]
            records.extend(ClipSegmented(clip=clip_of(row)) for row in unmeasured)
    for status in ("requested", "running"):
        for run in store.runs.all(status=status).values():
            records.append(_again(TrainingRequested, run))
    for snapshot in store.snapshots.all(status="requested").values():
        records.append(_again(SnapshotRequested, snapshot))
    return records


def _again(kind: type[Record], body: dict[str, object]) -> Record:
    """The record that a document of the store was made by."""
    return kind.model_validate({name: body[name] for name in kind.model_fields if name in body})
