"""The values inside records: clips, what is measured, said and decided of them."""

from fractions import Fraction
from typing import Literal

from pydantic import Field

from store.records.base import Json, Value, digest


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
    readings: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Probabilities of the terms of each attribute that is known; what they leave of 1 is unknown."""
    origins: dict[str, str] = Field(default_factory=dict)
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
