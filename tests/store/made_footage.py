"""Footage made of records and a few bytes of media, for tests of the store."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from store.media import MediaStore, media_key
from store.records import (
    Affect,
    Annotation,
    Check,
    Clip,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    Column,
    Control,
    DroppedSpan,
    FootageSegmented,
    FootageSubmitted,
    Reasoning,
    Record,
    Span,
    clip_id,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
COLUMNS = (
    Column(name="visual", kind="vector", size=4, source="colour histogram"),
    Column(name="face_embedding", kind="vector", size=4, measured=False),
    Column(name="identity_links", kind="json", measured=False),
    Column(name="face_count", kind="int", low=0),
    Column(name="black_share", kind="float", low=0.0, high=1.0),
    Column(name="motion_curve", kind="curve", rate_hz=8.0),
    Column(name="shot_scale", kind="text"),
)


@dataclass(frozen=True)
class Video:
    """A video of `n_clips` clips of two seconds, and the records of its road."""

    name: str
    n_clips: int = 2
    source: str = "park"
    licence: str | None = "CC0-1.0"
    face_count: int = 0
    black_share: float = 0.0
    shared_media: bytes | None = None
    """Bytes of every clip's media, where clips are to share them."""
    submitted_at: datetime = field(default=NOON)
    reasoning: Reasoning | None = None
    """Of every clip; None: as annotations were before reasoning was kept."""

    @property
    def video_id(self) -> str:
        return hashlib.sha256(self.original).hexdigest()

    @property
    def original(self) -> bytes:
        return f"original of {self.name}".encode()

    @property
    def clip_ids(self) -> tuple[str, ...]:
        return tuple(clip.clip_id for clip in self.clips)

    @property
    def clips(self) -> list[Clip]:
        return [self._clip(i) for i in range(self.n_clips)]

    def media(self, i: int) -> dict[str, bytes]:
        """Suffix to bytes of clip `i`."""
        video = self.shared_media or f"media of clip {i} of {self.name}".encode()
        return {"mp4": video, "jpg": b"strip:" + video, "npz": b"samples:" + video}

    def _clip(self, i: int) -> Clip:
        keys = {suffix: _key(data, suffix) for suffix, data in self.media(i).items()}
        return Clip(
            clip_id=clip_id(self.video_id, 50 * i, 50 * i + 50, "cut-1"),
            video_id=self.video_id,
            source=self.source,
            licence=self.licence,
            shot=i,
            start_pts=50 * i,
            end_pts=50 * i + 50,
            time_base=(1, 25),
            width=64,
            height=36,
            fps=(25, 1),
            n_frames=50,
            has_audio=True,
            media_key=keys["mp4"],
            strip_key=keys["jpg"],
            samples_key=keys["npz"],
            recipe="cut-1",
        )

    def put_media(self, media: MediaStore) -> None:
        """Store the original and every clip's media."""
        media.put_bytes(self.original, "mp4")
        for i in range(self.n_clips):
            for suffix, data in self.media(i).items():
                media.put_bytes(data, suffix)

    @property
    def submitted(self) -> FootageSubmitted:
        return FootageSubmitted(
            video_id=self.video_id,
            name=f"{self.name}.mp4",
            media_key=_key(self.original, "mp4"),
            size_bytes=len(self.original),
            source=self.source,
            licence=self.licence,
            submitted_at=self.submitted_at,
        )

    @property
    def segmented(self) -> FootageSegmented:
        return FootageSegmented(
            video_id=self.video_id,
            recipe="cut-1",
            clip_ids=self.clip_ids,
            shots=tuple((50 * i, 50 * i + 50) for i in range(self.n_clips)),
            dropped=(DroppedSpan(start_pts=1000, end_pts=1010, reason="shorter than 1 s"),),
            facts={"codec": "h264"},
        )

    @property
    def embedded(self) -> list[ClipEmbedded]:
        return [
            ClipEmbedded(
                clip_id=clip.clip_id,
                video_id=self.video_id,
                duration_s=2.0,
                values={
                    "visual": [0.5, -0.25, 0.125, 0.1 * i],
                    "face_embedding": [0.8125, 0.25, 0.5, 0.75],
                    "identity_links": {"person": "p-7"},
                    "face_count": self.face_count,
                    "black_share": self.black_share,
                    "motion_curve": [0.1, 0.2, 0.3],
                },
                recipes={"vision.texture": "texture-1"},
                failed={},
            )
            for i, clip in enumerate(self.clips)
        ]

    @property
    def densified(self) -> list[ClipDensified]:
        return [
            ClipDensified(
                clip_id=clip.clip_id,
                video_id=self.video_id,
                annotation=annotation(self.words(i)),
                recipe="rules-1",
                reasoning=self.reasoning,
            )
            for i, clip in enumerate(self.clips)
        ]

    def words(self, i: int) -> str:
        """A word in clip `i`'s conditioning string that no other clip has."""
        return f"word{hashlib.sha256(f'{self.name}/{i}'.encode()).hexdigest()[:10]}"

    @property
    def road(self) -> list[Record]:
        """All records, in the order of the road."""
        segmented = [ClipSegmented(clip=clip) for clip in self.clips]
        return [self.submitted, *segmented, self.segmented, *self.embedded, *self.densified]


def annotation(words: str) -> Annotation:
    """An annotation whose conditioning string ends in `words`."""
    return Annotation(
        attributes={"shot_scale": "wide"},
        temporal=(Span(kind="onset", start_s=0.0, end_s=1 / 3),),
        affect=Affect(arousal={"low": 0.2, "mid": 0.5, "high": 0.3}, valence=None, arousal_trend=1 / 7),
        conditioning=f"wide shot, {words}",
        control=Control(names=("motion",), values=(1 / 3,), present=(True,)),
        engine="measured",
    )


def reasoned(caption: str = "A park.", is_contradicted: bool = False, recipe: str = "0f" * 8) -> Reasoning:
    """Reasoning of a model, one claim of which was measured otherwise where it is contradicted."""
    verdict, score = ("contradicted", 0.8) if is_contradicted else ("supported", 0.0)
    return Reasoning(
        trace={"caption": caption, "findings": {}},
        checks=(Check(claim="motion is high", measured="motion mean 0.01", verdict=verdict, score=score),),
        contradiction=score,
        is_contradicted=is_contradicted,
        engine="endpoint:made",
        recipe=recipe,
        n_rounds=2 if is_contradicted else 1,
        failed=None,
    )


def later(minutes: float) -> datetime:
    """A time after noon."""
    return NOON + timedelta(minutes=minutes)


def all_records(videos: Sequence[Video]) -> list[Record]:
    """Every record of the videos' roads."""
    return [record for video in videos for record in video.road]


def _key(data: bytes, suffix: str) -> str:
    return media_key(hashlib.sha256(data).hexdigest(), suffix)
