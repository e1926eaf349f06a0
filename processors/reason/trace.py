"""What a reasoner says of a clip: its trace, one form whatever engine wrote it, and the schema it is held to.

The schema is the trace with the vocabulary's terms written in: `TraceForm` makes the JSON Schema for constrained
decoding of it, and validates what came back. Whatever a model writes is bounded (lengths, counts, whole numbers), since
a grammar without bounds never ends.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from processors.distill.vocabulary import Slot, Vocabulary
from store.records import Json, Value

TRACE_VERSION = 2
"""1 had one term to a slot, and no events, claims or caption."""
MEASURED = "measured"
"""Id of the engine of rules: measurements and no model's opinion."""
MOST_FRAMES = 16
LONGEST_MS = 600_000
MOST_PRESENT, MOST_EVENTS, MOST_SIGNALS, MOST_READINGS, MOST_CITED = 6, 6, 4, 3, 4
"""Of a trace; readings of one slot; frames and facts of one claim each."""

Percent = Annotated[int, Field(ge=0, le=100)]
Milliseconds = Annotated[int, Field(ge=0, le=LONGEST_MS)]
Short = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ,.'-]{0,59}$")]
"""A few English words; closed to other scripts, so that another language is no valid answer."""
Caption = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ,.;:'()-]{0,239}$")]

Fact = Literal[
    "people", "faces", "objects", "pose", "interaction", "motion", "camera", "sound", "voice", "affect", "look"
]
"""Names of the lines of a sheet (`processors.reason.sheet`), which claims rest on beside frames."""


class Evidence(Value):
    """Where a claim can be seen or heard.

    frames: numbers of the frames that were shown, counted from 1.
    facts: names of the sheet's lines: curves, sounds and tracks.
    """

    frames: tuple[Annotated[int, Field(ge=1, le=MOST_FRAMES)], ...] = Field(default=(), max_length=MOST_CITED)
    facts: tuple[Fact, ...] = Field(default=(), max_length=MOST_CITED)


class Present(Value):
    """Something that is visibly there."""

    kind: Literal["person", "animal", "object", "place", "text"]
    what: Short
    count: Annotated[int, Field(ge=1, le=50)]
    evidence: Evidence


class Event(Value):
    """A change, in milliseconds from the clip's start."""

    kind: Literal["appears", "leaves", "moves", "stops", "speaks", "sounds", "changes"]
    what: Short
    start_ms: Milliseconds
    end_ms: Milliseconds
    evidence: Evidence


class Reading(Value):
    """One way to fill a slot. pct: its probability."""

    term: str
    pct: Percent


class Finding(Value):
    """What fills one slot: up to three readings, the likeliest first; none where it is unknown.

    With two or more, the slot is ambiguous between them. What the readings leave of 100 is unknown.
    """

    readings: tuple[Reading, ...] = Field(default=(), max_length=MOST_READINGS)
    evidence: Evidence = Evidence()

    @property
    def term(self) -> str | None:
        """The likeliest reading."""
        return self.readings[0].term if self.readings else None

    @property
    def confidence(self) -> float:
        """Its probability in [0, 1]; 0 where the slot is unknown."""
        return self.readings[0].pct / 100 if self.readings else 0.0


class Signal(Value):
    """An affective or behavioural signal that dominates the clip. level_pct: -100 as low as it gets, 100 as high."""

    name: str
    level_pct: Annotated[int, Field(ge=-100, le=100)]
    course: Literal["steady", "rising", "falling", "arc"]
    confidence_pct: Percent
    evidence: Evidence


class Valence(Value):
    """Probabilities; see `store.records.Affect`."""

    negative_pct: Percent
    neutral_pct: Percent
    positive_pct: Percent


class Arousal(Value):
    """Probabilities; see `store.records.Affect`."""

    low_pct: Percent
    mid_pct: Percent
    high_pct: Percent


class Feeling(Value):
    """Affect as the reasoner judges it; None where there is nothing to judge by."""

    valence: Valence | None = None
    arousal: Arousal | None = None


class Trace(Value):
    """A clip's structured reasoning.

    present: what is seen. events: how it changes. findings: what fills each slot of the vocabulary. signals: those that
    dominate, the strongest first. caption: one or two plain sentences.
    """

    present: tuple[Present, ...] = Field(max_length=MOST_PRESENT)
    events: tuple[Event, ...] = Field(max_length=MOST_EVENTS)
    findings: dict[str, Finding]
    signals: tuple[Signal, ...] = Field(max_length=MOST_SIGNALS)
    feeling: Feeling
    caption: Caption | None


class TraceForm:
    """The trace with a vocabulary's terms in it: `findings` has exactly the slots, each with its own terms.

    schema: JSON Schema for engines: every property required and nothing besides.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        slots: dict[str, Any] = {slot.name: (_finding(slot), ...) for slot in vocabulary.slots}
        findings = create_model("Findings", __base__=Value, **slots)
        names = _one_of(control.name for control in vocabulary.controls)
        signal = create_model("NamedSignal", __base__=Signal, name=(names, ...))
        signals = Annotated[tuple[signal, ...], Field(max_length=MOST_SIGNALS)]  # type: ignore[valid-type]
        fields: dict[str, Any] = {"findings": (findings, ...), "signals": (signals, ...)}
        self._model = create_model("ClipTrace", __base__=Trace, **fields)
        self.schema: Json = _strict(self._model.model_json_schema())

    def read(self, text: str) -> Trace:
        """The trace in an engine's answer.

        Raises:
            pydantic.ValidationError: it is none.
        """
        return Trace.model_validate(self._model.model_validate_json(text).model_dump())


def _finding(slot: Slot) -> type[Value]:
    reading = create_model(
        f"Reading_{slot.name}", __base__=Reading, term=(_one_of(term.name for term in slot.terms), ...)
    )
    readings = Annotated[tuple[reading, ...], Field(max_length=MOST_READINGS)]  # type: ignore[valid-type]
    return create_model(f"Finding_{slot.name}", __base__=Finding, readings=(readings, ...), evidence=(Evidence, ...))


def _one_of(names: Iterable[str]) -> Any:
    return Literal[tuple(names)]


def _strict(schema: Any) -> Any:
    """The schema without titles, prose and defaults, and with every property required."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {
        name: {key: _strict(one) for key, one in value.items()} if name in ("properties", "$defs") else _strict(value)
        for name, value in schema.items()
        if name not in ("title", "description", "default")
    }
    return told | {"required": list(schema["properties"])} if "properties" in schema else told
