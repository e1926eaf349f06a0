"""How well annotations hold: whether a string stays when nothing that matters changes, and what the strings are like.

Every clip is described five times: as it is, once more with nothing changed, with another seed, from another sampling
moment, and asked in other words. What changes then is the engine's mood, and not the clip.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from processors.base import DecodedClip
from processors.distill.annotate import Distiller
from processors.distill.clip_tokens import count_tokens
from processors.distill.vocabulary import Vocabulary
from processors.engine import Engine
from processors.reason.engine import Usage
from processors.reason.reasoner import Reasoner, Subject
from processors.reason.sheet import show_frames
from processors.reread import reread
from store.records import Annotation, Json, Reasoning

OFFSET_S = Fraction(1, 8)
"""Half of the time between two sampled frames: as far off as can be."""
AT_ONCE = 8


class KeptHere:
    """Answers in memory, for one run; see `processors.reason.reasoner.Answers`."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Json] = {}

    def get(self, clip_id: str, recipe: str) -> Json:
        """Answers by question."""
        return self.answers.get((clip_id, recipe), {})

    def put(self, clip_id: str, recipe: str, answers: Json) -> None:
        """Keep a clip's answers."""
        self.answers[clip_id, recipe] = answers


@dataclass(frozen=True)
class Described:
    """A clip's reasoning and annotation."""

    reasoning: Reasoning
    annotation: Annotation


@dataclass(frozen=True)
class Evaluation:
    """What a run found, clip by clip. asked: what the engine took, over all variations."""

    plain: Mapping[str, Described]
    varied: Mapping[str, Mapping[str, Described]]
    vocabulary: Vocabulary
    asked: Sequence[Json] = field(default=(), repr=False)

    def report(self, references: Mapping[str, str]) -> Json:
        """The figures, as JSON.

        Args:
            references: clip id to a caption by a person.
        """
        annotations = {clip_id: one.annotation for clip_id, one in self.plain.items()}
        reasonings = [one.reasoning for one in self.plain.values()]
        tokens = [count_tokens(one.conditioning) for one in annotations.values()]
        return {
            "n_clips": len(annotations),
            "engine": next(iter(reasonings)).engine if reasonings else None,
            "changed": {name: _changed(self.plain, found) for name, found in self.varied.items()},
            "changed_slots": {name: _changed_slots(self.plain, found) for name, found in self.varied.items()},
            "without_answer": _share(one.failed is not None for one in reasonings),
            "contradiction": _mean(one.contradiction for one in reasonings),
            "contradicted": _share(one.is_contradicted for one in reasonings),
            "coverage": _coverage(annotations.values(), self.vocabulary),
            "unique_strings": len({one.conditioning for one in annotations.values()}),
            "tokens": {"mean": _mean(tokens), "p95": _percentile(tokens, 95), "max": max(tokens, default=0)},
            "entropy_bits": _entropies(annotations.values()),
            "ambiguous": _share(bool(one.alternatives) for one in annotations.values()),
            "usage": _usage(self.asked),
            "agreement": _agreement(annotations, references, self.vocabulary) if references else None,
        }


def evaluate(
    clips: Mapping[str, AbstractContextManager[Path]],
    measuring: Engine,
    open_reasoner: Callable[[int, int | None], Reasoner],
    frames: int,
    tell: Callable[[str], None] = lambda clip_id: None,
) -> Evaluation:
    """Describe clips in every variation.

    Args:
        clips: clip id to its media; each is entered once, when it is read.
        measuring: the profile's processors, loaded.
        open_reasoner: gives the profile's reasoner for (seed, paraphrase or None), each with answers of its own.
        frames: that an engine is shown at most.
        tell: called for each clip that is done.
    """
    reasoners = {
        "plain": open_reasoner(0, None),
        "identical": open_reasoner(0, None),
        "seed": open_reasoner(1, None),
        "offset": open_reasoner(0, None),
        "wording": open_reasoner(0, 0),
    }
    found: dict[str, dict[str, Described]] = {name: {} for name in reasoners}
    distiller = Distiller(reasoners["plain"].vocabulary, count_tokens)
    ids = sorted(clips)
    for start in range(0, len(ids), AT_ONCE):
        group = ids[start : start + AT_ONCE]
        as_is, moved = [], []
        for clip_id in group:
            with clips[clip_id] as path:
                as_is.append(reread(path, clip_id))
                moved.append(reread(path, clip_id, OFFSET_S))
        once = _subjects(as_is, measuring, frames)
        again = {"identical": _subjects(as_is, measuring, frames), "offset": _subjects(moved, measuring, frames)}
        for name, reasoner in reasoners.items():
            found[name].update(_described(again.get(name, once), reasoner, distiller))
        for clip_id in group:
            tell(clip_id)
    plain = found.pop("plain")
    return Evaluation(plain, found, distiller.vocabulary, _asked(reasoners.values()))


def _subjects(clips: Sequence[DecodedClip], measuring: Engine, frames: int) -> list[Subject]:
    measured = {one.clip_id: one for one in measuring.run(clips)}
    return [_subject(clip, measured[clip.clip_id].values, measured[clip.clip_id].recipes, frames) for clip in clips]


def _described(
    subjects: Sequence[Subject], reasoner: Reasoner, distiller: Distiller
) -> Iterator[tuple[str, Described]]:
    for index, reasoning in reasoner.reason(subjects):
        one = subjects[index]
        annotation = distiller.distil(one.clip_id, one.duration_s, one.values, reasoning)
        yield one.clip_id, Described(reasoning, annotation)


def _subject(clip: DecodedClip, values: Mapping[str, Any], recipes: Mapping[str, str], frames: int) -> Subject:
    return Subject(clip.clip_id, clip.duration_s, values, recipes, "", lambda: show_frames(clip, frames))


def _asked(reasoners: Any) -> list[Json]:
    kept = [reasoner.answers for reasoner in reasoners if isinstance(reasoner.answers, KeptHere)]
    return [answer["usage"] for answers in kept for one in answers.answers.values() for answer in one.values()]


# --- figures -----------------------------------------------------------------------------------------------------


def _changed(plain: Mapping[str, Described], varied: Mapping[str, Described]) -> float | None:
    """Share of the clips whose conditioning string is another."""
    return _share(plain[id_].annotation.conditioning != one.annotation.conditioning for id_, one in varied.items())


def _changed_slots(plain: Mapping[str, Described], varied: Mapping[str, Described]) -> dict[str, int]:
    """Number of clips by the attribute that is another, the most first."""
    counts = Counter(
        slot
        for id_, one in varied.items()
        for slot, term in one.annotation.attributes.items()
        if plain[id_].annotation.attributes[slot] != term
    )
    return dict(counts.most_common())


def _coverage(annotations: Any, vocabulary: Vocabulary) -> Json:
    """Of slots: the share of clips in which each is known. Of terms: the share that occurs at all."""
    known = list(annotations)
    used = {(slot, term) for one in known for slot, term in one.attributes.items() if term is not None}
    n_terms = sum(len(slot.terms) for slot in vocabulary.slots)
    slots = {slot.name: _share(one.attributes[slot.name] is not None for one in known) for slot in vocabulary.slots}
    return {"slots": slots, "terms": round(len(used) / n_terms, 4)}


def _entropies(annotations: Any) -> dict[str, float | None]:
    """Mean Shannon entropy of the soft labels, in bits."""
    known = list(annotations)
    readings = [_entropy([*shares.values(), max(0.0, 1.0 - sum(shares.values()))]) for one in known
                for shares in one.readings.values()]  # fmt: skip
    affect = {
        name: _mean(_entropy(shares.values()) for one in known if (shares := getattr(one.affect, name)) is not None)
        for name in ("arousal", "valence")
    }
    return {"readings": _mean(readings)} | affect


def _entropy(shares: Any) -> float:
    return -sum(share * math.log2(share) for share in shares if share > 0.0)


def _usage(asked: Sequence[Json]) -> Json:
    """Sums over all questions of the run; None where nobody counted."""
    total = asdict(Usage.total([Usage(**one) for one in asked]))
    known = {name: None if number is None or not asked else round(number, 6) for name, number in total.items()}
    return {"questions": len(asked)} | known


def _agreement(annotations: Mapping[str, Annotation], references: Mapping[str, str], vocabulary: Vocabulary) -> Json:
    """How far annotations agree with captions by people.

    terms: of the terms that a reference caption names (by a synonym, or by the phrase, or by the name where there is
    no phrase) the share that the attributes have.
    words: F1 of the words of both captions (Rajpurkar et al. 2016, SQuAD).
    """
    hits, words = [], []
    for clip_id, reference in references.items():
        if (one := annotations.get(clip_id)) is None:
            continue
        for slot in vocabulary.slots:
            if (named := _named(slot, reference)) is not None and one.attributes[slot.name] is not None:
                hits.append(one.attributes[slot.name] == named)
        if one.caption is not None:
            words.append(_f1(_words(one.caption), _words(reference)))
    return {"n_clips": len(words), "n_terms": len(hits), "terms": _share(hits), "words": _mean(words)}


def _named(slot: Any, text: str) -> str | None:
    """The term whose longest name, phrase or synonym stands in a text."""
    padded = f" {' '.join(_words(text))} "
    said = [
        (len(word), term.name)
        for term in slot.terms
        for word in (term.phrase or term.name, *term.synonyms)
        if f" {' '.join(_words(word))} " in padded
    ]
    return max(said)[1] if said else None


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def _f1(ours: Sequence[str], theirs: Sequence[str]) -> float:
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if ours or theirs else 1.0


def _share(facts: Any) -> float | None:
    known = [bool(fact) for fact in facts]
    return round(sum(known) / len(known), 4) if known else None


def _mean(numbers: Any) -> float | None:
    known = list(numbers)
    return round(fmean(known), 4) if known else None


def _percentile(numbers: Sequence[int], percent: float) -> float | None:
    return float(np.percentile(numbers, percent)) if numbers else None
