"""How the two people who are nearest to each other are placed: distance, overlap, facing.

Distances are told in body heights, since people's spaces are about bodies (Hall 1966: personal space ends at 1.2 m,
0.7 of a body's height). They are distances in the picture: depth is not measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.motion.camera import box_at
from processors.skeleton import EARS, NOSE, Skeleton, aspect_of, skeletons
from store.records import Column

SAME_TIME_S = 0.13
"""Half of the time between two sampled frames: key points so near to a time are of it."""


@dataclass(frozen=True)
class Options:
    """None."""


class PeopleInteraction(Processor):
    """None where the profile tracks no people, or no two are in view at once."""

    version = 1
    reads = Reads(optional=("people_tracks", "pose_tracks"))
    Options = Options
    columns = (
        Column(name="people_distance", kind="float", unit="body heights", low=0.0,
               source="gap between the boxes of the two people who are nearest, by the mean height of the two boxes; "
               "median over the times at which both are seen; 0 where the boxes meet"),
        Column(name="people_overlap", kind="float", low=0.0, high=1.0,
               source="share of the smaller of the two boxes that the other covers; median as of people_distance"),
        Column(name="people_facing", kind="float", low=-1.0, high=1.0,
               source="how far the two heads are turned to each other (1) or away (-1): place of the nose between the "
               "ears; median; None without key points"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip, row) for clip, row in zip(clips, inputs, strict=True)]

    def _measured(self, clip: DecodedClip, row: Row) -> Row:
        aspect = aspect_of(clip.frames_rgb)
        poses = {track["track"]: list(skeletons(track, aspect)) for track in row.get("pose_tracks") or ()}
        nearest = dict[str, float | None].fromkeys(column.name for column in self.columns)
        best = (np.inf, 0.0)
        for left, right in combinations(row.get("people_tracks") or (), 2):
            placed = [place for time_s in left["times_s"] if (place := _placed(left, right, time_s, aspect))]
            if not placed:
                continue
            distance, overlap = (float(value) for value in np.median(placed, axis=0))
            if (distance, -overlap) < best:
                best = distance, -overlap
                facing = _facing(left, right, poses)
                nearest = {"people_distance": distance, "people_overlap": overlap, "people_facing": facing}
        return nearest


def _placed(
    left: Mapping[str, Any], right: Mapping[str, Any], time_s: float, aspect: float
) -> tuple[float, float] | None:
    """Distance and overlap of two people at a time; None where one of them is not seen."""
    boxes = [box_at(track, time_s) for track in (left, right)]
    if boxes[0] is None or boxes[1] is None:
        return None
    first, second = boxes[0] * (aspect, 1, aspect, 1), boxes[1] * (aspect, 1, aspect, 1)
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    heights, sizes = [], []
    for box in (first, second):
        heights.append(box[3] - box[1])
        sizes.append(float(np.prod(box[2:] - box[:2])))
    gap = float(np.linalg.norm(np.maximum(low - high, 0.0))) / max(float(np.mean(heights)), 1e-6)
    return gap, float(np.prod(np.maximum(high - low, 0.0))) / max(min(sizes), 1e-12)


def _facing(
    left: Mapping[str, Any], right: Mapping[str, Any], poses: Mapping[int, list[tuple[float, Skeleton]]]
) -> float | None:
    values = []
    for time_s, one in poses.get(left["track"], ()):
        for other_s, other in poses.get(right["track"], ()):
            turns = _turn(one), _turn(other)
            if abs(time_s - other_s) > SAME_TIME_S or turns[0] is None or turns[1] is None:
                continue
            towards = 1.0 if other.places[NOSE, 0] > one.places[NOSE, 0] else -1.0
            values.append(towards * (turns[0] - turns[1]) / 2.0)
    return float(np.median(values)) if values else None


def _turn(skeleton: Skeleton) -> float | None:
    """-1 (to the picture's left) to 1: the nose's place between the ears; one ear alone is hidden by the turn."""
    nose, ears = skeleton.places[NOSE], skeleton.places[list(EARS)]
    seen = ~np.isnan(ears[:, 0])
    if np.isnan(nose[0]) or not seen.any():
        return None
    if not seen.all():
        return 1.0 if nose[0] > ears[seen][0, 0] else -1.0
    half = abs(ears[0, 0] - ears[1, 0]) / 2.0
    return float(np.clip((nose[0] - ears[:, 0].mean()) / max(half, 1e-6), -1.0, 1.0))
