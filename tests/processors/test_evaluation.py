"""Evaluation: what changes while the clip does not, and figures that a person can compute."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from processors.base import create_processor
from processors.distill.vocabulary import load_vocabulary
from processors.engine import Engine as Measuring
from processors.evaluation import OFFSET_S, Described, Evaluation, KeptHere, evaluate
from processors.profile import create_profile
from processors.reason.engine import Answer, Engine, Question, Usage
from processors.reason.measured import Options as RulesOptions
from processors.reason.measured import Rules
from processors.reason.prompt import load_prompt
from processors.reason.reasoner import Reasoner
from processors.reason.trace import TraceForm
from processors.reread import reread
from store.errors import InputError
from store.records import Affect, Alternative, Annotation, Control, Reasoning
from tests.processors.made_footage import click, footage, number_of, write_video

VOCABULARY = load_vocabulary()
FORM = TraceForm(VOCABULARY)
PROMPT = load_prompt()

# --- a clip read anew ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of numbered pictures, with a click at 1 s."""
    path = tmp_path_factory.mktemp("reread") / "numbered.mp4"
    return write_video(path, footage(50), sounds=[(click(2.0, 1.0), 0.0, True)])


@pytest.mark.parametrize("offset_s", [Fraction(0), OFFSET_S])
def test_a_clip_is_read_from_another_moment_on(numbered: Path, offset_s: Fraction) -> None:
    clip = reread(numbered, "c1", offset_s)
    assert clip.duration_s == pytest.approx(2.0 - float(offset_s))
    assert clip.frame_times_s.tolist() == [i / 4 for i in range(8)]
    shown = [number_of(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in clip.frames_rgb]
    assert shown == [math.floor(25 * (float(offset_s) + i / 4)) for i in range(8)]
    assert clip.audio is not None
    assert len(clip.audio) == pytest.approx(clip.duration_s * clip.audio_rate_hz, abs=1)
    assert np.abs(clip.audio).argmax() / clip.audio_rate_hz == pytest.approx(1.0 - float(offset_s), abs=0.01)


def test_a_clip_without_sound_is_read_without_it(tmp_path: Path) -> None:
    clip = reread(write_video(tmp_path / "mute.mp4", footage(25)), "c1", OFFSET_S)
    assert clip.audio is None
    assert clip.duration_s == pytest.approx(0.875)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"notes\.mp4"):
        reread(tmp_path / "notes.mp4", "c1")


# --- a run -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    pass


class Moody(Engine):
    """The rules' trace, with a pose by something about the question that it should not hang on."""

    version: ClassVar[int] = 1
    Options = Options

    def __init__(self, mood: Callable[[Question], bool]) -> None:
        super().__init__(Options(), FORM)
        self._mood = mood
        self.n_pictures: list[int] = []

    @property
    def id(self) -> str:
        return "moody"

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        for index, question in enumerate(questions):
            self.n_pictures.append(len(question.pictures))
            trace = question.measured.model_dump()
            term = "sitting" if self._mood(question) else "standing"
            trace["findings"]["pose"] = {"readings": [{"term": term, "pct": 90}], "evidence": {"frames": [1]}}
            yield index, Answer(FORM.read(json.dumps(trace)).model_dump_json(), "", Usage(0.5, 100, 20, None))


@pytest.fixture(scope="module")
def measuring() -> Measuring:
    """Picture statistics and prosody: a profile that takes no time."""
    processors = [create_processor(name, {}) for name in ("vision.texture", "audio.prosody")]
    engine = Measuring(create_profile("light", processors))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Two clips of one second."""
    folder = tmp_path_factory.mktemp("clips")
    return {
        "c1": write_video(folder / "c1.mp4", footage(25, width=128, height=96)),
        "c2": write_video(folder / "c2.mp4", footage(5, 20, width=128, height=96), sounds=[(click(1.0, 0.5), 0, True)]),
    }


@contextmanager
def lent(path: Path, taken: list[Path]) -> Iterator[Path]:
    taken.append(path)
    yield path


def run(
    clips: Mapping[str, Path], measuring: Measuring, engine: Engine, tell: Callable[[str], None] = lambda clip_id: None
) -> Evaluation:
    def opened(seed: int, paraphrase: int | None) -> Reasoner:
        prompt = PROMPT if paraphrase is None else PROMPT.paraphrased(paraphrase)
        return Reasoner(engine, prompt, FORM, KeptHere(), {"frames": 3, "context": 0}, seed)

    taken: list[Path] = []
    lends: dict[str, AbstractContextManager[Path]] = {clip_id: lent(path, taken) for clip_id, path in clips.items()}
    found = evaluate(lends, measuring, opened, 3, tell)
    assert sorted(taken) == sorted(clips.values()), "each clip's media are asked for once"
    return found


def test_the_rules_say_the_same_of_the_same_clip(clips: Mapping[str, Path], measuring: Measuring) -> None:
    told: list[str] = []
    report = run(clips, measuring, Rules(RulesOptions(), FORM), told.append).report({})
    assert told == ["c1", "c2"]
    assert (report["n_clips"], report["engine"], report["agreement"]) == (2, "measured", None)
    assert {name: report["changed"][name] for name in ("identical", "seed", "wording")} == {
        "identical": 0.0,
        "seed": 0.0,
        "wording": 0.0,
    }
    assert report["usage"]["questions"] == 0
    assert report["without_answer"] == 0.0
    assert report["coverage"]["slots"]["pose"] == 0.0


@pytest.mark.parametrize(
    ("mood", "shows_in"),
    [
        (lambda question: question.seed % 2 == 0, "seed"),
        (lambda question: "Complete the form" in question.text, "wording"),
        (lambda question: "length: 1.00 s" not in question.text, "offset"),
    ],
    ids=["its seed", "the words of the question", "the moment of sampling"],
)
def test_what_an_engines_answers_hang_on_shows_in_its_own_figure_and_in_no_other(
    clips: Mapping[str, Path], measuring: Measuring, mood: Callable[[Question], bool], shows_in: str
) -> None:
    engine = Moody(mood)
    report = run(clips, measuring, engine).report({})
    assert report["engine"] == "moody"
    assert {name for name, slots in report["changed_slots"].items() if "pose" in slots} == {shows_in}
    assert report["changed_slots"][shows_in]["pose"] == 2
    assert report["changed"][shows_in] == 1.0
    assert report["changed"]["identical"] == 0.0
    assert report["coverage"]["slots"]["pose"] == 1.0
    assert set(engine.n_pictures) == {3}
    assert report["usage"] == {
        "questions": 10,
        "prompt_tokens": 1000,
        "answer_tokens": 200,
        "seconds": 5.0,
        "cost": None,
    }


# --- figures ---------------------------------------------------------------------------------------------------------


def described(
    conditioning: str = "still",
    attributes: Mapping[str, str] = {},
    readings: Mapping[str, dict[str, float]] = {},
    caption: str | None = None,
    arousal: dict[str, float] | None = None,
    alternatives: tuple[Alternative, ...] = (),
    **reasoning: Any,
) -> Described:
    reasoned = {
        "trace": {},
        "checks": (),
        "contradiction": 0.0,
        "is_contradicted": False,
        "engine": "moody",
        "recipe": "r",
        "n_rounds": 1,
        "failed": None,
    }
    annotation = Annotation(
        attributes={slot.name: attributes.get(slot.name) for slot in VOCABULARY.slots},
        readings=dict(readings),
        temporal=(),
        affect=Affect(arousal=arousal, valence=None, arousal_trend=None),
        conditioning=conditioning,
        alternatives=alternatives,
        caption=caption,
        control=Control(names=(), values=(), present=()),
        engine="moody",
    )
    return Described(Reasoning.model_validate(reasoned | reasoning), annotation)


def report(plain: Mapping[str, Described], references: Mapping[str, str] = {}, **varied: Any) -> Any:
    return Evaluation(plain, varied, VOCABULARY).report(references)


def test_changes_are_counted_by_clip_and_by_attribute() -> None:
    plain = {
        "a": described("still"),
        "b": described("still", {"motion": "still"}),
        "c": described("dark"),
        "d": described(),
    }
    varied = {
        "a": described("sitting, still", {"pose": "sitting"}),
        "b": described("strong motion, sitting", {"motion": "high", "pose": "sitting"}),
        "c": described("dark", {"pose": "lying"}),
        "d": described(),
    }
    found = report(plain, seed=varied, identical=plain)
    assert found["changed"] == {"seed": 0.5, "identical": 0.0}
    assert found["changed_slots"] == {"seed": {"pose": 3, "motion": 1}, "identical": {}}
    assert list(found["changed_slots"]["seed"]) == ["pose", "motion"], "the most first"
    assert found["unique_strings"] == 2


def test_coverage_is_the_share_of_clips_that_know_a_slot_and_of_terms_in_use() -> None:
    found = report(
        {"a": described(attributes={"motion": "high", "people": "one"}), "b": described(attributes={"motion": "high"})}
    )["coverage"]
    assert (found["slots"]["motion"], found["slots"]["people"], found["slots"]["pose"]) == (1.0, 0.5, 0.0)
    assert set(found["slots"]) == {slot.name for slot in VOCABULARY.slots}
    assert found["terms"] == round(2 / sum(len(slot.terms) for slot in VOCABULARY.slots), 4)


def test_entropy_is_in_bits_and_what_readings_leave_counts_as_one_more_outcome() -> None:
    soft = {"motion": {"high": 0.5, "low": 0.5}, "people": {"one": 0.5}, "light": {"even": 1.0}}
    found = report({"a": described(readings=soft, arousal={"low": 0.25, "mid": 0.25, "high": 0.5})})["entropy_bits"]
    assert found == {"readings": pytest.approx(2 / 3, abs=1e-4), "arousal": 1.5, "valence": None}


def test_contradictions_failures_and_ambiguity_are_shares_and_means() -> None:
    both = (Alternative(text="still", weight=0.6), Alternative(text="dark", weight=0.4))
    found = report(
        {
            "a": described(contradiction=0.5, is_contradicted=True, alternatives=both),
            "b": described(contradiction=0.1),
            "c": described(failed="moody: it refused", engine="measured"),
            "d": described(),
        }
    )
    assert (found["contradiction"], found["contradicted"]) == (0.15, 0.25)
    assert (found["without_answer"], found["ambiguous"]) == (0.25, 0.25)


def test_tokens_are_counted_as_clip_counts_them() -> None:
    found = report({"a": described("still"), "b": described("still, still, still")})["tokens"]
    assert (found["mean"], found["max"]) == (3.0, 5)
    assert found["p95"] == pytest.approx(4.8)


@pytest.mark.parametrize(
    ("attributes", "caption", "reference", "terms", "words"),
    [
        ({"people": "one", "motion": "high"}, "One person runs.", "One person, strong motion", 1.0, 4 / 7),
        ({"people": "two", "motion": "high"}, "One person runs.", "One person, strong motion", 0.5, 4 / 7),
        ({"motion": "high"}, "Rapid!", "a rapid-motion shot of a couple", 1.0, 2 / 8),
        ({"shot_scale": "medium"}, None, "a medium close-up", 1.0, None),
        ({"shot_scale": "close"}, "A close-up.", "A CLOSE-UP!", 1.0, 1.0),
        ({"people": "one"}, "People.", "something else", None, 0.0),
        ({"motion": "high"}, "Stillness.", "standstill, immotionless", None, 0.0),
    ],
    ids=["both", "one of two", "synonym", "the longest word counts", "alike", "names no term", "no part of a word"],
)
def test_agreement_with_captions_of_people(
    attributes: Mapping[str, str], caption: str | None, reference: str, terms: float | None, words: float | None
) -> None:
    found = report({"a": described(attributes=attributes, caption=caption)}, {"a": reference, "gone": "one person"})
    agreement = found["agreement"]
    assert (agreement["terms"], agreement["words"]) == (terms, words if words is None else round(words, 4))
    assert agreement["n_clips"] == (caption is not None)


def test_a_run_over_nothing_has_no_figures() -> None:
    found = report({}, seed={})
    assert (found["n_clips"], found["engine"], found["changed"]) == (0, None, {"seed": None})
    assert (found["contradiction"], found["tokens"]) == (None, {"mean": None, "p95": None, "max": 0})
