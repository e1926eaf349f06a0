"""Poses belong to tracked people, at the times of their sights, where their bodies are."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import VitPoseConfig, VitPoseForPoseEstimation

from processors.base import Row, create_processor
from processors.engine import Engine
from processors.pose.keypoints import KEYPOINTS
from processors.pose.yolo import given
from store.errors import SettingsError
from tests.processors.made_clips import face_frames, make_clip


def person(track: int, times_s: list[float], *boxes: list[float]) -> dict[str, Any]:
    return {"track": track, "times_s": times_s, "boxes_xyxy": list(boxes), "scores": [0.9] * len(times_s)}


LEFT, RIGHT = [0.05, 0.1, 0.35, 0.9], [0.5, 0.1, 0.9, 1.0]
PEOPLE = [person(0, [0.0, 0.5], LEFT, LEFT), person(1, [0.5], RIGHT)]


@pytest.fixture(scope="module")
def vitpose(engine: Engine) -> Any:
    return next(p for p in engine.profile.processors if p.id == "pose.vitpose")


def posed(processor: Any, people: list[dict[str, Any]] | None) -> Row:
    return processor.process([make_clip(frames_rgb=face_frames(4), duration_s=1.0)], [{"people_tracks": people}])[0]


def test_each_sight_of_each_person_has_a_pose_of_17_points(vitpose: Any) -> None:
    rows = posed(vitpose, PEOPLE)["pose_tracks"]
    assert [(row["track"], row["times_s"]) for row in rows] == [(0, [0.0, 0.5]), (1, [0.5])]
    assert np.array(rows[0]["keypoints"]).shape == (2, 17, 3)
    assert len(KEYPOINTS) == 17
    scores = np.array(rows[0]["keypoints"])[..., 2]
    assert (scores >= 0.0).all()
    assert (scores <= 1.0).all()


def test_nobody_has_no_pose_and_unknown_people_have_none(vitpose: Any) -> None:
    assert posed(vitpose, []) == {"pose_tracks": []}
    assert posed(vitpose, None) == {"pose_tracks": None}


def test_sights_at_times_without_a_frame_are_passed_over(vitpose: Any) -> None:
    rows = posed(vitpose, [person(0, [0.1], LEFT), person(1, [0.25, 0.6], RIGHT, RIGHT)])["pose_tracks"]
    assert [(row["track"], row["times_s"]) for row in rows] == [(1, [0.25])]


class Peak(torch.nn.Module):
    """A pose model that sees every point in one place of the crop, float [N, 17, 64, 48] of heat."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.device = torch.device("cpu")
        self._at = row, column

    def forward(self, pixel_values: torch.Tensor) -> Any:
        heat = torch.zeros(len(pixel_values), 17, 64, 48)
        heat[:, :, self._at[0], self._at[1]] = 0.9
        heat[:, :, self._at[0] - 1 : self._at[0] + 2, self._at[1] - 1 : self._at[1] + 2] += 0.05
        return type("Outputs", (), {"heatmaps": heat})()


@pytest.mark.parametrize(("box", "people_at_once"), [(LEFT, 16), (RIGHT, 1)])
def test_points_lie_where_the_heat_is_in_the_frame(
    vitpose: Any, box: list[float], people_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The middle of the crop is the middle of the box, whatever its shape."""
    monkeypatch.setattr("processors.pose.vitpose.SIGHTS_AT_ONCE", people_at_once)
    monkeypatch.setattr(vitpose, "_model", Peak(32, 24))
    rows = posed(vitpose, [person(0, [0.0, 0.25, 0.5], box, box, box)])["pose_tracks"]
    points = np.array(rows[0]["keypoints"])
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    assert points[..., :2] == pytest.approx(np.broadcast_to(middle, (3, 17, 2)), abs=0.02)
    assert points[..., 2] == pytest.approx(0.95, abs=1e-5)


def test_a_pose_goes_to_the_person_whose_box_it_is_in() -> None:
    people = np.array([LEFT, RIGHT])
    poses = np.array([[0.52, 0.1, 0.9, 1.0], [0.06, 0.1, 0.35, 0.88], [0.9, 0.0, 1.0, 0.1]])
    assert sorted(given(people, poses)) == [(0, 1), (1, 0)]
    assert given(people, np.zeros((0, 4))) == []


def test_a_pose_model_of_other_points_is_told(models_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(models_folder / "tiny" / "vitpose", tmp_path, dirs_exist_ok=True)
    config = VitPoseConfig.from_pretrained(tmp_path)
    config.num_labels = 5
    VitPoseForPoseEstimation(config).save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match="finds 5 key points, not COCO's 17"):
        create_processor("pose.vitpose", {"model": str(tmp_path)}).load("cpu")
