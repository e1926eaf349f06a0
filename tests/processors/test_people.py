"""Detectors of people and objects: what they share, what each makes of its model's answers, and recorded footage."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from processors.base import Row, create_processor
from processors.engine import Engine
from processors.track.detector import Detected, Detector
from processors.track.hog import bodies, people
from processors.track.link import Found, linked, track_rows
from processors.track.yolox import Yolox
from store.errors import ModelUnavailable, SettingsError
from tests.processors.made_clips import MEDIA, face_frames, make_clip, seen
from tests.processors.made_paths import Walk, walk

YOLOX = MEDIA / "weights" / "yolox_nano.onnx"
needs_media = pytest.mark.skipif(not YOLOX.exists(), reason="needs ../shared/media (recorded footage and real weights)")


class Told(Detector):
    """A detector that is told what is in each frame."""

    version = 1
    columns = Yolox.columns
    Options = Yolox.Options

    def __init__(self, frames: Sequence[Detected]) -> None:
        super().__init__(Yolox.Options(model="none"))
        self._frames = list(frames)

    def detected(self, frames_rgb: np.ndarray) -> list[Detected]:
        return self._frames


def told(*frames: Sequence[tuple[str, float, float]]) -> Row:
    """The row for frames of (label, left, score), each 0.2 wide."""
    detected = [
        Detected(
            np.array([[left, 0.2, left + 0.2, 0.8] for _, left, _ in frame]).reshape(-1, 4),
            np.array([score for _, _, score in frame]),
            tuple(label for label, _, _ in frame),
        )
        for frame in frames
    ]
    clip = make_clip(duration_s=len(frames) / 4.0)
    return Told(detected).process([clip], [{}])[0]


def test_people_and_objects_are_tracks_of_their_own() -> None:
    row = told([("person", 0.1, 0.9), ("dog", 0.5, 0.8)], [("person", 0.12, 0.9), ("dog", 0.52, 0.8)])
    assert row["person_count"] == 1
    (person,), (dog,) = row["people_tracks"], row["object_tracks"]
    assert (person["track"], person["times_s"], person["scores"]) == (0, [0.0, 0.25], [0.9, 0.9])
    assert (dog["track"], dog["label"], dog["times_s"]) == (0, "dog", [0.0, 0.25])
    assert dog["boxes_xyxy"][1] == pytest.approx([0.52, 0.2, 0.72, 0.8])


def test_things_of_two_labels_never_share_a_track() -> None:
    row = told([("dog", 0.3, 0.9)], [("cat", 0.3, 0.9)])
    assert [(one["track"], one["label"]) for one in row["object_tracks"]] == [(0, "dog"), (1, "cat")]


def test_the_count_is_of_people_at_once() -> None:
    row = told([("person", 0.0, 0.9), ("person", 0.7, 0.9)], [("person", 0.0, 0.9)], [])
    assert row["person_count"] == 2
    assert told([], [])["person_count"] == 0
    assert told([], [])["people_tracks"] == []


def test_boxes_are_cut_at_the_frame_and_those_outside_go() -> None:
    row = told([("person", -0.1, 0.9), ("person", 1.2, 0.9)])
    (person,) = row["people_tracks"]
    assert person["boxes_xyxy"] == [pytest.approx([0.0, 0.2, 0.1, 0.8])]


def save_net(path: Path, answer: np.ndarray) -> Path:
    """A net that sees nothing and always answers the same, float32 [1, cells, values]."""
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, list(answer.shape))
    node = helper.make_node("Constant", [], ["output"], value=onnx.numpy_helper.from_array(answer))
    graph = helper.make_graph([node], "told", [given], [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_yolox_decodes_cells_strides_and_the_margin_below_the_frame(tmp_path: Path) -> None:
    """Cell (2, 1) of the grid of 16 px: middle at (2.5 * 16, 1.25 * 16), size 16 px times e and 1; shown at 64 x 32."""
    answer = np.zeros((1, 84, 85), np.float32)
    answer[0, 64 + 1 * 4 + 2, :7] = [0.5, 0.25, 1.0, 0.0, 0.9, 0.8, 0.1]
    answer[0, 0, :7] = [0.0, 0.0, 0.0, 0.0, 0.3, 0.2, 0.2]  # too doubtful for anything
    yolox: Any = create_processor("track.yolox", {"model": str(save_net(tmp_path / "told.onnx", answer))})
    yolox.load("cpu")
    (frame,) = yolox.detected(np.zeros((1, 16, 32, 3), np.uint8))
    assert frame.labels == ("person",)
    assert frame.scores == pytest.approx([0.72])
    half = 8.0 * np.e
    assert frame.boxes_xyxy[0] == pytest.approx([(40 - half) / 64, 12 / 32, (40 + half) / 64, 28 / 32])


def test_a_net_that_is_no_yolox_is_told(tmp_path: Path) -> None:
    path = save_net(tmp_path / "other.onnx", np.zeros((1, 84, 6), np.float32))
    with pytest.raises(ModelUnavailable, match=r"not with YOLOX's \[1, 84, 85\]; export it"):
        create_processor("track.yolox", {"model": str(path)}).load("cpu")


def test_a_detector_without_a_label_for_people_is_refused(models_folder: Path, tmp_path: Path) -> None:
    for path in (models_folder / "tiny" / "rtdetr").iterdir():
        text = path.read_bytes()
        (tmp_path / path.name).write_bytes(text.replace(b'"person"', b'"poster"'))
    with pytest.raises(SettingsError, match="has no label 'person'"):
        create_processor("track.rtdetr", {"model": str(tmp_path)}).load("cpu")


def test_rtdetr_s_answers_are_those_of_their_frames(engine: Engine) -> None:
    rtdetr: Any = next(p for p in engine.profile.processors if p.id == "track.rtdetr")
    frames = face_frames(4, 0, 30)
    one_by_one = [rtdetr.detected(frame[None])[0] for frame in frames]
    for found, alone in zip([*rtdetr.detected(frames), *rtdetr._answers(frames)], [*one_by_one] * 2, strict=True):
        assert found.labels == alone.labels
        assert found.boxes_xyxy == pytest.approx(alone.boxes_xyxy, abs=1e-4)


@pytest.fixture(scope="module")
def crossing() -> Walk:
    return walk([lambda t: 0.3 + 0.1 * t, lambda t: 0.9 - 0.05 * t], seed=1, seconds=3.0, miss=0.0)


@pytest.mark.parametrize("tracker", ["own", "bytetrack", "botsort"])
def test_ultralytics_trackers_begin_anew_with_every_clip(tracker: str, models_folder: Path, crossing: Walk) -> None:
    weights = str(models_folder / "tiny" / "yolo")
    yolo: Any = create_processor("track.yolo", {"model": weights, "tracker": tracker})
    clip = replace(make_clip(frames_rgb=crossing.frames_rgb), frame_times_s=crossing.times_s)
    first, second = (yolo.tracks(clip, crossing.found) for _ in range(2))
    assert len(first) == 2
    assert crossing.switches(first) == 0
    assert track_rows(first) == track_rows(second)


def test_a_tracker_that_is_none_is_told(models_folder: Path) -> None:
    with pytest.raises(SettingsError, match="tracker = 'guess'; choose own, bytetrack or botsort"):
        create_processor("track.yolo", {"model": str(models_folder / "tiny" / "yolo"), "tracker": "guess"}).load("cpu")


def test_yolo_without_its_package_is_told(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(ModelUnavailable, match=r"AGPL-3\.0 and not installed: get it with `uv sync --extra yolo`"):
        create_processor("track.yolo", {"model": str(models_folder / "tiny" / "yolo")}).load("cpu")


def test_a_model_for_another_task_is_told(models_folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match="is a model for pose, not for detect"):
        create_processor("track.yolo", {"model": str(models_folder / "tiny" / "yolo-pose")}).load("cpu")


FACE = Found(np.array([[0.45, 0.1, 0.55, 0.2]]), np.array([0.99]))


def figure(left: float, top: float, right: float, bottom: float) -> Found:
    return Found(np.array([[left, top, right, bottom]]), np.array([0.9]))


def test_a_body_hangs_below_its_face_and_ends_at_the_frame() -> None:
    (body,) = bodies(FACE.boxes_xyxy)
    assert body == pytest.approx([0.28, 0.06, 0.72, 1.0])


@pytest.mark.parametrize(
    ("shown", "count"),
    [
        (figure(0.3, 0.05, 0.7, 0.95), 1),
        (figure(0.4, 0.1, 0.6, 0.4), 1),
        (figure(0.0, 0.1, 0.2, 0.9), 2),
    ],
    ids=["the same person", "a part of them", "somebody beside them"],
)
def test_a_figure_with_a_face_is_one_person(shown: Found, count: int) -> None:
    assert len(people(shown, FACE).scores) == count


def test_hog_finds_the_face_s_body_and_nobody_in_an_empty_picture() -> None:
    hog = create_processor("track.hog", {})
    hog.load("cpu")
    faces = track_rows(linked(np.array([0.0]), [FACE]))
    empty = make_clip(frames_rgb=np.full((1, 216, 384, 3), 120, np.uint8), duration_s=0.25)
    with_face, without, unknown = hog.process([empty] * 3, [{"face_tracks": each} for each in (faces, [], None)])
    assert with_face["person_count"] == 1
    assert with_face["people_tracks"][0]["boxes_xyxy"] == [pytest.approx([0.28, 0.06, 0.72, 1.0])]
    assert without == {"person_count": 0, "people_tracks": []}
    assert unknown == {"person_count": None, "people_tracks": None}


@needs_media
def test_hog_finds_whole_figures_that_show_no_face() -> None:
    frames = seen(MEDIA / "video" / "chaplin_by_the_sea.mp4", 9.6)[::2]
    hog = create_processor("track.hog", {})
    hog.load("cpu")
    clip = replace(make_clip(frames_rgb=frames), frame_times_s=np.arange(len(frames)) / 2.0)
    row = hog.process([clip], [{"face_tracks": []}])[0]
    assert row["person_count"] == 2
    assert [len(track["times_s"]) for track in row["people_tracks"]] == [pytest.approx(17, abs=3)] * 2


SHOWN = {
    "asl_again.mkv": 1,
    "asl_bird.mkv": 2,
    "talk_theresa_may.mp4": 1,
    "gif_face_walking_two.gif": 2,
    "gif_head_pose_female_and_male.gif": 2,
    "juggle_720p.mp4": 1,
    "silhouette_green_screen.mp4": 1,
    "face_source_s13.mp4": 1,
}
"""Videos of one shot to the people in it, as MANIFEST tells (in asl_bird a second man stands at the edge)."""


@pytest.fixture(scope="module")
def yolox() -> Any:
    processor = create_processor("track.yolox", {"model": str(YOLOX)})
    processor.load("cpu")
    return processor


def tracks_of(yolox: Any, name: str, seconds: float, start_s: float = 0.0) -> list[dict[str, Any]]:
    frames = seen(MEDIA / "video" / name, start_s + seconds)[round(start_s * 4) :]
    return yolox.process([make_clip(frames_rgb=frames, duration_s=len(frames) / 4.0)], [{}])[0]["people_tracks"]


@needs_media
@pytest.mark.parametrize(("name", "n_people"), SHOWN.items())
def test_people_in_recorded_footage_are_one_track_each(yolox: Any, name: str, n_people: int) -> None:
    tracks = tracks_of(yolox, name, 6.0)
    assert len(tracks) == n_people
    assert all(len(track["times_s"]) > 1 for track in tracks)


@needs_media
def test_two_men_who_struggle_keep_their_tracks(yolox: Any) -> None:
    tracks = sorted(tracks_of(yolox, "chaplin_by_the_sea.mp4", 9.6), key=lambda track: -len(track["times_s"]))
    assert [len(track["times_s"]) >= 34 for track in tracks] == [True, True, *[False] * (len(tracks) - 2)]
    assert sum(len(track["times_s"]) for track in tracks[2:]) <= 2
