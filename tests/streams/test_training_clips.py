"""What the trainer is given of a clip's row."""

from pathlib import Path

import pytest

from store.records import Control
from store.store import Store
from streams.workers.training_clips import training_clip
from tests.processors.made_people import STANDING, keypoints, person_track, pose_track
from trainer.dataset import PoseTrack

ROW = {
    **{"clip_id": "c", "video_id": "v", "source": "studio", "licence": None, "conditioning": "a person"},
    **{"control": Control(names=(), values=(), present=()).model_dump(), "samples_key": "s", "media_key": "m"},
    **{"held_for": [], "alternatives": None, "identity_ids": None},
}


@pytest.mark.parametrize(
    ("told", "wanted"),
    [({}, None), ({"pose_tracks": None}, None), ({"pose_tracks": []}, ())],
    ids=["no model", "nobody looked", "nobody there"],
)
def test_no_poses_are_told_from_nobody_being_there(tmp_path: Path, told, wanted):
    assert training_clip(Store.open(tmp_path), ROW | told).poses == wanted


def test_people_and_poses_come_with_their_times(tmp_path: Path):
    sights = [keypoints(STANDING), keypoints(STANDING, x=0.6)]
    told = {"people_tracks": [person_track([0.1, 0.2, 0.3, 0.4])], "pose_tracks": [pose_track(*sights, step_s=0.5)]}
    clip = training_clip(Store.open(tmp_path), ROW | told)
    assert clip.people[0].boxes_xyxy == ((0.1, 0.2, 0.3, 0.4),)
    assert clip.poses == (PoseTrack((0.0, 0.5), tuple(tuple(tuple(point) for point in sight) for sight in sights)),)
