"""Describing clips in their own process: by rules, by a tiny model, and by a server that is asked over HTTP."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from processors.decode import write_samples
from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from processors.reason.engine import Question, create_engine
from processors.reason.measures import Measured
from processors.reason.rules import reason
from processors.reason.trace import Trace, TraceForm
from processors.tiny import build_tiny_models
from store.answers import AnswerStore
from store.errors import InputError, NotFound, Unavailable
from store.records import (
    AnnotationDue,
    CalibrationAdopted,
    Clip,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    Column,
    FootageSubmitted,
)
from store.store import Store
from store.view import View
from streams.annotating import About, Annotating, Outcomes
from streams.workers.densify import make_worker
from tests.processors.made_clips import make_clip
from tests.processors.made_endpoint import EndpointServer, Refuse, Say, serving_endpoints
from tests.processors.made_json import made_json
from tests.processors.made_questions import NOTHING

VOCABULARY = load_vocabulary()
FORM = TraceForm(VOCABULARY)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = (
    Column(name="brightness", kind="float"),
    Column(name="motion_mean", kind="float"),
    Column(name="motion_curve", kind="curve", rate_hz=10.0),
    *VOCABULARY.columns,
)
N_CLIPS = 3


def clip_id(number: int) -> str:
    return f"{number:032x}"


class Place:
    """A store with measured clips, each of its own brightness."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store.open(folder, COLUMNS)
        self.embedded = [self._embedded(number) for number in range(N_CLIPS)]
        submitted = FootageSubmitted(
            video_id="v", name="v.mp4", media_key="k", size_bytes=1, source="s", licence="CC0-1.0", submitted_at=NOW
        )
        View(self.store).apply([submitted])

    def store_clips(self) -> None:
        """As persist does."""
        cut = [ClipSegmented(clip=self._clip(number)) for number in range(N_CLIPS)]
        View(self.store).apply([*cut, *self.embedded])

    def work(self, profile: str | Path, *records: ClipEmbedded | AnnotationDue) -> dict[str, ClipDensified]:
        """What a fresh worker makes of records; keeps it in the store."""
        found: Outcomes = {}
        make_worker(str(self.folder), str(profile), "cpu")(records or self.embedded, found.update)
        done = {name: one for name, one in found.items() if isinstance(one, ClipDensified)}
        assert len(done) == len(found), found
        View(self.store).apply(list(done.values()))
        return done

    def about(self, profile: str | Path) -> About:
        told = make_worker(str(self.folder), str(profile), "cpu")(None, lambda found: None)
        assert told is not None
        return told

    def due(self, number: int = 0) -> AnnotationDue:
        return AnnotationDue(clip_id=clip_id(number), video_id="v", reason="a test")

    def _embedded(self, number: int) -> ClipEmbedded:
        values: dict[str, Any] = {"brightness": 0.2 * number + 0.1, "motion_mean": 0.02, "motion_curve": [0.02] * 40}
        return ClipEmbedded(
            clip_id=clip_id(number),
            video_id="v",
            duration_s=4.0,
            values=values,
            recipes={"motion.flow": "r1"},
            failed={},
        )

    def _clip(self, number: int) -> Clip:
        frames = np.full((16, 48, 64, 3), 40 * number + 20, np.uint8)
        samples = self.store.media.put_bytes(
            write_samples(make_clip(clip_id(number), frames, duration_s=4.0)), "samples"
        )
        return Clip(
            clip_id=clip_id(number),
            video_id="v",
            source="s",
            licence="CC0-1.0",
            shot=number,
            start_pts=100 * number,
            end_pts=100 * number + 100,
            time_base=(1, 25),
            width=64,
            height=48,
            fps=(24, 1),
            n_frames=96,
            has_audio=False,
            media_key=samples,
            strip_key=samples,
            samples_key=samples,
            recipe="seg",
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def serve() -> Iterator[Any]:
    with serving_endpoints() as serving:
        yield serving


def true_trace(body: Any) -> str:
    """The rules' trace with a caption of its own, so that nothing contradicts the measurements."""
    trace = reason(Measured({"motion_mean": 0.02}, 4.0, VOCABULARY))
    setting = {"readings": [{"term": "indoors", "pct": 80}], "evidence": {"frames": [1], "facts": []}}
    said = trace.model_dump()
    said["findings"]["setting"] = setting
    return json.dumps(said | {"caption": "A grey room."})


def endpoint_profile(place: Place, server: EndpointServer, **options: Any) -> Path:
    told = {"engine": "endpoint", "url": server.url, "model": "made/model", "attempts": 2, "concurrency": 2} | options
    lines = [f"{name} = {json.dumps(value)}" for name, value in told.items()]
    path = place.folder / "asks.toml"
    path.write_text('extends = "measured"\n[reason]\n' + "\n".join(lines))
    return path


# --- rules -------------------------------------------------------------------------------------------------------


def test_rules_annotate_clips_that_are_not_stored_yet(place: Place) -> None:
    found = place.work("measured")
    assert sorted(found) == [clip_id(number) for number in range(N_CLIPS)]
    lights = [found[clip_id(number)].annotation.attributes["light"] for number in range(N_CLIPS)]
    assert lights == ["dark", "even", "even"]
    record = found[clip_id(0)]
    assert record.reasoning is not None
    assert (record.reasoning.engine, record.annotation.engine) == ("measured", "measured")


def test_the_recipe_is_the_one_that_says_which_annotations_are_due(place: Place) -> None:
    place.store_clips()
    annotating = Annotating(place.about("measured"))
    View(place.store).apply(list(place.work("measured").values()))
    assert list(annotating.due(place.store, "test")) == []
    other = Annotating(About("measured", "another", DEFAULT_VOCABULARY, absent=None))
    assert len(list(other.due(place.store, "test"))) == N_CLIPS


def test_a_stored_clip_is_annotated_anew_from_its_row(place: Place) -> None:
    place.store_clips()
    first = place.work("measured")
    again = place.work("measured", place.due(1))
    assert again == {clip_id(1): first[clip_id(1)]}


def test_a_clip_that_was_removed_or_is_not_measured_yet_is_passed_over(place: Place) -> None:
    assert place.work("measured", place.due(2)) == {}


@pytest.mark.parametrize("profile", ["measured", "endpoint"])
def test_a_value_of_another_form_is_refused_and_its_clip_named(place: Place, serve: Any, profile: str) -> None:
    place.store_clips()
    odd = place.embedded[0].model_copy(update={"values": {"arousal": {"calm": 1.0}}})
    chosen = endpoint_profile(place, serve(true_trace)) if profile == "endpoint" else profile
    with pytest.raises(InputError, match=f"clips {clip_id(0)}: a measured value has not the form of its column"):
        place.work(chosen, odd)


def test_a_clip_whose_samples_are_gone_is_refused(place: Place, serve: Any) -> None:
    place.store_clips()
    place.store.media.delete(place.store.clips.get(clip_id(0))["samples_key"])
    with pytest.raises(NotFound, match="was its source removed"):
        place.work(endpoint_profile(place, serve(true_trace)), place.embedded[0])


def test_a_calibration_that_was_adopted_gives_the_control_vectors(place: Place) -> None:
    before = place.work("measured")[clip_id(0)]
    adopted = CalibrationAdopted(
        request_id="c", calibration_id="q1", tables={"brightness": ((0.0, -1.0), (0.2, 1.0))}, n_clips={}, by="Ada",
        reason="a test", adopted_at=NOW,
    )  # fmt: skip
    View(place.store).apply([adopted])
    after = place.work("measured")[clip_id(0)]
    index = after.annotation.control.names.index("brightness")
    assert (before.annotation.control.calibration, after.annotation.control.calibration) == ("vocabulary", "q1")
    assert after.annotation.control.values[index] == pytest.approx(0.0)
    assert before.annotation.control.values[index] == pytest.approx(-0.9)
    assert before.recipe != after.recipe


# --- a model in the process ----------------------------------------------------------------------------------------


def test_a_tiny_model_describes_clips_within_the_schema_and_is_not_asked_twice(place: Place) -> None:
    place.store_clips()
    first = place.work("tiny")
    for record in first.values():
        assert record.reasoning is not None
        Trace.model_validate(record.reasoning.trace)
        assert record.reasoning.failed is None
        assert record.annotation.engine == "local:tiny/qwen3vl"
    kept = AnswerStore(place.store.media).of(clip_id(0))
    ((_, answers),) = kept.items()
    assert all(answer["thinking"] and answer["frames_s"] for answer in answers.values())
    written = sorted(path.stat().st_mtime_ns for path in (place.folder / "media" / "answers").rglob("*.json"))
    assert place.work("tiny") == first
    assert sorted(p.stat().st_mtime_ns for p in (place.folder / "media" / "answers").rglob("*.json")) == written


def test_a_model_waits_for_a_clip_that_is_not_stored_yet(place: Place) -> None:
    with pytest.raises(Unavailable, match="is measured and not stored yet"):
        place.work("tiny")


# --- a server ------------------------------------------------------------------------------------------------------


def test_a_server_is_shown_the_frames_and_the_measurements_and_asked_once(place: Place, serve: Any) -> None:
    place.store_clips()
    server = serve(true_trace)
    profile = endpoint_profile(place, server, key="secret", frames=4)
    found = place.work(profile)
    assert {record.annotation.attributes["setting"] for record in found.values()} == {"indoors"}
    assert {record.annotation.caption for record in found.values()} == {"A grey room."}
    assert len(server.asked) == N_CLIPS
    parts = server.asked[0]["messages"][-1]["content"]
    assert sum(part["type"] == "image_url" for part in parts) == 4
    assert "brightness" in parts[-1]["text"]
    assert place.work(profile) == found
    assert len(server.asked) == N_CLIPS


@pytest.mark.parametrize(
    "say",
    [
        Say(text="The clip shows a grey wall."),
        Say(text='{"present": []'),
        Say(text="", finish="stop"),
        Say(text="", refusal="I cannot help with that."),
        Say(text="这个片段里有一个人在说话。"),
        Say(finish="length"),
    ],
)
def test_whatever_a_server_says_every_clip_is_annotated(place: Place, serve: Any, say: Say) -> None:
    place.store_clips()
    server = serve(true_trace)
    server.always = say
    found = place.work(endpoint_profile(place, server))
    assert sorted(found) == [clip_id(number) for number in range(N_CLIPS)]
    for record in found.values():
        assert record.reasoning is not None
        assert record.reasoning.engine == "measured"
        assert record.reasoning.failed is not None
        assert record.reasoning.failed.startswith("endpoint:made/model: ")
        assert record.annotation.attributes["motion"] == "low"


def test_random_answers_in_the_form_are_valid_and_held_against_the_measurements(place: Place, serve: Any) -> None:
    place.store_clips()
    server = serve(lambda body: json.dumps(made_json(FORM.schema, Random(str(body["seed"])))))
    for record in place.work(endpoint_profile(place, server)).values():
        assert record.reasoning is not None
        assert record.reasoning.failed is None
        assert record.reasoning.checks


def test_a_tiny_model_behind_a_server_is_an_engine_like_any_other(place: Place, serve: Any) -> None:
    place.store_clips()
    models = place.folder / "models"
    build_tiny_models(models, "tiny")
    engine = create_engine("local", {"model": str(models / "tiny" / "qwen3vl"), "temperature": 1.0}, FORM)
    engine.load("cpu")

    def answer(body: Any) -> str:
        text = body["messages"][-1]["content"][-1]["text"]
        ((_, told),) = engine.answer([Question("c", "", text, (), body["seed"], NOTHING)])
        return str(getattr(told, "text", ""))

    for record in place.work(endpoint_profile(place, serve(answer), concurrency=1)).values():
        assert record.reasoning is not None
        assert (record.reasoning.failed, record.reasoning.engine) == (None, "endpoint:made/model")


def test_a_server_that_is_away_loses_nothing_and_is_not_asked_again_for_what_it_answered(
    place: Place, serve: Any
) -> None:
    place.store_clips()
    server = serve(true_trace)
    profile = endpoint_profile(place, server, concurrency=1, attempts=1)
    worker = make_worker(str(place.folder), str(profile), "cpu")
    found: Outcomes = {}
    worker(place.embedded[:1], found.update)
    server.always = Refuse(503, "overloaded", {"Retry-After": "0"})
    with pytest.raises(Unavailable, match="away for everyone 1 times in a row"):
        worker(place.embedded, found.update)
    assert list(found) == [clip_id(0)]
    server.always, n_before = Say(), len(server.asked)
    assert len(place.work(profile)) == N_CLIPS
    assert len(server.asked) - n_before == N_CLIPS - 1
