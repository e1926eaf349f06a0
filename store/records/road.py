"""From footage to stored clips: the records of the road's steps."""

from datetime import datetime
from typing import ClassVar

from store.records.base import Json, Record
from store.records.parts import Annotation, Clip, DroppedSpan, Reasoning


class FootageSubmitted(Record):
    """A video that arrived; its bytes already lie in media storage."""

    topic: ClassVar[str] = "footage.submitted"
    video_id: str
    name: str
    """File name as given, for people."""
    media_key: str
    size_bytes: int
    source: str
    licence: str | None
    submitted_at: datetime

    @property
    def key(self) -> str:
        return self.video_id


class FootageSegmented(Record):
    """A video was read to its end; `clip_ids` is all that it gave."""

    topic: ClassVar[str] = "footage.segmented"
    video_id: str
    recipe: str
    clip_ids: tuple[str, ...]
    shots: tuple[tuple[int, int], ...]
    """[start_pts, end_pts) of every shot."""
    dropped: tuple[DroppedSpan, ...]
    facts: Json
    """What the container was found to hold: codec, size, rate, rotation, colour, sound tracks, warnings."""

    @property
    def key(self) -> str:
        return self.video_id


class FootageContinued(Record):
    """Long footage was read up to a point, with all that is needed to read on from there."""

    topic: ClassVar[str] = "footage.continued"
    footage: FootageSubmitted
    chunk: int
    """Number of the chunk to read next; the first was 0."""
    checkpoint_key: str
    """State of the reading, in media storage."""
    clip_ids: tuple[str, ...]
    """Clips cut so far."""
    share: float
    """How much of the footage has been read, 0 to 1; 0 where its length is not declared."""

    @property
    def key(self) -> str:
        return self.footage.video_id


class ClipSegmented(Record):
    """A clip was cut and its media are stored."""

    topic: ClassVar[str] = "clips.segmented"
    clip: Clip

    @property
    def key(self) -> str:
        return self.clip.clip_id


class ClipEmbedded(Record):
    """What the profile's processors measured of a clip."""

    topic: ClassVar[str] = "clips.embedded"
    clip_id: str
    video_id: str
    duration_s: float
    values: Json
    """Column name to value (number, text, list of numbers, JSON); None where a processor found nothing."""
    recipes: dict[str, str]
    """Processor id to recipe hash."""
    failed: dict[str, str]
    """Processor id to reason, for those that could not measure this clip."""

    @property
    def key(self) -> str:
        return self.clip_id


class AnnotationDue(Record):
    """A clip that is measured already is to be annotated anew: what its annotation depends on changed."""

    topic: ClassVar[str] = "annotations.due"
    clip_id: str
    video_id: str
    reason: str

    @property
    def key(self) -> str:
        return self.clip_id


class ClipDensified(Record):
    """The annotation of a clip."""

    topic: ClassVar[str] = "clips.densified"
    version: ClassVar[int] = 2
    clip_id: str
    video_id: str
    annotation: Annotation
    reasoning: Reasoning | None = None
    """None: written before there was any."""
    recipe: str
    """Hash of all that determines the annotation, given the measurements."""

    @property
    def key(self) -> str:
        return self.clip_id


class ClipsStored(Record):
    """A batch of rows is durable in the clip table."""

    topic: ClassVar[str] = "clips.stored"
    clip_ids: tuple[str, ...]
    """Clips that became complete (annotated) or changed state in this write."""

    @property
    def key(self) -> str:
        return "clips"


class CalibrationRequested(Record):
    """The control vectors are to be measured by the quantiles of the dataset as it is now."""

    topic: ClassVar[str] = "calibrations.requested"
    request_id: str
    by: str
    reason: str
    requested_at: datetime

    @property
    def key(self) -> str:
        return self.request_id


class CalibrationAdopted(Record):
    """The tables that the control vectors are measured by from here on."""

    topic: ClassVar[str] = "calibrations.adopted"
    request_id: str
    calibration_id: str
    """Hash of the tables."""
    tables: dict[str, tuple[tuple[float, float], ...]]
    """Control to (measured value, level in [-1, 1]) pairs; controls that are not here keep the vocabulary's."""
    n_clips: dict[str, int]
    """Control to the number of clips that its quantiles are of."""
    by: str
    reason: str
    adopted_at: datetime

    @property
    def key(self) -> str:
        return self.request_id
