"""Runs of the trainer, the adapters that they make, and the tokens that call them."""

from datetime import datetime
from typing import ClassVar, Literal

from store.records.base import Json, Record

TokenKind = Literal["concept", "identity"]
"""What has a trigger token."""


class TokenReserved(Record):
    """A made-up word stands for a concept or an identity, for ever: its trigger token.

    Its key is the token: when the subject is removed, a tombstone erases who it stood for, and the proof keeps it
    reserved.
    """

    topic: ClassVar[str] = "tokens.reserved"
    kind: TokenKind
    subject_id: str
    """The concept's name, or the identity's pseudonym."""
    token: str
    reserved_at: datetime

    @property
    def key(self) -> str:
        return self.token


class TrainingRequested(Record):
    """A LoRA run is due."""

    topic: ClassVar[str] = "training.requested"
    version: ClassVar[int] = 2
    run_id: str
    concept: str
    stage: Literal["A", "B"]
    members_key: str
    members_digest: str
    parent: str | None
    """Run whose adapter this one starts from."""
    settings: Json
    """Fields of `trainer.settings.LoraSettings` that differ from their defaults."""
    token: str | None = None
    """The concept's trigger token, which its texts begin with; None: a request of version 1, trained without."""
    requested_by: str
    reason: str
    requested_at: datetime

    @property
    def key(self) -> str:
        return self.run_id


class TrainingDecided(Record):
    """The scheduler decided to train a concept, or to wait, and why; told when that changed."""

    topic: ClassVar[str] = "training.decided"
    decision_id: str
    concept: str
    verdict: Literal["train", "wait"]
    reason: str
    run_id: str | None
    """Of the run that was asked for; None where it waits."""
    members_digest: str
    """Of the subset that was judged."""
    decided_at: datetime

    @property
    def key(self) -> str:
        return self.decision_id


class TrainingControlled(Record):
    """A person paused, cancelled or resumed a run.

    A paused run lets its device go and keeps its place until it is resumed or cancelled; a cancelled one is at its end.
    """

    topic: ClassVar[str] = "training.controlled"
    control_id: str
    run_id: str
    verb: Literal["pause", "cancel", "resume"]
    by: str
    reason: str
    decided_at: datetime

    @property
    def key(self) -> str:
        return self.run_id


class TrainingProgress(Record):
    """How far a run is."""

    topic: ClassVar[str] = "training.progress"
    version: ClassVar[int] = 2
    run_id: str
    phase: Literal["start", "base", "encode", "lora", "evaluate"]
    step: int
    steps: int
    loss: float | None
    stints: tuple[tuple[datetime, datetime], ...] = ()
    """When the run held a device, from and until, in order; the last goes on. It has one for each time that it was
    started. Every record tells all of them: the topic keeps only the last record of a run."""

    @property
    def key(self) -> str:
        return self.run_id


class TrainingFinished(Record):
    """A run ended, well or not."""

    topic: ClassVar[str] = "training.finished"
    version: ClassVar[int] = 2
    run_id: str
    concept: str
    status: Literal["succeeded", "failed", "withdrawn"]
    reason: str
    """Why it failed or was withdrawn; empty where it succeeded."""
    artefacts: dict[str, str]
    """File name to media key: adapter, grid, card, losses, and the clips that it learned from (`store.learned`)."""
    metrics: Json
    finished_at: datetime
    clip_ids: tuple[str, ...] = ()
    """In a record of version 1: the clips that it learned from."""

    @property
    def key(self) -> str:
        return self.run_id


class AdapterDecided(Record):
    """A person put an adapter into use, or took it out of use: then the one that was in use before it is again."""

    topic: ClassVar[str] = "adapters.decided"
    decision_id: str
    run_id: str
    """The adapter's; `store.registry` says which of a concept's adapters is in use."""
    verb: Literal["promote", "retire"]
    by: str
    reason: str
    decided_at: datetime

    @property
    def key(self) -> str:
        return self.decision_id
