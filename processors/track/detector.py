"""What all detectors of people and objects share: their columns, the rate at which they look, and the tracker.

A detector is one more file beside this one with a class that says what is in each frame.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.decode import SAMPLE_LONGEST_PX, SAMPLE_RATE_HZ
from processors.track.link import Found, Track, linked, track_rows
from store.errors import SettingsError
from store.records import Column

PERSON = "person"
DOUBTFUL = 0.1
"""Least score of a box that may carry a track on: ByteTrack's own."""
SURE = 0.5
"""Least score of a box that opens a track. Chosen for YOLOX-nano on recorded footage: 0.4 opens tracks of hands and
doors, 0.6 is late for people who enter."""


@dataclass(frozen=True)
class Detected:
    """What is in one frame: boxes_xyxy float64 [N, 4], in 0..1 of its width and height; scores float64 [N]; a label
    for each, such as `person`."""

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    labels: tuple[str, ...]

    def of(self, label: str) -> Found:
        """Those of one label, cut at the frame; without those that lie outside of it."""
        boxes = np.clip(self.boxes_xyxy, 0.0, 1.0)
        chosen = np.array([name == label for name in self.labels], bool) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return Found(boxes[chosen], self.scores[chosen])


def people_columns(source: str, measured: bool = False) -> tuple[Column, ...]:
    """The columns of people, by the detector that `source` names."""
    shape = "list of {track, times_s, boxes_xyxy in 0..1, scores}"
    return (
        Column(name="person_count", kind="int", unit="people", low=0, measured=measured,
               source=f"largest number of people at once; {source}"),
        Column(name="people_tracks", kind="json", measured=measured, source=f"{source}; {shape}"),
    )  # fmt: skip


def object_column(source: str) -> Column:
    """The column of all that is no person, by the detector that `source` names."""
    shape = "list of {track, label, times_s, boxes_xyxy in 0..1, scores}"
    return Column(name="object_tracks", kind="json", measured=False, source=f"{source}; {shape}")


def people_row(tracks: Sequence[Track]) -> Row:
    """The values of `people_columns`."""
    times_s = [time_s for track in tracks for time_s in track.times_s]
    return {
        "person_count": max((times_s.count(time_s) for time_s in set(times_s)), default=0),
        "people_tracks": track_rows(tracks),
    }


def check_labels(model: str, labels: Iterable[str]) -> None:
    """Raises SettingsError where a model's labels have none for people: it would find nobody, and say so for sure."""
    if PERSON not in (known := list(labels)):
        raise SettingsError(f"model {model!r} has no label {PERSON!r} among {known[:10]}; choose one trained on COCO")


class Detector(Processor):
    """Tracks of people and of objects, each label by itself, in order of appearance, then from left to right.

    Subclasses set `columns` to `people_columns` and `object_column`, and their `Options` have `min_score`: the least
    score of a box that opens a track.
    """

    reads = Reads(frame_rate_hz=SAMPLE_RATE_HZ, longest_px=SAMPLE_LONGEST_PX)

    @abstractmethod
    def detected(self, frames_rgb: np.ndarray) -> list[Detected]:
        """What is in each of the frames uint8 [T, H, W, 3], also with scores as low as `DOUBTFUL`."""

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        # Clip by clip: a clip's frames are a batch, and nothing depends on the company of other clips.
        return [self._row(clip) for clip in clips]

    def _row(self, clip: DecodedClip) -> Row:
        detected = self.detected(clip.frames_rgb)
        labels = {label for frame in detected for label in frame.labels}
        tracks = {label: self.tracks(clip, [frame.of(label) for frame in detected]) for label in labels | {PERSON}}
        objects = [(label, track) for label, each in tracks.items() if label != PERSON for track in each]
        objects.sort(key=lambda one: (one[1].times_s[0], *one[1].boxes_xyxy[0].tolist(), one[0]))
        rows = track_rows([track for _, track in objects])
        labelled = [row | {"label": label} for row, (label, _) in zip(rows, objects, strict=True)]
        return people_row(tracks[PERSON]) | {"object_tracks": labelled}

    def tracks(self, clip: DecodedClip, found: Sequence[Found]) -> list[Track]:
        """Tracks of what was found of one label in each frame."""
        return linked(clip.frame_times_s, found, self.options.min_score, clip.frames_rgb)
