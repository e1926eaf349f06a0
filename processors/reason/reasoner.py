"""From an engine's answers to reasoning that can be relied on: asked once, kept, checked, and asked again.

A clip's questions form a chain: the first; another where the answer was not in the form; another where too much of it
contradicts the measurements. Every answer is kept under its clip and recipe before anything is made of it, so that a
process that is killed asks nothing twice, and what is made of answers may change without asking at all.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from processors.distill.vocabulary import Vocabulary
from processors.reason.engine import Answer, Engine, NoAnswer, Picture, Question, Usage
from processors.reason.grounding import TOO_MANY, Grounded, ground
from processors.reason.measures import Measured
from processors.reason.prompt import Prompt
from processors.reason.rules import reason
from processors.reason.sheet import SHEET_VERSION, write_sheet
from processors.reason.trace import MEASURED, TRACE_VERSION, Trace, TraceForm
from store.records import Json, Reasoning, Spent, digest

MOST_INVALID = 2
"""Chosen: a model that twice does not keep to the form will not the third time."""
_VERSION = 1
_TOLD = 8
"""Problems that a model is told of at once."""


class Answers(Protocol):
    """Where answers are kept; see `store.answers`."""

    def get(self, clip_id: str, recipe: str) -> Json:
        """Answers by question; empty where none are kept."""

    def put(self, clip_id: str, recipe: str, answers: Json) -> None:
        """Keep a clip's answers; durable on return."""


@dataclass(frozen=True)
class Subject:
    """A clip to reason about.

    recipes: of its measurements. context: what is known of the clips before it, for the prompt.
    show: gives its frames; called only for an engine that looks and has not answered yet.
    """

    clip_id: str
    duration_s: float
    values: Mapping[str, Any]
    recipes: Mapping[str, str]
    context: str
    show: Callable[[], tuple[Picture, ...]]


@dataclass
class _Chain:
    """Where a clip's questions have got to."""

    subject: Subject
    clip: Measured
    measured: Trace
    kept: Json
    pictures: tuple[Picture, ...] = ()
    additions: tuple[str, ...] = ()
    n_invalid: int = 0
    n_rounds: int = 0
    spent: tuple[Usage, ...] = ()
    best: tuple[Trace, Grounded] | None = None

    @property
    def key(self) -> str:
        """Of the question that is next: what the clip was measured by, and what was added to the prompt so far."""
        return digest([dict(self.subject.recipes), self.additions])[:16]


class Reasoner:
    """Reasons with one engine, in the words of one prompt and one vocabulary.

    Args:
        settings: further things that the questions depend on, for the recipe: how many frames, how much context.
        seed: of the engine's choices.
    """

    def __init__(
        self,
        engine: Engine,
        prompt: Prompt,
        form: TraceForm,
        answers: Answers,
        settings: Mapping[str, int],
        seed: int = 0,
    ) -> None:
        self.engine = engine
        self.prompt = prompt
        self.vocabulary: Vocabulary = form.vocabulary
        self.schema: Json = form.schema
        self._form = form
        self.answers = answers
        self._settings = dict(settings)
        self._seed = seed

    @property
    def recipe(self) -> str:
        """Hash of all that determines the answers, given the measurements.

        The rules read all of the vocabulary; a model only what it is told of it, so that a new phrase asks nothing.
        """
        if self.engine.is_free:
            return digest(["reason", _VERSION, TRACE_VERSION, self.engine.recipe, self.vocabulary.recipe])[:16]
        asked = [self.prompt.recipe, self.schema, self.vocabulary.asked, self._settings, self._seed]
        return digest(["reason", _VERSION, TRACE_VERSION, SHEET_VERSION, self.engine.recipe, *asked])[:16]

    def reason(self, subjects: Sequence[Subject]) -> Iterator[tuple[int, Reasoning]]:
        """The reasoning on each clip, as it comes, in any order.

        Raises:
            Unavailable, Passing: as `Engine.answer`; what was answered before is kept.
        """
        chains = [self._chain(subject) for subject in subjects]
        waiting = dict(enumerate(chains))
        while waiting:
            asked: list[int] = []
            for index, chain in list(waiting.items()):
                if (done := self._follow_kept(chain)) is not None:
                    del waiting[index]
                    yield index, done
                else:
                    asked.append(index)
            questions = [self._question(chains[index]) for index in asked]
            for at, outcome in self.engine.answer(questions) if questions else ():
                chain = chains[asked[at]]
                if (done := self._take(chain, outcome)) is not None:
                    del waiting[asked[at]]
                    yield asked[at], done

    def _chain(self, subject: Subject) -> _Chain:
        clip = Measured(subject.values, subject.duration_s, self.vocabulary)
        kept = {} if self.engine.is_free else self.answers.get(subject.clip_id, self.recipe)
        return _Chain(subject, clip, reason(clip), kept)

    def _question(self, chain: _Chain) -> Question:
        subject = chain.subject
        if self.engine.looks and not chain.pictures:
            chain.pictures = subject.show()
        text = ""
        if not self.engine.is_free:
            sheet = write_sheet(subject.values, subject.duration_s)
            text = self.prompt.ask(self.vocabulary.asked, sheet, subject.context)
        return Question(
            clip_id=subject.clip_id,
            system=self.prompt.system.strip(),
            text="\n\n".join((text, *chain.additions)),
            pictures=chain.pictures,
            seed=self._seed + int(digest([subject.clip_id, chain.additions])[:8], 16),
            measured=chain.measured,
        )

    def _follow_kept(self, chain: _Chain) -> Reasoning | None:
        """Take the answers that are kept; None where the next question has none."""
        while (kept := chain.kept.get(chain.key)) is not None:
            answer = Answer(kept["text"], kept["thinking"], Usage(**kept["usage"]))
            if (done := self._judge(chain, answer)) is not None:
                return done
        return None

    def _take(self, chain: _Chain, outcome: Answer | NoAnswer) -> Reasoning | None:
        """Keep an answer and judge it; None where the clip is to be asked about again."""
        if isinstance(outcome, NoAnswer):
            chain.spent += (outcome.usage,)
            if chain.best is not None:  # the second look failed: the first one stands, contradictions and all
                return self._done(chain)
            return self._without(chain, outcome.reason)
        if not self.engine.is_free:
            seen = {"frames_s": [picture.time_s for picture in chain.pictures], "engine": self.engine.id}
            chain.kept = chain.kept | {chain.key: asdict(outcome) | seen}
            self.answers.put(chain.subject.clip_id, self.recipe, chain.kept)
        return self._judge(chain, outcome)

    def _judge(self, chain: _Chain, answer: Answer) -> Reasoning | None:
        n_shown = len(self._frames_of(chain))
        chain.n_rounds += 1
        chain.spent += (answer.usage,)
        try:
            trace = self._form.read(folded(answer.text, self.vocabulary))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:_TOLD])
            chain.n_invalid += 1
            if chain.best is not None:
                return self._done(chain)
            if chain.n_invalid >= MOST_INVALID:
                return self._without(chain, f"its answers were not in the form: {problems[:300]}")
            chain.additions += (self.prompt.ask_in_form(problems[:600]),)
            return None
        grounded = ground(trace, chain.measured, chain.clip, n_shown)
        is_second_look = chain.best is not None
        if chain.best is None or grounded.score < chain.best[1].score:
            chain.best = trace, grounded
        if is_second_look or self.engine.is_free or not grounded.too_many:
            return self._done(chain)
        told = "\n".join(f"- {check.claim}, but {check.measured}." for check in grounded.contradictions[:_TOLD])
        chain.additions += (self.prompt.ask_again(told),)
        return None

    def _frames_of(self, chain: _Chain) -> Sequence[float]:
        """Times of the frames that the question showed."""
        if chain.pictures:
            return [picture.time_s for picture in chain.pictures]
        return (chain.kept.get(chain.key) or {}).get("frames_s", ())

    def _done(self, chain: _Chain) -> Reasoning:
        assert chain.best is not None
        trace, grounded = chain.best
        spent = Usage.total(chain.spent)
        return Reasoning(
            trace=trace.model_dump(mode="json"),
            checks=grounded.checks,
            contradiction=grounded.score,
            limit=TOO_MANY,
            is_contradicted=grounded.too_many,
            engine=self.engine.id,
            recipe=self.recipe,
            n_rounds=chain.n_rounds,
            spent=None if self.engine.is_free else Spent(**asdict(spent) | {"seconds": round(spent.seconds, 3)}),
            failed=None,
        )

    def _without(self, chain: _Chain, why: str) -> Reasoning:
        """The rules stand in for an engine that has no answer."""
        chain.best = chain.measured, ground(chain.measured, chain.measured, chain.clip, 0)
        return self._done(chain).model_copy(update={"engine": MEASURED, "failed": f"{self.engine.id}: {why}"})


def folded(text: str, vocabulary: Vocabulary) -> str:
    """An answer's JSON without what stands round it, its readings with synonyms folded in and the likeliest first.

    Text that holds no JSON object comes back as it is.
    """
    found = re.search(r"\{.*\}", text, re.DOTALL)
    if found is None:
        return text
    try:
        content = json.loads(found[0])
    except ValueError:
        return text
    found_in = content.get("findings")
    findings: Json = found_in if isinstance(found_in, dict) else {}
    for slot in vocabulary.slots:
        finding = findings.get(slot.name)
        if not isinstance(finding, dict):
            continue
        readings = finding.get("readings")
        if isinstance(readings, list) and all(_is_reading(one) for one in readings):
            pcts: dict[str, int] = {}
            for one in readings:
                term = slot.fold(one["term"]) or one["term"]
                pcts[term] = min(100, pcts.get(term, 0) + one["pct"])
            likeliest = sorted(pcts.items(), key=lambda reading: -reading[1])
            finding["readings"] = [{"term": term, "pct": pct} for term, pct in likeliest]
    return json.dumps(content)


def _is_reading(one: Any) -> bool:
    """Whether this is a term with a percentage and nothing else; anything else is left for the schema to refuse."""
    is_pair = isinstance(one, dict) and one.keys() == {"term", "pct"}
    return is_pair and type(one["pct"]) is int and type(one["term"]) is str
