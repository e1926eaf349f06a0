"""Body poses by a YOLO pose model of ultralytics, given to the people who are tracked already.

Ultralytics is AGPL-3.0: see `processors.yolo_model`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from processors.base import NOT_IN_RECIPE, DecodedClip, Failed, Processor, Reads, Row
from processors.crops import frame_at
from processors.decode import SAMPLE_LONGEST_PX, SAMPLE_RATE_HZ
from processors.models.lock import file_sha256
from processors.pose.keypoints import check_keypoints, pose_column, pose_row
from processors.pretrained import model_file
from processors.track.boxes import iou
from processors.track.detector import DOUBTFUL
from processors.yolo_model import WEIGHTS, YoloModel

SAME_IOU = 0.5
"""Chosen: least overlap of a tracked person and the box of a pose that is theirs."""


@dataclass(frozen=True)
class Options:
    """model: a .pt file (or a folder that holds one), or an id of the model hub; min_score: least score of a person
    whose pose is taken."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    min_score: float = DOUBTFUL


class YoloPose(Processor):
    """Poses of tracked people, where the model sees one; a clip without people has an empty list, not None."""

    version = 1
    reads = Reads(frame_rate_hz=SAMPLE_RATE_HZ, longest_px=SAMPLE_LONGEST_PX, columns=("people_tracks",))
    Options = Options
    model_files = WEIGHTS
    columns = (pose_column("YOLO pose model by ultralytics"),)

    def load(self, device: str) -> None:
        weights = model_file(self.options.model, self.options.revision, *WEIGHTS)
        self._model = YoloModel(weights, "pose", device, self.options.min_score)
        check_keypoints(self.options.model, self._model.n_keypoints)
        self._digest = file_sha256(weights)

    def weights(self) -> dict[str, str]:
        return {"yolo": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        # Clip by clip: nothing depends on the company of other clips.
        return [self._posed(clip, row["people_tracks"]) for clip, row in zip(clips, inputs, strict=True)]

    def _posed(self, clip: DecodedClip, people: Sequence[Mapping[str, Any]] | None) -> Row:
        if people is None:
            return {"pose_tracks": None}
        in_frame: dict[int, list[tuple[int, float, np.ndarray]]] = {}
        for person in people:
            for time_s, box in zip(person["times_s"], person["boxes_xyxy"], strict=True):
                if (frame := frame_at(clip, time_s)) is not None:
                    in_frame.setdefault(frame, []).append((person["track"], time_s, np.array(box)))
        poses: dict[int, tuple[list[float], list[np.ndarray]]] = {}
        shown = sorted(in_frame)
        for frame, answer in zip(shown, self._model.answers(clip.frames_rgb[shown]), strict=True):
            sights = in_frame[frame]
            for sight, pose in given(np.stack([box for _, _, box in sights]), answer.boxes.xyxyn):
                track, time_s, _ = sights[sight]
                times_s, keypoints = poses.setdefault(track, ([], []))
                times_s.append(time_s)
                keypoints.append(np.concatenate([answer.keypoints.xyn[pose], answer.keypoints.conf[pose, :, None]], 1))
        return {"pose_tracks": [pose_row(track, *poses[track]) for track in sorted(poses)]}


def given(people_xyxy: np.ndarray, poses_xyxy: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of person and pose whose boxes, float64 [M, 4] and [N, 4], overlap most in sum (Kuhn 1955)."""
    overlaps = iou(people_xyxy, poses_xyxy.astype(np.float64))
    pairs = zip(*linear_sum_assignment(overlaps, maximize=True), strict=True)
    return [(int(person), int(pose)) for person, pose in pairs if overlaps[person, pose] >= SAME_IOU]
