"""What the models of facial affect share: from face tracks to curves of valence, arousal and expression."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.crops import Crop, crops
from processors.decode import SAMPLE_LONGEST_PX, SAMPLE_RATE_HZ

PLEASURE_AROUSAL = {
    "anger": (-0.51, 0.59),
    "contempt": (-0.23, 0.31),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "happiness": (0.81, 0.51),
    "neutral": (0.0, 0.0),
    "sadness": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
}
"""Where people put the words angry, contemptuous and so on, in -1..1 (Russell and Mehrabian 1977, J. Research in
Personality 11; neutral is the origin). A model that gives expressions only is placed by them."""
SIGHTS_AT_ONCE = 16
"""Chosen: bounds the memory that a clip with many faces takes; on a CPU more were no faster."""
DECIMALS = 4
"""Of curves: finer than any of these models is exact to."""


@dataclass(frozen=True)
class Reading:
    """What a model says of N pictures of faces.

    expressions: float [N, L], probabilities over the model's labels. valence, arousal: float [N], in -1..1.
    """

    expressions: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray


class FaceAffect(Processor):
    """Curves per face track, in the one column that a subclass declares; None where faces were not looked for.

    Subclasses say what pictures they take (`size_px`, `margin` as in `crops`) and read them.
    """

    reads = Reads(frame_rate_hz=SAMPLE_RATE_HZ, longest_px=SAMPLE_LONGEST_PX, columns=("face_tracks",))
    max_batch = 8
    model_name: ClassVar[str]
    labels: ClassVar[tuple[str, ...]]
    size_px: int
    margin: ClassVar[float]

    @abstractmethod
    def read(self, faces_rgb: np.ndarray) -> Reading:
        """What the model says of faces uint8 [N, size_px, size_px, 3], N from 1 to `SIGHTS_AT_ONCE`."""

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        (column,) = self.columns
        return [{column.name: self._curves(clip, row["face_tracks"])} for clip, row in zip(clips, inputs, strict=True)]

    def _curves(self, clip: DecodedClip, face_tracks: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        if face_tracks is None:
            return None
        # Sights of this clip only: the company of other clips changes nothing.
        sights = crops(clip, face_tracks, self.size_px, self.margin)
        parts = [sights[start : start + SIGHTS_AT_ONCE] for start in range(0, len(sights), SIGHTS_AT_ONCE)]
        readings = [self.read(np.stack([sight.image_rgb for sight in part])) for part in parts]
        if not readings:
            return []
        expressions = np.concatenate([reading.expressions for reading in readings])
        valence = np.concatenate([reading.valence for reading in readings])
        arousal = np.concatenate([reading.arousal for reading in readings])
        return [
            {
                "track": track,
                "times_s": [sights[i].time_s for i in of_track],
                "valence": _rounded(valence[of_track]),
                "arousal": _rounded(arousal[of_track]),
                "expression": {
                    label: _rounded(expressions[of_track, column]) for column, label in enumerate(self.labels)
                },
                "model": self.model_name,
            }
            for track, of_track in _by_track(sights)
        ]


def placed(expressions: np.ndarray, labels: Sequence[str]) -> Reading:
    """The reading of a model that gives expressions only: its expected place among those of the words.

    Args:
        expressions: float [N, L], probabilities.
        labels: L words of `PLEASURE_AROUSAL`.
    """
    places = expressions @ np.array([PLEASURE_AROUSAL[label] for label in labels])
    return Reading(expressions, places[:, 0], places[:, 1])


def _by_track(sights: Sequence[Crop]) -> list[tuple[int, list[int]]]:
    """Each track with the places of its sights; sights come track by track."""
    return [(track, list(places)) for track, places in groupby(range(len(sights)), lambda i: sights[i].track)]


def _rounded(values: np.ndarray) -> list[float]:
    return np.round(values.astype(np.float64), DECIMALS).tolist()
