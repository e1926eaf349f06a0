"""Body poses by ViTPose, from the pictures of tracked people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import VitPoseForPoseEstimation, VitPoseImageProcessor

from processors.base import NOT_IN_RECIPE, DecodedClip, Failed, Processor, Reads, Row
from processors.crops import frame_at
from processors.decode import SAMPLE_LONGEST_PX, SAMPLE_RATE_HZ
from processors.pose.keypoints import KEYPOINTS, check_keypoints, pose_column, pose_row
from processors.pretrained import model_folder, weights_digest

SIGHTS_AT_ONCE = 16
"""Chosen: pictures of 192 x 256 px each; more are no faster on a CPU."""


@dataclass(frozen=True)
class Options:
    """model: a folder or an id of the model hub."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)


class VitPose(Processor):
    """A pose for each sight of each person; a clip without people has an empty list, not None."""

    version = 1
    reads = Reads(frame_rate_hz=SAMPLE_RATE_HZ, longest_px=SAMPLE_LONGEST_PX, columns=("people_tracks",))
    Options = Options
    half_on_gpu = True
    columns = (pose_column("ViTPose (Xu et al. 2022), top down"),)

    def load(self, device: str) -> None:
        folder = model_folder(self.options.model, self.options.revision)
        self._preprocess = VitPoseImageProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = VitPoseForPoseEstimation.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()
        check_keypoints(self.options.model, self._model.config.num_labels)
        self._digest = weights_digest(folder)

    def weights(self) -> dict[str, str]:
        return {"vitpose": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        # Clip by clip: nothing depends on the company of other clips.
        return [self._posed(clip, row["people_tracks"]) for clip, row in zip(clips, inputs, strict=True)]

    def _posed(self, clip: DecodedClip, people: Sequence[Mapping[str, Any]] | None) -> Row:
        if people is None:
            return {"pose_tracks": None}
        sights = [
            (person["track"], time_s, frame, box)
            for person in people
            for time_s, box in zip(person["times_s"], person["boxes_xyxy"], strict=True)
            if (frame := frame_at(clip, time_s)) is not None
        ]
        poses = self._poses(clip.frames_rgb, [frame for _, _, frame, _ in sights], [box for _, _, _, box in sights])
        rows = []
        for track in dict.fromkeys(track for track, _, _, _ in sights):
            of_track = [i for i, sight in enumerate(sights) if sight[0] == track]
            rows.append(pose_row(track, [sights[i][1] for i in of_track], [poses[i] for i in of_track]))
        return {"pose_tracks": rows}

    @torch.inference_mode()
    def _poses(self, frames_rgb: np.ndarray, shown: Sequence[int], boxes_xyxy: Sequence[Sequence[float]]) -> np.ndarray:
        """Key points, float64 [N, 17, 3], in the boxes [N, 4] of the frames whose indices `shown` are."""
        size = np.array(frames_rgb.shape[2:0:-1], np.float64)
        found = np.zeros((len(shown), len(KEYPOINTS), 3))
        for start in range(0, len(shown), SIGHTS_AT_ONCE):
            part = slice(start, start + SIGHTS_AT_ONCE)
            corners = np.array(boxes_xyxy[part]) * np.tile(size, 2)
            corner_and_size = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
            boxes = [[box] for box in corner_and_size.tolist()]
            frames = [frames_rgb[frame] for frame in shown[part]]
            pixels = self._preprocess(frames, boxes, return_tensors="pt")["pixel_values"]
            outputs = self._model(pixel_values=pixels.to(self._model.device))
            outputs.heatmaps = outputs.heatmaps.float()
            answers = self._preprocess.post_process_pose_estimation(outputs, boxes)
            for i, (answer,) in enumerate(answers, start):
                found[i, :, :2] = answer["keypoints"].numpy() / size
                found[i, :, 2] = answer["scores"].numpy().clip(0.0, 1.0)
        return found
