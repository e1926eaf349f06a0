"""What stored clips are together: clusters, people, concepts, drift, and what persons decide of them."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from store.records.base import Json, Record
from store.records.parts import TrackLink, TrackName


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
    by_modality: dict[str, int | None] = Field(default_factory=dict)
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
    purity_by_modality: dict[str, float] = Field(default_factory=dict)
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
    concepts: dict[str, bool] = Field(default_factory=dict)
    """relabel: of which concepts the clip is, and of which it is not."""
    others: tuple[str, ...] = ()
    """merge: numbers of the clusters that are the same as the subject."""
    undoes: str | None = None
    """undo: id of the decision that no longer stands."""
    shown: dict[str, float] = Field(default_factory=dict)
    """What was known of the clip when it was asked about, by feature: what proposals are learnt from."""
    by: str
    reason: str
    decided_at: datetime

    @property
    def key(self) -> str:
        return self.subject_id
