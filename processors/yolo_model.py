"""Loading models of ultralytics (YOLO 11, YOLO 26 and the like): its own package, asked for nothing but inference.

The package is AGPL-3.0 and no part of a plain installation: nothing else here imports it, and only when such a model
is loaded.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from processors.decode import SAMPLE_RATE_HZ
from processors.track.link import GAP_S, Found
from store.errors import ModelUnavailable

WEIGHTS = ("*.pt",)
TRACKERS = ("bytetrack", "botsort")
QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
"""Without these the package looks for the network, reports its use, installs what it misses, and prints."""


class YoloModel:
    """A loaded model and what it is asked with.

    Args:
        weights: a .pt file. task: `detect` or `pose`.
        min_score: least score of a box that it tells of.

    Raises:
        ModelUnavailable: ultralytics is not installed, or the model is for another task.
    """

    def __init__(self, weights: Path, task: str, device: str, min_score: float) -> None:
        self._arguments = {"conf": min_score, "device": device, "verbose": False}
        with quiet():
            try:
                from ultralytics import YOLO
            except ModuleNotFoundError as error:
                raise ModelUnavailable(
                    f"{weights.name} needs the package ultralytics, which is AGPL-3.0 and not installed: get it with "
                    "`uv sync --extra yolo`, or choose the profile `pretrained`, which needs no such package"
                ) from error
            self._model: Any = YOLO(weights)
            if self._model.task != task:
                raise ModelUnavailable(f"{weights} is a model for {self._model.task}, not for {task}; choose another")
            # The first call sets up what later ones share, and bounds torch's threads, which the engine then sets anew.
            self.answers(np.zeros((1, 64, 64, 3), np.uint8))

    @property
    def labels(self) -> dict[int, str]:
        """Its number of each label, to the label."""
        return dict(self._model.names)

    @property
    def n_keypoints(self) -> int:
        """Number of key points of a pose."""
        return int(self._model.model.kpt_shape[0])

    def answers(self, frames_rgb: np.ndarray) -> list[Any]:
        """Ultralytics' `Results` for each of the frames uint8 [T, H, W, 3], as numpy arrays."""
        if not len(frames_rgb):  # which ultralytics refuses
            return []
        frames_bgr = [np.ascontiguousarray(frame[..., ::-1]) for frame in frames_rgb]
        return [answer.cpu().numpy() for answer in self._model.predict(frames_bgr, **self._arguments)]


def ids_by(tracker: str, frames_rgb: np.ndarray, found: Sequence[Found], sure: float) -> list[dict[int, int]]:
    """For each frame, index of a box to the id of its track, by one of ultralytics' `TRACKERS`, begun anew.

    Args:
        frames_rgb: uint8 [T, H, W, 3], in which BoT-SORT looks for the camera's own motion.
        found: for each frame, the boxes that may carry a track on.
        sure: least score of a box that may open a track.
    """
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.track import TRACKER_MAP
    from ultralytics.utils import YAML, IterableSimpleNamespace
    from ultralytics.utils.checks import check_yaml

    settings = IterableSimpleNamespace(**YAML.load(check_yaml(f"{tracker}.yaml")))
    settings.track_high_thresh = settings.new_track_thresh = sure
    settings.track_buffer = round(GAP_S * SAMPLE_RATE_HZ)
    begun: Any = TRACKER_MAP[tracker](args=settings)
    height, width = frames_rgb.shape[1:3]
    ids = []
    for frame, (boxes, scores) in zip(frames_rgb, found, strict=True):
        columns = [boxes * np.tile((width, height), 2), scores[:, None], np.zeros((len(boxes), 1))]
        answer = begun.update(Boxes(np.concatenate(columns, axis=1), (height, width)), frame[..., ::-1])
        ids.append({int(row[7]): int(row[4]) for row in answer})
    return ids


@contextmanager
def quiet() -> Iterator[None]:
    """What ultralytics reads when it is imported; its settings go to a folder that is gone afterwards."""
    before = dict(os.environ)
    with TemporaryDirectory() as folder:
        os.environ.update(QUIET | {"YOLO_CONFIG_DIR": folder})
        try:
            yield
        finally:
            for name in ("YOLO_CONFIG_DIR", *QUIET):
                os.environ.pop(name, None)
                if name in before:
                    os.environ[name] = before[name]
