"""What leaves the service and what is kept of it: removals, snapshots, dead letters."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from store.records.base import Record


class RemovalRequested(Record):
    """Everything of a source or a video must go, or everything in which an identity appears."""

    topic: ClassVar[str] = "removals.requested"
    removal_id: str
    subject: Literal["source", "video", "identity"]
    subject_id: str
    by: str
    reason: str
    requested_at: datetime

    @property
    def key(self) -> str:
        return self.subject_id


class RemovalDone(Record):
    """Proof that it went; of very much in several records, each of which tells a part of every list."""

    topic: ClassVar[str] = "removals.done"
    version: ClassVar[int] = 3
    removal_id: str
    n_parts: int = 1
    video_ids: tuple[str, ...]
    clip_ids: tuple[str, ...]
    media_keys: tuple[str, ...]
    """Every object that was deleted, originals included."""
    snapshots: tuple[str, ...]
    """Snapshots that held a removed clip and were withdrawn."""
    runs: tuple[str, ...]
    """Adapters that were trained on a removed clip and were withdrawn."""
    bases: tuple[str, ...] = ()
    """Small bases that learned from a removed clip and were deleted."""
    dead_letters: tuple[str, ...] = ()
    """step/id of every dead letter that mentioned a removed video or clip."""
    originals: tuple[str, ...] = ()
    """Videos that lost the clips in which a removed identity appears, and their original, and keep the other clips."""
    sources: dict[str, str | None] = Field(default_factory=dict)
    """Video id to the source that it came from."""
    tokens: tuple[str, ...] = ()
    """Trigger tokens of identities that are seen nowhere any more: nothing tells whose, and nobody else gets them."""
    verified: bool
    """The ids and keys above were looked for afterwards and not found."""
    done_at: datetime

    @property
    def key(self) -> str:
        return self.removal_id


class SnapshotRequested(Record):
    """A version of the dataset is to be published."""

    topic: ClassVar[str] = "snapshots.requested"
    tag: str
    note: str
    requested_by: str
    requested_at: datetime

    @property
    def key(self) -> str:
        return self.tag


class SnapshotFinished(Record):
    """A snapshot was written, failed, or was withdrawn by a removal."""

    topic: ClassVar[str] = "snapshots.finished"
    version: ClassVar[int] = 2
    tag: str
    status: Literal["created", "failed", "withdrawn"]
    reason: str
    digest: str | None
    table_version: int | None
    folder: str | None
    n_kept: int
    n_dropped: int
    requested_at: datetime

    @property
    def key(self) -> str:
        return self.tag


class DeadLetter(Record):
    """A record that a step could not process, kept whole so that it can be replayed.

    Its topic is `dead.<step>`; `DeadLetter.topic` is only the type's name on the wire.
    """

    topic: ClassVar[str] = "dead"
    version: ClassVar[int] = 2
    dead_id: str
    step: str
    origin_topic: str
    origin_partition: int | None
    """None: a letter of version 1, which did not tell."""
    origin_offset: int | None
    origin_key: str | None
    kind: Literal["unreadable", "refused", "bug", "exhausted"]
    """No record of ours; footage or request of no use; an error of the program; a passing fault that stayed."""
    raw_base64: str
    reason: str
    traceback: str
    attempts: int
    video_id: str | None
    clip_id: str | None
    died_at: datetime

    @property
    def key(self) -> str:
        return self.dead_id


class DeadReplayed(Record):
    """A dead letter's original record was put back on its topic."""

    topic: ClassVar[str] = "dead.replayed"
    dead_id: str
    by: str
    replayed_at: datetime

    @property
    def key(self) -> str:
        return self.dead_id


class DeadDropped(Record):
    """A person gave a dead letter up: it is not to be replayed, and no longer counts as open."""

    topic: ClassVar[str] = "dead.dropped"
    dead_id: str
    by: str
    note: str
    """Why."""
    dropped_at: datetime

    @property
    def key(self) -> str:
        return self.dead_id
