"""Reasoning: valid whatever an engine says, asked once, kept, grounded, asked again with the contradictions named."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from processors.distill.vocabulary import load_vocabulary
from processors.reason.engine import Answer, Engine, NoAnswer, Picture, Question, Usage
from processors.reason.grounding import ground
from processors.reason.measured import Options as RulesOptions
from processors.reason.measured import Rules
from processors.reason.measures import Measured
from processors.reason.prompt import Prompt, load_prompt
from processors.reason.reasoner import Reasoner, Subject, folded
from processors.reason.rules import reason
from processors.reason.trace import Trace, TraceForm
from store.errors import SettingsError, Unavailable
from store.records import Json, Reasoning, Spent

VOCABULARY = load_vocabulary()
FORM = TraceForm(VOCABULARY)
PROMPT = load_prompt()
SETTINGS = {"frames": 8, "context": 0}
VALUES = {
    "person_count": 1,
    "face_count": 1,
    "people_tracks": [{"track": 0, "times_s": [0.0, 3.5], "boxes_xyxy": [[0.1, 0.1, 0.5, 0.9]] * 2, "scores": [1, 1]}],
    "motion_mean": 0.01,
    "motion_curve": [0.01] * 40,
    "loudness_db": -20.0,
    "loudness_curve": [-20.0] * 40,
    "speech_share": 0.9,
    "speech_spans": [[0.0, 3.6]],
    "voiced_share": 0.5,
    "pitch_hz": 150.0,
    "brightness": 0.5,
    "arousal": {"low": 0.8, "mid": 0.15, "high": 0.05},
}
TRUE = reason(Measured(VALUES, 4.0, VOCABULARY))
LIE = Trace.model_validate(
    TRUE.model_dump()
    | {"present": ()}
    | {
        "findings": TRUE.model_dump()["findings"]
        | {
            name: {"readings": [{"term": term, "pct": 100}]}
            for name, term in {"motion": "high", "people": "group", "sound_kind": "silence", "light": "dark"}.items()
        }
    }
)
"""The rules' trace with four slots changed and nobody in it."""


class Kept(dict[tuple[str, str], Json]):
    """Answers in memory; `puts` counts writes."""

    puts = 0

    def get(self, clip_id: str, recipe: str) -> Json:  # type: ignore[override]
        return super().get((clip_id, recipe), {})

    def put(self, clip_id: str, recipe: str, answers: Json) -> None:
        self.puts += 1
        self[clip_id, recipe] = json.loads(json.dumps(answers))


@dataclass(frozen=True)
class Options:
    name: str = "m"


class Scripted(Engine):
    """Answers each clip's questions with the next of its texts; None is no answer; an exception is raised."""

    version: ClassVar[int] = 1
    Options = Options

    def __init__(self, *texts: str | Exception | None, options: Options = Options()) -> None:
        super().__init__(options, FORM)
        self._texts = texts
        self.asked: list[Question] = []

    @property
    def id(self) -> str:
        return "scripted"

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer | NoAnswer]]:
        for index, question in reversed(list(enumerate(questions))):
            n_before = sum(one.clip_id == question.clip_id for one in self.asked)
            self.asked.append(question)
            text = self._texts[min(n_before, len(self._texts) - 1)]
            if isinstance(text, Exception):
                raise text
            usage = Usage(1.0, 10, 5, 0.1)
            yield index, NoAnswer("it refused", usage) if text is None else Answer(text, "thinking", usage)


def subject(clip_id: str = "c1", values: Any = VALUES, recipes: Any = None, context: str = "") -> Subject:
    picture = Picture(1, 0.0, b"jpeg")
    return Subject(clip_id, 4.0, values, recipes or {"motion.flow": "r1"}, context, lambda: (picture,))


def reasoner(engine: Engine, kept: Kept | None = None, prompt: Prompt = PROMPT, **settings: int) -> Reasoner:
    return Reasoner(engine, prompt, FORM, Kept() if kept is None else kept, SETTINGS | settings)


def reasoned(*texts: str | Exception | None, kept: Kept | None = None) -> tuple[Reasoning, Scripted]:
    engine = Scripted(*texts)
    ((_, found),) = reasoner(engine, kept).reason([subject()])
    return found, engine


# --- valid whatever comes ------------------------------------------------------------------------------------------

GOOD = TRUE.model_dump_json()


def test_a_good_answer_is_the_trace_with_its_checks() -> None:
    found, engine = reasoned(GOOD)
    assert Trace.model_validate(found.trace) == TRUE
    assert (found.engine, found.failed, found.n_rounds, len(engine.asked)) == ("scripted", None, 1, 1)
    assert {check.verdict for check in found.checks} >= {"supported"}
    assert not found.is_contradicted


@pytest.mark.parametrize(
    "text",
    [
        "no json at all",
        GOOD[: len(GOOD) // 2],
        "",
        "[]",
        "{}",
        '{"findings": 7}',
        '{"findings": {"pose": [1]}}',
        GOOD.replace('"slight', '"很慢').replace('"caption":"', '"caption":"一个女人在说话'),
        GOOD.replace('"one"', '"one hundred"'),
        GOOD.replace('"pct":100', '"pct":"all"'),
        "\x00\ud83d".encode("utf-8", "replace").decode() + "{",
    ],
)
def test_what_is_not_in_the_form_is_asked_for_once_more_and_then_the_rules_stand_in(text: str) -> None:
    found, engine = reasoned(text)
    assert len(engine.asked) == 2
    assert "not in the form" in engine.asked[1].text
    assert engine.asked[1].seed != engine.asked[0].seed
    assert Trace.model_validate(found.trace) == TRUE
    assert found.engine == "measured"
    assert found.failed is not None
    assert found.failed.startswith("scripted: its answers were not in the form")


def test_an_answer_that_is_mended_on_the_second_try_counts() -> None:
    found, _ = reasoned("oops", GOOD)
    assert (found.engine, found.failed, found.n_rounds) == ("scripted", None, 2)


def test_prose_round_the_json_and_synonyms_are_no_fault() -> None:
    said = json.loads(GOOD)
    said["findings"]["motion"]["readings"][0]["term"] = "Gentle Motion"
    found, engine = reasoned(f"Here you are:\n```json\n{json.dumps(said)}\n```")
    assert len(engine.asked) == 1
    assert Trace.model_validate(found.trace).findings["motion"].term == "low"


def test_readings_that_mean_one_term_are_one_and_the_likeliest_comes_first() -> None:
    said = json.loads(GOOD)
    readings = [{"term": "sitting", "pct": 20}, {"term": "upright", "pct": 30}, {"term": "standing", "pct": 30}]
    said["findings"]["pose"] = {"readings": readings, "evidence": {"frames": [], "facts": []}}
    found, _ = reasoned(json.dumps(said))
    told = Trace.model_validate(found.trace).findings["pose"].readings
    assert [(one.term, one.pct) for one in told] == [("standing", 60), ("sitting", 20)]


def test_a_refusal_leaves_the_clip_to_the_rules_and_says_why() -> None:
    found, engine = reasoned(None)
    assert len(engine.asked) == 1
    assert (found.engine, found.failed) == ("measured", "scripted: it refused")


def test_text_that_holds_no_object_is_left_as_it_is() -> None:
    assert folded("nothing {here", VOCABULARY) == "nothing {here"
    assert folded("{not json}", VOCABULARY) == "{not json}"


# --- asked once ------------------------------------------------------------------------------------------------------


def test_what_all_rounds_took_is_told_also_of_kept_answers() -> None:
    kept = Kept()
    first, _ = reasoned("oops", GOOD, kept=kept)
    assert first.spent == Spent(seconds=2.0, prompt_tokens=20, answer_tokens=10, cost=0.2)
    again, _ = reasoned("never asked", kept=kept)
    assert again.spent == first.spent


def test_an_answered_clip_is_never_asked_about_again() -> None:
    kept = Kept()
    first, _ = reasoned(GOOD, kept=kept)
    second, engine = reasoned("something else", kept=kept)
    assert second == first
    assert engine.asked == []


def test_after_a_kill_in_the_middle_only_the_rest_is_asked() -> None:
    kept = Kept()
    engine = Scripted(GOOD)
    running = reasoner(engine, kept).reason([subject(f"c{i}") for i in range(3)])
    next(running)
    running.close()
    again = Scripted(GOOD)
    found = dict(reasoner(again, kept).reason([subject(f"c{i}") for i in range(3)]))
    assert sorted(found) == [0, 1, 2]
    assert {question.clip_id for question in again.asked}.isdisjoint({engine.asked[0].clip_id})
    assert len(again.asked) == 2


def test_what_was_answered_before_the_engine_went_away_is_kept() -> None:
    kept = Kept()
    engine = Scripted("oops", Unavailable("the endpoint is away"))
    with pytest.raises(Unavailable):
        list(reasoner(engine, kept).reason([subject()]))
    again = Scripted(GOOD)
    ((_, found),) = reasoner(again, kept).reason([subject()])
    assert len(again.asked) == 1
    assert "not in the form" in again.asked[0].text
    assert found.n_rounds == 2


@pytest.mark.parametrize("change", ["measurements", "prompt", "frames", "engine"])
def test_what_the_answer_depends_on_is_asked_about_anew(change: str) -> None:
    kept = Kept()
    list(reasoner(Scripted(GOOD), kept).reason([subject()]))
    engine = Scripted(GOOD, options=Options("other")) if change == "engine" else Scripted(GOOD)
    prompt = PROMPT.model_copy(update={"system": "Be brief."}) if change == "prompt" else PROMPT
    settings = {"frames": 4} if change == "frames" else {}
    recipes = {"motion.flow": "r2"} if change == "measurements" else None
    list(reasoner(engine, kept, prompt, **settings).reason([subject(recipes=recipes)]))
    assert len(engine.asked) == 1


def test_a_new_phrase_asks_nothing_and_a_new_meaning_asks_again() -> None:
    def recipe(old: str, new: str) -> str:
        import tomllib

        from processors.distill.vocabulary import DEFAULT_VOCABULARY, Vocabulary

        text = DEFAULT_VOCABULARY.read_text()
        assert old in text
        vocabulary = Vocabulary.model_validate(tomllib.loads(text.replace(old, new)))
        return Reasoner(Scripted(GOOD), PROMPT, TraceForm(vocabulary), Kept(), SETTINGS).recipe

    same = recipe('phrase = "standing"', 'phrase = "standing up"')
    assert same == reasoner(Scripted(GOOD)).recipe
    assert recipe('meaning = "Seated."', 'meaning = "On a chair."') != same


def test_paraphrases_are_no_part_of_the_recipe_and_say_the_same_in_other_words() -> None:
    assert PROMPT.model_copy(update={"paraphrases": ()}).recipe == PROMPT.recipe
    other = PROMPT.paraphrased(0)
    assert other.recipe != PROMPT.recipe
    assert "SHEET" in other.ask("WORDS", "SHEET", "CONTEXT")


# --- grounding -------------------------------------------------------------------------------------------------------


def test_too_many_contradictions_are_named_in_a_second_question() -> None:
    found, engine = reasoned(LIE.model_dump_json(), GOOD)
    assert len(engine.asked) == 2
    assert "- motion is high (100 %), but motion was measured as low (100 %)." in engine.asked[1].text
    assert Trace.model_validate(found.trace) == TRUE
    assert (found.is_contradicted, found.n_rounds) == (False, 2)


def test_who_insists_is_kept_with_the_contradictions_for_a_person() -> None:
    found, engine = reasoned(LIE.model_dump_json())
    assert len(engine.asked) == 2
    assert found.is_contradicted
    assert found.limit is not None
    assert found.contradiction >= found.limit
    assert {check.claim.split()[0] for check in found.checks if check.verdict == "contradicted"} >= {"motion", "light"}


def test_a_second_look_that_fails_leaves_the_first_one_standing() -> None:
    for second in ("not json", None):
        found, engine = reasoned(LIE.model_dump_json(), second)
        assert len(engine.asked) == 2
        assert (found.engine, found.is_contradicted, found.failed) == ("scripted", True, None)


def checks_of(values: Any = VALUES, **changes: Any) -> dict[str, str]:
    """Claim to verdict of the true trace with some parts changed."""
    trace = Trace.model_validate(TRUE.model_dump() | changes)
    clip = Measured(values, 4.0, VOCABULARY)
    found = ground(trace, reason(clip), clip, n_frames=8)
    return {check.claim: check.verdict for check in found.checks}


def event(kind: str, start_ms: int, end_ms: int, what: str = "it") -> Json:
    return {"kind": kind, "what": what, "start_ms": start_ms, "end_ms": end_ms, "evidence": {}}


MOVING = VALUES | {"motion_curve": [0.2] * 20 + [0.0] * 20}


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (event("moves", 0, 1500), "supported"),
        (event("moves", 2500, 3500), "contradicted"),
        (event("stops", 1900, 2100), "supported"),
        (event("stops", 500, 700), "contradicted"),
        (event("speaks", 0, 2000), "supported"),
        (event("sounds", 0, 2000), "supported"),
        (event("appears", 0, 300), "supported"),
        (event("appears", 2000, 2500, "a cat"), "unchecked"),
        (event("changes", 1000, 1500, "colour"), "unchecked"),
        (event("moves", 3000, 6000), "contradicted"),
        (event("moves", 3000, 2000), "contradicted"),
    ],
)
def test_events_are_held_against_curves_sounds_tracks_and_the_clips_length(said: Json, verdict: str) -> None:
    found = checks_of(MOVING, events=[said])
    assert [v for claim, v in found.items() if claim.startswith(said["what"])] == [verdict]


def test_speech_where_none_was_heard_is_contradicted_and_where_nobody_listened_it_is_not() -> None:
    claim = "it (speaks) from 0.0 to 2.0 s"
    assert checks_of(VALUES | {"speech_spans": []}, events=[event("speaks", 0, 2000)])[claim] == "contradicted"
    assert checks_of(VALUES | {"speech_spans": None}, events=[event("speaks", 0, 2000)])[claim] == "unchecked"


@pytest.mark.parametrize(
    ("n_said", "verdict"), [(1, "supported"), (0, "contradicted"), (2, "supported"), (30, "supported")]
)
def test_people_are_counted_against_tracks_and_more_of_them_than_detectors_see_are_believed(
    n_said: int, verdict: str
) -> None:
    people = [{"kind": "person", "what": "a person", "count": n_said, "evidence": {}}] if n_said else []
    assert checks_of(present=people)[f"{n_said} people are present"] == verdict


def test_feelings_and_signals_are_held_against_the_measured_ones() -> None:
    aroused = {"valence": None, "arousal": {"low_pct": 0, "mid_pct": 10, "high_pct": 90}}
    assert checks_of(feeling=aroused)["arousal is low 0 %, mid 10 %, high 90 %"] == "contradicted"
    loud = {"name": "motion", "level_pct": 100, "course": "steady", "confidence_pct": 100, "evidence": {}}
    assert checks_of(signals=[loud])["motion is at 100 of -100 to 100"] == "contradicted"
    unsure = loud | {"confidence_pct": 20}
    assert checks_of(signals=[unsure])["motion is at 100 of -100 to 100"] == "supported"
    unmeasured = loud | {"name": "valence"}
    assert checks_of(signals=[unmeasured])["valence is at 100 of -100 to 100"] == "unchecked"


def test_a_frame_that_was_not_shown_is_no_evidence() -> None:
    present = [{"kind": "person", "what": "a person", "count": 1, "evidence": {"frames": [9]}}]
    assert checks_of(present=present)["frames 9 show it"] == "contradicted"


def test_neighbours_on_a_scale_are_half_as_far_apart_as_its_ends() -> None:
    def strength(term: str) -> float:
        findings = TRUE.findings | {"motion": {"readings": [{"term": term, "pct": 100}], "evidence": {}}}
        trace = Trace.model_validate(TRUE.model_dump() | {"findings": findings})
        checks = ground(trace, TRUE, Measured(VALUES, 4.0, VOCABULARY), 8).checks
        return next(check.score for check in checks if check.claim.startswith("motion is"))

    assert [strength(term) for term in ("low", "medium", "high")] == [0.0, 0.5, 1.0]


# --- the rules ---------------------------------------------------------------------------------------------------


def test_the_rules_are_an_engine_like_any_other_and_are_never_kept() -> None:
    kept = Kept()
    running = Reasoner(Rules(RulesOptions(), FORM), PROMPT, FORM, kept, SETTINGS)
    ((_, found),) = running.reason([subject()])
    assert Trace.model_validate(found.trace) == TRUE
    assert (found.engine, found.is_contradicted, found.n_rounds, kept.puts) == ("measured", False, 1, 0)
    assert found.spent is None


def test_rules_that_were_measured_are_never_contradicted_by_the_measurements() -> None:
    assert ground(TRUE, TRUE, Measured(VALUES, 4.0, VOCABULARY), 0).contradictions == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version = 1", "system: Field required"),
        (
            'version = 1\nsystem = "s"\nquestion = "{sheet}"\nagain = "{problems}"\ninvalid = "{problems}"',
            "lacks {vocab",
        ),
        ("version = ", "is not TOML"),
    ],
)
def test_a_prompt_that_cannot_work_is_refused(text: str, told: str, tmp_path: Any) -> None:
    path = tmp_path / "prompt.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=told):
        load_prompt(path)
