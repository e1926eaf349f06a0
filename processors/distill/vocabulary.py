"""The closed vocabulary of annotations, read from TOML: slots and their terms, controls and their tables, limits.

The vocabulary that comes with Cliploom is `vocabulary.toml` beside this file; what each number means is written there.
It is data, so that a project can have its own, or add to it:

    extends = "default"

    [[slots]]
    name = "setting"          # a new slot is added, one that is there gets these terms on top, or in place of its own
    asked = true
    terms = [{ name = "kitchen", phrase = "kitchen", meaning = "Where food is made.", synonyms = ["galley"] }]
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from store.errors import SettingsError
from store.records import Column, Value, digest

DEFAULT_VOCABULARY = Path(__file__).with_name("vocabulary.toml")

RULE_TERMS = {
    "course": {"steady", "rising", "falling", "arc"},
    "sound_kind": {"silence", "speech", "voice", "other"},
    "palette": {"grey", "mixed"},
    "tension": set[str](),
    "interaction": {"alone", "together", "near", "apart"},
    "face_expression": {"neutral", "happy", "sad", "angry", "fear", "surprise", "disgust", "contempt"},
}
"""Slots that the reasoner fills by a rule, and the terms that the rules give."""
RULE_CONTROLS = {"arousal", "valence", "tension"}
"""Controls that the reasoner computes."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


class Term(Value):
    """One word that a slot can hold."""

    name: Name
    """What the clip table holds."""
    phrase: str = ""
    """What the conditioning string says; empty where the term goes without saying."""
    meaning: str
    example: str = ""
    """A clip that it fits, for whoever annotates, a person or a model."""
    synonyms: tuple[str, ...] = ()
    """Other words for it, which are folded into it."""
    low: float | None = None
    """Least value of the slot's column, inclusive; None for the slot's first term."""


class Slot(Value):
    """One attribute: its terms and, where a threshold alone decides, the column that it is read from."""

    name: Name
    meaning: str
    column: str | None = None
    """None: a rule of the reasoner's fills the slot."""
    asked: bool = False
    """Nothing measures it: only an engine that looks fills it."""
    blur: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Around each `low`, as a share of it, both terms are possible: a measurement is not exact."""
    least: float | None = Field(default=None, ge=0.0, le=1.0)
    """As the vocabulary's `least_confidence`, for this slot."""
    said_from: float = Field(default=0.0, ge=0.0, le=1.0)
    """The conditioning string names the slot's term only where it is so sure."""
    terms: tuple[Term, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _lows_ascend(self) -> "Slot":
        lows = [term.low for term in self.terms[1:]]
        if self.terms[0].low is not None or (any(low is not None for low in lows) and None in lows):
            raise ValueError(f"slot {self.name!r}: every term but the first needs `low`, or none has one")
        known = [low for low in lows if low is not None]
        if known != sorted(set(known)):
            raise ValueError(f"slot {self.name!r}: `low` must ascend from term to term, got {known}")
        return self

    def term(self, value: float | str | None) -> str | None:
        """The term that a measured number falls into, or that a text names; None for anything else."""
        if value is None:
            return None
        if isinstance(value, str):
            return value if any(term.name == value for term in self.terms) else None
        return [term.name for term in self.terms if term.low is None or value >= term.low][-1]

    def chances(self, value: float) -> dict[str, float]:
        """Probability of each term that a measured number may fall into, in the order of the terms.

        Across a border `low` the upper term's chance rises (see `ramp`).
        """
        above = [1.0, *(ramp(value, term.low, self.blur) for term in self.terms[1:] if term.low is not None)]
        shares = [at_least - more for at_least, more in zip(above, [*above[1:], 0.0], strict=True)]
        return {term.name: share for term, share in zip(self.terms, shares, strict=True) if share > 0.0}

    def fold(self, words: str) -> str | None:
        """The term that a word or phrase means: its name, phrase or a synonym, whatever the case and the hyphens."""
        said = _plain(words)
        for term in self.terms:
            if said in {_plain(word) for word in (term.name, term.phrase, *term.synonyms) if word}:
                return term.name
        return None

    def phrase(self, name: str) -> str:
        """What the conditioning string says for a term."""
        return next(term.phrase for term in self.terms if term.name == name)


def ramp(value: float, border: float, blur: float) -> float:
    """From 0 to 1 across a border, evenly between `border (1 - blur)` and `border (1 + blur)`; a step without blur."""
    half = abs(border) * blur
    return min(1.0, max(0.0, (value - border + half) / (2 * half))) if half else float(value >= border)


def _plain(words: str) -> str:
    return " ".join(words.casefold().replace("-", " ").replace("_", " ").split())


Table = tuple[tuple[float, float], ...]
"""(measured value, level in [-1, 1]) pairs, both ascending; linear between them, flat beyond."""


class Control(Value):
    """One number of the control vector: a table from a measurement to [-1, 1]."""

    name: Name
    meaning: str
    column: str | None = None
    """None: the reasoner computes the value."""
    table: Table = Field(min_length=2)
    """What holds until the dataset has a calibration of its own (`processors.distill.calibrate`)."""

    @model_validator(mode="after")
    def _table_ascends(self) -> "Control":
        values, levels = zip(*self.table, strict=True)
        if any(np.diff(values) <= 0) or any(np.diff(levels) <= 0) or (levels[0], levels[-1]) != (-1.0, 1.0):
            raise ValueError(f"control {self.name!r}: values must ascend and levels go from -1 to 1, got {self.table}")
        return self

    def level(self, value: float) -> float:
        """Level in [-1, 1] of a measured value."""
        values, levels = zip(*self.table, strict=True)
        return float(np.interp(value, values, levels))


class ChangeLimits(Value):
    """What counts as a change over a clip. Each curve is read through the table of a control."""

    rate_hz: float = Field(gt=0.0)
    curves: dict[str, str]
    """Curve column to the control whose table gives its level."""
    least_step: float = Field(gt=0.0)
    """Least difference of mean level between two stretches."""
    least_stretch_s: float = Field(gt=0.0)


class SoundLimits(Value):
    """When a clip is silent, spoken in, or voiced without words."""

    silent_below_db: float
    audible_from: float = Field(ge=0.0, le=1.0)
    speech_from: float
    voiced_from: float
    voice_from_hz: float


class PaletteLimits(Value):
    """When a picture is without colour, and which hues are which."""

    grey_below: float
    hue_from_deg: dict[str, float] = Field(min_length=1)
    """Term to the hue in degrees that it begins at; it goes on to the next one around the circle."""


class TensionLimits(Value):
    """What escalation and resolution add to tension, and the weights of bodies and faces beside the arousal's 1."""

    escalation: float
    resolution: float
    body: float = Field(ge=0.0)
    face: float = Field(ge=0.0)


class InteractionLimits(Value):
    """When two people are together or near each other: shares of a box, body heights."""

    overlap_from: float = Field(gt=0.0)
    near_within: float = Field(gt=0.0)
    blur: float = Field(gt=0.0, lt=1.0)


class Vocabulary(Value):
    """All of it; see `vocabulary.toml` for the meaning of every number."""

    least_confidence: float = Field(ge=0.0, le=1.0)
    """Findings that are less sure leave their attribute unknown."""
    slots: tuple[Slot, ...]
    controls: tuple[Control, ...]
    changes: ChangeLimits
    sound: SoundLimits
    palette: PaletteLimits
    tension: TensionLimits
    interaction: InteractionLimits

    @model_validator(mode="after")
    def _names_fit(self) -> "Vocabulary":
        for kind, names in (("slot", [s.name for s in self.slots]), ("control", [c.name for c in self.controls])):
            if len(set(names)) != len(names):
                raise ValueError(f"a {kind} is named twice in {names}")
        for slot in self.slots:
            given = RULE_TERMS.get(slot.name, set()) | (
                set(self.palette.hue_from_deg) if slot.name == "palette" else set()
            )
            if missing := given - {term.name for term in slot.terms}:
                raise ValueError(f"slot {slot.name!r} lacks the terms {sorted(missing)}, which its rule gives")
            if slot.column is None and slot.name not in RULE_TERMS and not slot.asked:
                rules = ", ".join(RULE_TERMS)
                raise ValueError(f"slot {slot.name!r} needs a `column`, or `asked = true`; rules fill only {rules}")
            words = [_plain(word) for term in slot.terms for word in {term.name, term.phrase, *term.synonyms} if word]
            if twice := {word for word in words if words.count(word) > 1 and not _one_terms(slot, word)}:
                raise ValueError(f"slot {slot.name!r}: {sorted(twice)} mean more than one term")
        for table in self.controls:
            if table.column is None and table.name not in RULE_CONTROLS:
                raise ValueError(f"control {table.name!r} needs a `column`; computed are only {sorted(RULE_CONTROLS)}")
        for curve, control in self.changes.curves.items():
            if control not in {c.name for c in self.controls}:
                raise ValueError(f"curve {curve!r} is read through {control!r}, which is no control")
        return self

    @property
    def recipe(self) -> str:
        """Hash of the whole content."""
        return digest(self.model_dump(mode="json"))[:16]

    @property
    def asked(self) -> str:
        """Slots and terms with their meanings, as a model is told of them."""
        lines = []
        for slot in self.slots:
            lines.append(f"{slot.name}: {slot.meaning}")
            for term in slot.terms:
                example = f" Example: {term.example}" if term.example else ""
                lines.append(f"  {term.name}: {term.meaning}{example}")
        return "\n".join(lines)

    @property
    def control_columns(self) -> tuple[str, ...]:
        """Measured columns that the control vector is read from."""
        own = {control.column for control in self.controls if control.column is not None}
        return tuple(sorted(own | set(self.changes.curves) | {"arousal", "valence", "body_tension", "face_tension"}))

    @property
    def columns(self) -> tuple[Column, ...]:
        """A text column for each slot."""
        return tuple(
            Column(name=s.name, kind="text", source=f"{s.meaning} One of {', '.join(t.name for t in s.terms)}.")
            for s in self.slots
        )

    def least(self, slot: Slot) -> float:
        """How sure a finding must be to fill the slot."""
        return self.least_confidence if slot.least is None else slot.least

    def with_changes(self, **limits: Any) -> "Vocabulary":
        """The vocabulary with some limits of changes in place of its own."""
        return self.model_copy(update={"changes": self.changes.model_copy(update=limits)})

    def slot(self, name: str) -> Slot:
        """The slot of that name."""
        return next(slot for slot in self.slots if slot.name == name)

    def control(self, name: str) -> Control:
        """The control of that name."""
        return next(control for control in self.controls if control.name == name)


def _one_terms(slot: Slot, word: str) -> bool:
    """Whether a word that is written twice stands for one term all the same (its name and its phrase)."""
    return len({term.name for term in slot.terms if word in map(_plain, (term.name, term.phrase, *term.synonyms))}) == 1


def load_vocabulary(path: Path = DEFAULT_VOCABULARY) -> Vocabulary:
    """The vocabulary in a TOML file.

    Raises:
        SettingsError: no file, no TOML, or content that does not fit together; the message says where.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"vocabulary {path} cannot be read: {error.strerror}; give an existing file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"vocabulary {path} is not TOML: {error}") from error
    if (extended := content.pop("extends", None)) is not None:
        if extended != "default":
            raise SettingsError(f'vocabulary {path} extends {extended!r}; only "default" can be extended')
        content = _added(tomllib.loads(DEFAULT_VOCABULARY.read_text(encoding="utf-8")), content)
    try:
        return Vocabulary.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "as a whole"
        raise SettingsError(
            f"vocabulary {path}, {where}: {first['msg']}; see processors/distill/vocabulary.toml for the form"
        ) from error


def _added(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The default vocabulary's content with a project's on top: lists of named things by name, tables by key."""
    merged = dict(base)
    for key, value in more.items():
        known = base.get(key)
        if isinstance(value, list) and isinstance(known, list) and all(isinstance(one, dict) for one in value):
            by_name = {one.get("name"): one for one in known}
            for one in value:
                by_name[one.get("name")] = _added(by_name.get(one.get("name"), {}), one)
            merged[key] = list(by_name.values())
        elif isinstance(value, dict) and isinstance(known, dict):
            merged[key] = known | value
        else:
            merged[key] = value
    return merged
