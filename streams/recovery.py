"""What a broker that forgets must be told again: the unfinished work that the store knows of."""

from store.clip_columns import clip_of
from store.documents import record_of
from store.records import (
    ClipSegmented,
    FootageContinued,
    FootageSegmented,
    FootageSubmitted,
    Json,
    Record,
    RemovalRequested,
    SnapshotRequested,
    TrainingRequested,
)
from store.store import Store
from store.tables import sql_in


def unfinished_work(store: Store) -> list[Record]:
    """Records that put every unfinished video, clip, run, snapshot and removal back on the road.

    Everything is named by its content, so that work which was half done ends as the same rows. Footage whose clips
    did not all reach the store is read again from its beginning. Runs in the writing process, before it writes.
    """
    records: list[Record] = [
        record_of(RemovalRequested, body) for body in store.removals.all(status="requested").values()
    ]
    for status in ("submitted", "segmented"):
        for video_id, video in store.videos.all(status=status).items():
            records += _unfinished_video(store, video_id, video)
    for status in ("requested", "running"):
        for run in store.runs.all(status=status).values():
            records.append(record_of(TrainingRequested, run))
    for snapshot in store.snapshots.all(status="requested").values():
        records.append(record_of(SnapshotRequested, snapshot))
    return records


def _unfinished_video(store: Store, video_id: str, video: Json) -> list[Record]:
    rows = {row["clip_id"]: row for row in store.clips.select(where=sql_in("video_id", [video_id]))}
    submitted = record_of(FootageSubmitted, video)
    whole = video["status"] == "segmented"
    known = whole or (video.get("checkpoint_key") is not None and store.media.exists(video["checkpoint_key"]))
    if not known or any(id_ not in rows or rows[id_]["media_key"] is None for id_ in video["clip_ids"]):
        read = {name: value for name, value in video.items() if name not in _HOW_FAR}
        store.videos.put({video_id: read | {"status": "submitted"}})
        return [submitted]
    going_on = [] if whole else [record_of(FootageContinued, video | {"footage": submitted})]
    unmeasured = [row for row in rows.values() if row["stage"] in ("segmented", "embedded")]
    return [*going_on, *(ClipSegmented(clip=clip_of(row)) for row in unmeasured)]


_HOW_FAR = {"chunk", "checkpoint_key", "share", *FootageSegmented.model_fields} - {"video_id"}
