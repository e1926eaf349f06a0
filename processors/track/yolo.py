"""People and objects by YOLO models of ultralytics.

Ultralytics is AGPL-3.0: see `processors.yolo_model`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from processors.base import NOT_IN_RECIPE, DecodedClip
from processors.models.lock import file_sha256
from processors.pretrained import model_file
from processors.track.detector import (
    DOUBTFUL,
    SURE,
    Detected,
    Detector,
    check_labels,
    object_column,
    people_columns,
)
from processors.track.link import Found, Track
from processors.yolo_model import TRACKERS, WEIGHTS, YoloModel, ids_by
from store.errors import SettingsError

OWN = "own"
_SOURCE = "YOLO by ultralytics, labels of its data set"


@dataclass(frozen=True)
class Options:
    """model: a .pt file (or a folder that holds one), or an id of the model hub; min_score: least score of a box that
    opens a track; tracker: `own` (`processors.track.link`), or ultralytics' `bytetrack` or `botsort`."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    min_score: float = SURE
    tracker: str = OWN


class Yolo(Detector):
    """Tracks of people and objects by a YOLO model."""

    version = 1
    Options = Options
    model_files = WEIGHTS
    columns = (*people_columns(_SOURCE), object_column(_SOURCE))

    def load(self, device: str) -> None:
        if self.options.tracker not in (OWN, *TRACKERS):
            raise SettingsError(
                f"track.yolo has tracker = {self.options.tracker!r}; choose {OWN}, {' or '.join(TRACKERS)}"
            )
        weights = model_file(self.options.model, self.options.revision, *WEIGHTS)
        self._model = YoloModel(weights, "detect", device, DOUBTFUL)
        check_labels(self.options.model, self._model.labels.values())
        self._digest = file_sha256(weights)

    def weights(self) -> dict[str, str]:
        return {"yolo": self._digest}

    def detected(self, frames_rgb: np.ndarray) -> list[Detected]:
        boxes = [answer.boxes for answer in self._model.answers(frames_rgb)]
        labels = self._model.labels
        return [
            Detected(
                each.xyxyn.astype(np.float64), each.conf.astype(np.float64), tuple(labels[int(n)] for n in each.cls)
            )
            for each in boxes
        ]

    def tracks(self, clip: DecodedClip, found: Sequence[Found]) -> list[Track]:
        if self.options.tracker == OWN:
            return super().tracks(clip, found)
        ids = ids_by(self.options.tracker, clip.frames_rgb, found, self.options.min_score)
        tracks: dict[int, Track] = {}
        for time_s, (boxes, scores), of_frame in zip(clip.frame_times_s, found, ids, strict=True):
            for box, track in sorted(of_frame.items(), key=lambda one: (boxes[one[0], 0], one[0])):
                tracks.setdefault(track, Track()).add(float(time_s), boxes[box], float(scores[box]))
        return list(tracks.values())
