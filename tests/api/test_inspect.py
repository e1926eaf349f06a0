"""The page of a clip: everything that was measured is on it, by its form, and nothing that tells people apart."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from api.inspect.drawing import colours_of
from api.inspect.material import Material, declared_columns, material_of, sights_at
from api.inspect.pictures import log_mel, mel_height
from processors.base import DecodedClip
from processors.decode import write_samples
from store.clip_columns import declared_field
from store.records import Column
from tests.processors.made_clips import tone
from tests.processors.made_people import STANDING, keypoints, pose_track

BOXES = [[0.1, 0.2, 0.4, 0.8], [0.2, 0.2, 0.5, 0.8]]
FACES = {"track": 3, "times_s": [0.0, 0.5], "boxes_xyxy": BOXES, "scores": [0.9, 0.8]}
FACE_TRACKS = Column(name="face_tracks", kind="json", source="MTCNN")


def sorted_in(**values: object) -> Material:
    """Values named after their column; the unit of a name that ends in `_spans` or `_times_s` is seconds."""
    columns = [
        Column(name=name, kind="json", unit="s" if name.endswith(("_spans", "_times_s")) else "") for name in values
    ]
    return material_of(values, columns)


def charted(material: Material) -> dict[str, list[tuple[tuple[str, int] | None, list[float | None]]]]:
    return {
        chart.title: [(line.owner, [value for _, value in line.points]) for line in chart.lines]
        for chart in material.charts
    }


# --- the form decides ------------------------------------------------------------------------------------------


def test_a_curve_that_nobody_knew_is_a_chart_with_its_range_and_gaps() -> None:
    column = Column(name="wonder_curve", kind="curve", low=0.0, high=1.0, rate_hz=2.0)
    (chart,) = material_of({"wonder_curve": [0.25, None, 0.5]}, [column]).charts
    assert (chart.low, chart.high) == (0.0, 1.0)
    assert chart.lines[0].points == ((0.0, 0.25), (0.5, None), (1.0, 0.5))


def test_an_unbounded_curve_is_shown_over_the_range_of_its_values() -> None:
    column = Column(name="pitch_curve", kind="curve", low=60.0, high=1000.0, rate_hz=10.0)
    (chart,) = material_of({"pitch_curve": [100.0, 250.0]}, [column]).charts
    assert (chart.low, chart.high) == (100.0, 250.0)


def test_boxes_lie_on_the_frames_of_their_times_and_dashed_between() -> None:
    material = sorted_in(face_tracks=[FACES])
    (first,), (between,) = sights_at(material, 0.0), sights_at(material, 0.25)
    assert (first.box_xyxy, first.certain, first.label) == (tuple(BOXES[0]), True, "face 3 · 0.90")
    assert between.box_xyxy == pytest.approx((0.15, 0.2, 0.45, 0.8))
    assert not between.certain
    assert sights_at(material, 0.75) == []


def test_nothing_is_guessed_over_a_long_gap() -> None:
    assert sights_at(sorted_in(face_tracks=[FACES | {"times_s": [0.0, 1.5]}]), 0.75) == []


def test_skeletons_are_told_from_boxes_and_share_the_persons_colour() -> None:
    people = {"track": 0, "times_s": [0.0], "boxes_xyxy": BOXES[:1], "scores": [1.0], "label": "person"}
    material = sorted_in(people_tracks=[people], pose_tracks=[pose_track(keypoints(STANDING))])
    box, skeleton = sights_at(material, 0.0)
    assert box.label == "person 0 · 1.00"
    assert len(skeleton.keypoints) == 17
    assert skeleton.owner == box.owner == ("people_tracks", 0)


def test_numbers_of_tracks_are_charts_with_a_line_for_each_track_in_its_colour() -> None:
    feelings = {"track": 3, "times_s": [0.0, 0.5], "valence": [0.1, None], "expression": {"joy": [0.2, 0.3]}}
    motion = {"of": "face_tracks", "track": 3, "times_s": [0.5], "energy": [0.7]}
    material = sorted_in(feeling_tracks=[feelings], motion_tracks=[motion], face_tracks=[FACES])
    face = ("face_tracks", 3)
    assert charted(material) == {
        "feeling_tracks · valence": [(face, [0.1, None])],
        "feeling_tracks · expression joy": [(face, [0.2, 0.3])],
        "motion_tracks · energy": [(face, [0.7])],
        "face_tracks · scores": [(face, [0.9, 0.8])],
    }
    assert list(colours_of(material)) == [face]


def test_spans_marks_and_distributions_are_told_by_their_form() -> None:
    material = sorted_in(
        speech_spans=[[0.5, 1.0]], onset_times_s=[0.25, 0.75], mood={"calm": 0.75, "wild": 0.25}, letterbox_xyxy=[0, 1]
    )
    assert material.spans[0][1] == [(0.5, 1.0, "")]
    assert material.marks[0][1] == [0.25, 0.75]
    assert material.distributions[0][1] == {"calm": 0.75, "wild": 0.25}
    assert [column.name for column, _ in material.others] == ["letterbox_xyxy"]


def test_boxes_that_belong_to_one_time_only_are_shown_at_it() -> None:
    material = sorted_in(text_boxes=[{"time_s": 0.5, "boxes_xyxy": BOXES, "scores": [1.0, 1.0]}])
    assert [sight.box_xyxy for sight in sights_at(material, 0.5)] == [tuple(box) for box in BOXES]
    assert sights_at(material, 0.25) == []


def test_columns_come_from_the_tables_schema_without_what_tells_people_apart() -> None:
    columns = [
        Column(name="mood_curve", kind="curve", unit="units", low=-1.0, rate_hz=4.0, source="a paper", measured=False),
        Column(name="identity_faces", kind="json"),
    ]  # fmt: skip
    schema = pa.schema([declared_field(c) for c in columns])
    assert declared_columns(schema) == columns[:1]


# --- sound -----------------------------------------------------------------------------------------------------


def test_a_tone_is_a_line_in_the_spectrogram_at_its_height() -> None:
    image = log_mel(tone(1000.0, 1.0), 16_000)
    loudest = image[:, 20:80].mean(axis=1).argmax()
    assert loudest / len(image) == pytest.approx(mel_height(1000.0), abs=0.03)
    assert np.median(image) < -40.0


def test_silence_is_dark() -> None:
    assert log_mel(np.zeros(8_000, np.float32), 16_000).max() < -60.0


# --- the page --------------------------------------------------------------------------------------------------


class Seen(HTMLParser):
    """What a page refers to, its text, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "action")]
        if tag not in ("meta", "link", "br", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def inspected(live, make_clip):
    """Makes a clip with samples; returns its id and its page."""

    def make(**values):
        frames = np.random.default_rng(1).integers(0, 255, (8, 54, 96, 3), dtype=np.uint8)
        clip = DecodedClip("c", 2.0, frames, np.arange(8) / 4, tone(300.0, 2.0), 16_000)
        id_ = make_clip(0, **values)
        row = live.store.clips.get(id_)
        key = live.store.media.put_bytes(write_samples(clip), "samples")
        live.store.clips.upsert([row | {"samples_key": key}])
        answer = live.http.get(f"/clips/{id_}/page")
        assert answer.status_code == 200, answer.text
        return id_, answer.text

    return make


def test_the_page_needs_nothing_but_itself(inspected) -> None:
    _, text = inspected(loudness=[0.5] * 20)
    seen = Seen(text)
    assert seen.open == []
    assert seen.addresses
    assert all(address.startswith(("data:", "#")) for address in seen.addresses)
    assert not re.search(r"https?://|@import|url\(", text)


def test_the_page_holds_frames_sound_curves_decisions_and_recipes(inspected) -> None:
    id_, text = inspected(loudness=[0.5] * 20, face_count=1)
    assert id_ in text
    assert "medium shot, low motion" in text
    assert 'class="verdict hold"' in text
    assert text.count("data:image/jpeg") == 8
    assert "data:audio/wav" in text
    assert "data:image/png" in text
    for told in ("loudness", "face_count", "r-vision", "ann-1", "seg-1", "beach", "MIT", "audio.prosody", "silent"):
        assert told in text, told
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text).group(1))
    assert facts["times"] == [i / 4 for i in range(8)]
    assert facts["charts"][0][0]["values"] == [0.5] * 20


def test_the_frames_are_the_clips_own(inspected) -> None:
    _, text = inspected()
    jpeg = base64.b64decode(re.search(r"data:image/jpeg;base64,([^\"]+)", text).group(1))
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (54, 96, 3)


def test_words_from_the_store_are_no_markup(inspected, live) -> None:
    _, text = inspected(source="<script>alert(1)</script>")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_a_face_vector_is_not_on_the_page(inspected) -> None:
    _, text = inspected(face_embedding=[0.123456, 0.987654, 0.0])
    assert "face_embedding" not in text
    assert "0.123" not in text


def test_a_clip_without_samples_has_a_page_of_what_is_known(live, make_clip) -> None:
    id_ = make_clip(0)
    live.store.clips.upsert([live.store.clips.get(id_) | {"samples_key": None}])
    text = live.http.get(f"/clips/{id_}/page").text
    assert "medium shot, low motion" in text
    assert "<script" not in text


def test_a_sample_pack_that_is_none_is_told(live, make_clip) -> None:
    answer = live.http.get(f"/clips/{make_clip(0)}/page")
    assert answer.status_code == 422
    assert "no sample pack" in answer.json()["what"]


def test_the_command_writes_the_page(inspected, run, run_json, tmp_path: Path) -> None:
    id_, text = inspected()
    code, answer = run_json("inspect", id_, "--out", tmp_path / "clip.html")
    assert code == 0
    assert answer == {"clip_id": id_, "page": str(tmp_path / "clip.html"), "bytes": len(text.encode())}
    assert (tmp_path / "clip.html").read_text(encoding="utf-8") == text
    code, _, told = run("inspect", "nope", "--out", tmp_path / "other.html")
    assert code == 1
    assert "no clip 'nope'" in told
    assert not (tmp_path / "other.html").exists()
    code, _, told = run("inspect", id_, "--out", tmp_path / "missing" / "clip.html")
    assert code == 1
    assert "cannot be written" in told
