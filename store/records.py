"""The records on the wire and the values inside them: frozen, versioned, free of any broker's types.

A record type names its topic and its key; `store.codec` puts it on the wire. Media never travel: records carry keys
into the content-addressed media storage, and vectors of at most a few hundred numbers.
"""

import hashlib
import json
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

Json = dict[str, Any]
TokenKind = Literal["concept", "identity"]
"""What has a trigger token."""


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value in canonical form: sorted keys, no spaces, shortest floats."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def utc_now() -> datetime:
    """The wall clock, for entry points; everything below them is given the time."""
    return datetime.now(UTC)


class Value(BaseModel):
    """A frozen part of a record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Record(Value):
    """One message on one topic."""

    topic: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    def key(self) -> str:
        """The partition key: records with one key keep their order."""
        raise TypeError(f"{type(self).__name__} names no key")


# --- parts -----------------------------------------------------------------------------------------------


class Column(Value):
    """A column that a processor or the distiller gives to the clip table.

    kind: `float`, `int`, `text`; `vector` (float32, fixed `size`); `curve` (float32 list sampled at
    `rate_hz` from the clip's start); `json` (anything else, kept as text). low/high: the closed range that
    values keep to, None where unbounded. Every column may be None for a clip: missing is None, never -1.
    """

    name: str
    kind: Literal["float", "int", "text", "vector", "curve", "json"]
    unit: str = ""
    low: float | None = None
    high: float | None = None
    size: int | None = None
    rate_hz: float | None = None
    source: str = ""
    """Paper, model card or formula."""
    measured: bool = True
    """True: signal processing (or weights inside a dependency used as a detector); False: a model's opinion."""


class Clip(Value):
    """The unit of the dataset: a coherent span inside one shot, normalised.

    `start_pts` (inclusive) and `end_pts` (exclusive) are ticks of the source's own `time_base`
    (numerator, denominator); seconds are derived at the edges only.
    """

    clip_id: str
    video_id: str
    source: str
    licence: str | None
    shot: int
    """0-based index of the shot in its video."""
    start_pts: int
    end_pts: int
    time_base: tuple[int, int]
    width: int
    height: int
    fps: tuple[int, int]
    """Constant frame rate of the clip's media, numerator and denominator."""
    n_frames: int
    has_audio: bool
    media_key: str
    """H.264/AAC in MP4."""
    strip_key: str
    """Thumbnail strip, JPEG."""
    samples_key: str
    """Sampled frames, sound and curves for the processors (`processors.decode.read_samples`)."""
    recipe: str

    @property
    def start_s(self) -> float:
        """Start in seconds of the source's presentation time."""
        return float(self.start_pts * Fraction(*self.time_base))

    @property
    def duration_s(self) -> float:
        """Length in seconds of the source span."""
        return float((self.end_pts - self.start_pts) * Fraction(*self.time_base))


def clip_id(video_id: str, start_pts: int, end_pts: int, recipe: str) -> str:
    """Content id of a clip: 32 hex digits of SHA-256 over (video, ticks, segmentation recipe)."""
    return digest([video_id, start_pts, end_pts, recipe])[:32]


class DroppedSpan(Value):
    """Footage that became no clip, and why."""

    start_pts: int
    end_pts: int
    reason: str


class Span(Value):
    """A stretch of a clip, in seconds from its start."""

    kind: Literal["onset", "escalation", "resolution"]
    start_s: float
    end_s: float


class Affect(Value):
    """Soft affect: probabilities, never one label; None where nothing was seen or heard to judge by."""

    arousal: dict[str, float] | None
    """Probabilities over low, mid, high; they sum to 1."""
    valence: dict[str, float] | None
    """Probabilities over negative, neutral, positive; they sum to 1."""
    arousal_trend: float | None
    """Slope of the arousal curve over the clip, per second, in [-1, 1]."""
    valence_trend: float | None = None
    """Slope of the valence curve, likewise."""
    evidence: tuple[str, ...] = ()
    """Names of the columns that the judgement rests on."""


class Control(Value):
    """Control vector: `values[i]` in [-1, 1] steers `names[i]` where `present[i]`, else is 0."""

    names: tuple[str, ...]
    values: tuple[float, ...]
    present: tuple[bool, ...]
    calibration: str = "vocabulary"
    """Id of the quantiles that give the values; `vocabulary`: the fixed tables in it."""


class Alternative(Value):
    """A conditioning string that a clip may carry, and how probable its reading is."""

    text: str
    weight: float


class Annotation(Value):
    """What is distilled from measurements and reasoning."""

    attributes: dict[str, str | None]
    """Attribute bundle over the closed vocabulary; None where unknown."""
    readings: dict[str, dict[str, float]] = {}
    """Probabilities of the terms of each attribute that is known; what they leave of 1 is unknown."""
    origins: dict[str, str] = {}
    """What each known attribute comes from: `measured`, or the engine's id."""
    temporal: tuple[Span, ...]
    affect: Affect
    conditioning: str
    """Short, stable string: closed vocabulary, fixed slot order, at most 75 tokens of CLIP."""
    alternatives: tuple[Alternative, ...] = ()
    """Strings with their weights where the clip is ambiguous, `conditioning` first; empty where it is not."""
    caption: str | None = None
    """A plain sentence, for families that are trained on such."""
    control: Control
    engine: str
    """What reasoned: `measured` for the rules, else the model's id."""


class Check(Value):
    """One claim of a trace, held against what was measured."""

    claim: str
    measured: str
    """What speaks for or against it; empty where nothing does."""
    verdict: Literal["supported", "contradicted", "unchecked"]
    score: float
    """Strength of the contradiction in [0, 1]; 0 where it is supported or unchecked."""


class Spent(Value):
    """What the answers about a clip took; None where nobody counted. cost: in the currency of the engine's prices."""

    seconds: float
    prompt_tokens: int | None
    answer_tokens: int | None
    cost: float | None


class Reasoning(Value):
    """What a reasoner said of a clip, and what that is worth. Its raw thinking is kept apart (`store.answers`)."""

    trace: Json
    """See `processors.reason.trace.Trace`."""
    checks: tuple[Check, ...]
    contradiction: float
    """Mean strength of contradiction over the claims that could be checked, in [0, 1]; 0 where none could."""
    limit: float | None = None
    """Of `contradiction`, from which the engine, and then a person, is to look again."""
    is_contradicted: bool
    """Too many claims contradict what was measured, also after the engine was told: a person must look."""
    engine: str
    recipe: str
    """Hash of all that determines the questions."""
    n_rounds: int
    """Times that the clip was asked about."""
    spent: Spent | None = None
    """On all rounds; None where nothing was asked."""
    failed: str | None
    """Why the profile's engine has no answer here, so that the rules stand in; None where it has."""


class Decision(Value):
    """One judgement of one clip, with what it rests on."""

    rule: str
    verdict: Literal["keep", "drop", "hold"]
    reason: str
    """For a person; empty where the verdict is keep."""
    score: float | None = None
    threshold: float | None = None
    by: str = "rules"
    """Who or what decided: `rules`, `clustering`, or a person's name."""
    recipe: str = ""


class Candidate(Value):
    """Somebody whom a track may show."""

    identity: str
    probability: float


class TrackLink(Value):
    """Who a face track is, as far as it can be told."""

    track: int
    """Index in `face_tracks`."""
    identity: str | None
    """A pseudonym; None where the faces are too poor to tell."""
    probability: float | None
    """Of being this identity; None where the track founded it."""
    candidates: tuple[Candidate, ...]
    """Others that it may be, the likeliest first; a person decides."""
    quality: float
    """0..1; of the track's faces."""
    time_s: float
    """When in the clip its best face is seen."""
    box_xyxy: tuple[float, float, float, float]
    """Where, in 0..1 of the frame."""


class TrackName(Value):
    """One face track of one clip."""

    clip_id: str
    track: int


# --- records ---------------------------------------------------------------------------------------------


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


class ClipCurated(Record):
    """Where a clip lies among the others."""

    topic: ClassVar[str] = "clips.curated"
    version: ClassVar[int] = 2
    clip_id: str
    cluster: int | None
    """None: noise."""
    cluster_probability: float
    outlier_score: float
    """In [0, 1]; GLOSH."""
    is_outlier: bool
    margin: float | None
    """In [0, 1]: how much nearer its own cluster is than the next one; None with fewer than two clusters."""
    is_boundary: bool
    next_cluster: int | None = None
    """The cluster that `margin` is against."""
    by_modality: dict[str, int | None] = {}
    """Cluster of each modality that the clip has, by that modality alone; None: noise."""
    sample_threshold: float | None = None
    """In (0, 1]: the clip stands for 1 / this many in the sample that is clustered; None: it is not in the sample."""
    settled: int = 0
    """How many times the sample had been clustered when the clip was placed."""
    copies: str | None = None
    """Id of the group of clips that show the same footage; None: there is no copy."""
    is_keeper: bool | None = None
    """Whether it is the best of its group."""
    recipe: str

    @property
    def key(self) -> str:
        return self.clip_id


class PivotsFound(Record):
    """What becomes something else with a clip."""

    topic: ClassVar[str] = "clips.pivots"
    clip_id: str
    video_id: str
    pivots: tuple[Json, ...]
    """See `store.pivots.pivots_of`; empty where there is none any more."""

    @property
    def key(self) -> str:
        return self.clip_id


class ClustersFounded(Record):
    """The space in which clips are compared was fitted."""

    topic: ClassVar[str] = "clusters.founded"
    foundation_id: str
    """Hash of the space."""
    n_clips: int
    """Clips that were known then."""
    space_key: str
    """The space, in media storage: an npz file (`store.clusters.space`)."""
    modalities: tuple[str, ...]
    recipe: str

    @property
    def key(self) -> str:
        return self.foundation_id


class ClusterChanged(Record):
    """A cluster was born, split off from another, was merged into another, or died."""

    topic: ClassVar[str] = "clusters.changed"
    event_id: str
    modality: str = "joint"
    """What the cluster is of: all modalities together, or one."""
    kind: Literal["born", "split", "merged", "died"]
    cluster: int
    other: int | None
    """What it split off from, or was merged into."""
    n_clips: int
    """Clips that it held, as far as the sample tells."""
    settled: int
    """How many times the sample had been clustered then."""
    by: str
    """`clustering`, or `people` where a decision on record asked for it."""
    recipe: str

    @property
    def key(self) -> str:
        return self.event_id


class IdentityLinked(Record):
    """Who the face tracks of a clip are."""

    topic: ClassVar[str] = "identities.linked"
    clip_id: str
    video_id: str
    links: tuple[TrackLink, ...]
    """By track; tracks without a usable face are not among them."""
    recipe: str
    """Hash of the vectors that this rests on."""

    @property
    def key(self) -> str:
        return self.clip_id


class IdentityDecided(Record):
    """A person's decision about identities, on record; see `store.identity_decisions`."""

    topic: ClassVar[str] = "identities.decided"
    decision_id: str
    verb: Literal["merge", "split", "undo"]
    identity: str | None
    """merge: the one that stays. split: the one that loses tracks."""
    others: tuple[str, ...] = ()
    """merge: those that are the same person."""
    tracks: tuple[TrackName, ...] = ()
    """split: those that are somebody else."""
    undoes: str | None = None
    """undo: id of the decision that no longer stands."""
    by: str
    reason: str
    decided_at: datetime

    @property
    def key(self) -> str:
        return self.decision_id


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


class ConceptChanged(Record):
    """A concept's subset and what is known of it."""

    topic: ClassVar[str] = "concepts.changed"
    version: ClassVar[int] = 2
    concept: str
    definition: Json
    """The entry of concepts.yaml that this was computed by."""
    members_key: str
    """Manifest in media storage: JSON list of {"clip_id", "probability", "answer", "agreement", "agreements" (by
    modality), "eligible", "held_for"}, by clip id."""
    members_digest: str
    n_members: int
    n_eligible: int
    n_videos: int
    """Source videos among the eligible members."""
    n_sources: int = 0
    n_identities: int = 0
    n_distinct: int = 0
    """Eligible members, of which near copies count once."""
    effective_videos: float = 0.0
    """Videos that would give the same spread if each gave as many clips."""
    n_asked: int = 0
    """Members, and clips that were members, that people were asked about."""
    purity: float | None
    purity_low: float | None
    """Lower end of the 95% interval of `purity`."""
    purity_by_modality: dict[str, float] = {}
    """By the neighbourhoods in each modality alone."""
    how: str = "query"
    """What found the members."""
    computed_at: datetime | None = None
    """None: in a record of version 1."""
    ready: bool
    reasons: tuple[str, ...]
    """Why it is not ready; empty where it is."""
    recipe: str

    @property
    def key(self) -> str:
        return self.concept


class DriftRaised(Record):
    """New footage is no longer like what the clusters and the control vectors were built on."""

    topic: ClassVar[str] = "drift.raised"
    alarm_id: str
    score: float
    """Capital of the test martingale (`store.drift`)."""
    threshold: float
    streams: dict[str, float]
    """What moved, with its capital: `place` (of all modalities together), `place <modality>`, or controls; empty where
    it is all of them together."""
    n_videos: int
    """Videos since the reference was taken."""
    sources: dict[str, int]
    """Where the videos since the capital began to grow came from."""
    clusters: dict[str, int]
    """The clusters that they are in, by number; `none`: away from all."""
    recipe: str
    """Of the clustering that the reference was taken in."""
    raised_at: datetime

    @property
    def key(self) -> str:
        return self.alarm_id


class DriftAnswered(Record):
    """A person looked at an alarm; from here on, new footage is compared with that of now."""

    topic: ClassVar[str] = "drift.answered"
    alarm_id: str
    by: str
    reason: str
    answered_at: datetime

    @property
    def key(self) -> str:
        return self.alarm_id


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
    run_id: str
    concept: str
    status: Literal["succeeded", "failed", "withdrawn"]
    reason: str
    """Why it failed or was withdrawn; empty where it succeeded."""
    artefacts: dict[str, str]
    """File name to media key: adapter, grid, card, losses."""
    metrics: Json
    clip_ids: tuple[str, ...]
    """Every clip that the adapter, or a base built here for it, has learned from."""
    finished_at: datetime

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


class ReviewDecided(Record):
    """A person's decision, on record; `store.reviewing.ledger` says which of them stand."""

    topic: ClassVar[str] = "reviews.decided"
    version: ClassVar[int] = 2
    decision_id: str
    subject: Literal["clip", "source", "cluster"]
    subject_id: str
    """A cluster's is its number as text. An undoing has the subject of what it undoes."""
    verdict: Literal["keep", "drop", "relabel", "release", "revoke", "split", "merge", "undo"]
    """keep, drop, relabel: of a clip. release, revoke: a source whose held clips may, or may no longer, be used.
    split, merge: of a cluster. undo: of an earlier decision on the same subject, which may itself be an undoing."""
    covers: tuple[Literal["age", "licence"], ...] = ()
    """What a release answers for; the other holds stay."""
    concepts: dict[str, bool] = {}
    """relabel: of which concepts the clip is, and of which it is not."""
    others: tuple[str, ...] = ()
    """merge: numbers of the clusters that are the same as the subject."""
    undoes: str | None = None
    """undo: id of the decision that no longer stands."""
    shown: dict[str, float] = {}
    """What was known of the clip when it was asked about, by feature: what proposals are learnt from."""
    by: str
    reason: str
    decided_at: datetime

    @property
    def key(self) -> str:
        return self.subject_id


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
    """Proof that it went."""

    topic: ClassVar[str] = "removals.done"
    version: ClassVar[int] = 2
    removal_id: str
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
    sources: dict[str, str | None] = {}
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
    tag: str
    status: Literal["created", "failed", "withdrawn"]
    reason: str
    digest: str | None
    table_version: int | None
    folder: str | None
    n_kept: int
    n_dropped: int
    clip_ids: tuple[str, ...]
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


def video_and_clip(record: Record) -> tuple[str | None, str | None]:
    """Ids of the video and of the clip that a record speaks of, where it speaks of one."""
    if isinstance(record, ClipSegmented):
        return record.clip.video_id, record.clip.clip_id
    if isinstance(record, FootageContinued):
        return record.footage.video_id, None
    return getattr(record, "video_id", None), getattr(record, "clip_id", None)
