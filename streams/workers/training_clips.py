"""Rows of the clip table as clips that are trained on."""

import numpy as np

from processors.clip_media import read_sound, read_video
from processors.decode import read_samples
from store.clip_columns import ClipRow
from store.records import Control, digest
from store.store import Store
from trainer.dataset import PersonTrack, PoseTrack, TrainingClip
from trainer.settings import LoraSettings

_READ = (
    *("video_id", "source", "licence", "held_for", "samples_key", "media_key"),
    *("conditioning", "caption", "alternatives", "control", "identity_ids"),
)
"""What a run reads of a clip's row, most of which is vectors; some columns are not in every profile."""


def open_clips(store: Store, settings: LoraSettings) -> dict[str, TrainingClip]:
    """The clips that may be trained on, by id, with what a run of these settings reads of them."""
    tracks = [
        name for name, asked in (("people_tracks", settings.mask == "people"), ("pose_tracks", settings.pose)) if asked
    ]
    read = [name for name in (*_READ, *tracks) if name in store.clips.schema.names]
    return {row["clip_id"]: training_clip(store, row) for row in store.clips.select("verdict = 'keep'", columns=read)}


def training_clip(store: Store, row: ClipRow) -> TrainingClip:
    """A row as the trainer takes it; media are read when they are asked for."""

    def load_frames() -> np.ndarray:
        return read_samples(store.media.read(row["samples_key"]), row["clip_id"]).frames_rgb

    def load_video(frame_rate: float) -> np.ndarray:
        with store.media.local_file(row["media_key"]) as path:
            return read_video(path, frame_rate)

    def load_sound(rate_hz: int, channels: int) -> np.ndarray:
        with store.media.local_file(row["media_key"]) as path:
            return read_sound(path, rate_hz, channels)

    return TrainingClip(
        clip_id=row["clip_id"],
        video_id=row["video_id"],
        source=row["source"],
        licence=row["licence"],
        conditioning=row["conditioning"],
        control=Control.model_validate(row["control"]),
        load_frames=load_frames,
        load_video=load_video,
        load_sound=load_sound,
        media=digest([row["samples_key"], row["media_key"]]),
        held_for=tuple(row["held_for"]),
        caption=row.get("caption"),
        alternatives=tuple((one["text"], one["weight"]) for one in row["alternatives"] or ()),
        people=tuple(
            PersonTrack(tuple(one["times_s"]), tuple(tuple(box) for box in one["boxes_xyxy"]))
            for one in row.get("people_tracks") or ()
        ),
        poses=_poses(row),
        load_times=lambda: read_samples(store.media.read(row["samples_key"]), row["clip_id"]).frame_times_s,
        identities=tuple(sorted({one["identity"] for one in row["identity_ids"] or ()} - {None})),
    )


def _poses(row: ClipRow) -> tuple[PoseTrack, ...] | None:
    tracks = row.get("pose_tracks")
    if tracks is None:
        return None
    return tuple(
        PoseTrack(
            tuple(one["times_s"]), tuple(tuple((x, y, score) for x, y, score in sight) for sight in one["keypoints"])
        )
        for one in tracks
        if one["times_s"]
    )
