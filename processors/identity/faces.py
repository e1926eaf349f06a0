"""What the processors share that tell people apart by their faces: the faces of a track, and one vector of them all."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.crops import SAME_TIME_S
from processors.identity.quality import face_quality
from store.records import Column

MOST_FACES = 8
"""Of a track, the best. Chosen: vectors of neighbouring frames hardly differ, and each costs up to 0.1 s of a core."""
LEAST_QUALITY = 0.05
"""Chosen: below this a face is as good as hidden, cut off or wholly blurred; a track without a better one has no vector
rather than a guess."""
DECIMALS = 5
"""Of a vector's numbers: they move a cosine by less than 1e-4, and halve the record."""


@dataclass(frozen=True)
class Sight:
    """One face that is worth a look: box_xyxy float64 [4] and landmarks_xy float64 [5, 2] in 0..1 of the frame."""

    frame_rgb: np.ndarray
    time_s: float
    box_xyxy: np.ndarray
    landmarks_xy: np.ndarray
    quality: float


def face_columns(what: str) -> tuple[Column, ...]:
    """The columns of such a processor; `what` names the model and its paper."""
    return (
        Column(name="identity_faces", kind="json", measured=False,
               source=f"{what}; list of {{track: index in face_tracks, vector: unit norm, quality in 0..1, n_faces, "
               "time_s and box_xyxy of the best face}; tracks without a usable face are left out"),
        Column(name="identity_space", kind="json", measured=False,
               source="{name: vectors of one name can be compared, even_cosine: at which two faces are as likely one "
               "person's as not, nats_per_cosine: how fast the log odds grow from there}"),
    )  # fmt: skip


class FaceIdentity(Processor):
    """A net that turns pictures of faces into vectors that lie near each other where the person is the same.

    even_cosine, nats_per_cosine: how cosines of this net's vectors are to be read; see `face_columns`.
    """

    reads: ClassVar[Reads] = Reads(frame_rate_hz=2.0, longest_px=384, columns=("face_tracks",))
    even_cosine: ClassVar[float]
    nats_per_cosine: ClassVar[float]

    @abstractmethod
    def picture(self, sight: Sight) -> np.ndarray:
        """What the net sees of a face: float32 [3, S, S]."""

    @abstractmethod
    def vectors(self, pictures: np.ndarray) -> np.ndarray:
        """Float [N, D] of pictures float32 [N, 3, S, S]; of any length."""

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        # Clip by clip: a net's last digits may depend on how many pictures it is given at once.
        return [self._measured(clip, row["face_tracks"]) for clip, row in zip(clips, inputs, strict=True)]

    def _measured(self, clip: DecodedClip, tracks: Sequence[Mapping[str, Any]] | None) -> Row:
        if tracks is None:
            return {"identity_faces": None, "identity_space": None}
        seen = {int(track["track"]): best_sights(clip, track) for track in tracks}
        pictures = [self.picture(sight) for sights in seen.values() for sight in sights]
        vectors = iter(_unit(self.vectors(np.stack(pictures))) if pictures else ())
        faces = [
            _of_track(track, sights, np.stack([next(vectors) for _ in sights]))
            for track, sights in seen.items()
            if sights
        ]
        space = {
            "name": f"{self.id}:{self.recipe}",
            "even_cosine": self.even_cosine,
            "nats_per_cosine": self.nats_per_cosine,
        }
        return {"identity_faces": faces, "identity_space": space}


def best_sights(clip: DecodedClip, track: Mapping[str, Any]) -> list[Sight]:
    """A track's faces of quality `LEAST_QUALITY` or better, at most `MOST_FACES`, the best first."""
    sights = []
    for time_s, box, landmarks, score in zip(
        track["times_s"], track["boxes_xyxy"], track["landmarks_xy"], track["scores"], strict=True
    ):
        frame = int(np.abs(clip.frame_times_s - time_s).argmin())
        if abs(clip.frame_times_s[frame] - time_s) > SAME_TIME_S:
            continue
        box_xyxy, landmarks_xy = np.asarray(box, np.float64), np.asarray(landmarks, np.float64)
        quality = face_quality(clip.frames_rgb[frame], box_xyxy, landmarks_xy, float(score)).value
        if quality >= LEAST_QUALITY:
            sights.append(Sight(clip.frames_rgb[frame], float(time_s), box_xyxy, landmarks_xy, quality))
    return sorted(sights, key=lambda sight: (-sight.quality, sight.time_s))[:MOST_FACES]


def _of_track(track: int, sights: Sequence[Sight], vectors: np.ndarray) -> dict[str, Any]:
    """One vector of a track's faces (float [N, D], unit norm each): their mean, weighted by quality."""
    weights = np.array([sight.quality for sight in sights])
    mean = _unit(np.average(vectors, axis=0, weights=weights)[None])[0]
    return {
        "track": track,
        "vector": mean.round(DECIMALS).tolist(),
        # Of the faces that the mean rests on: weighted by quality, as the vector is.
        "quality": float(np.average(weights, weights=weights)),
        "n_faces": len(sights),
        "time_s": sights[0].time_s,
        "box_xyxy": sights[0].box_xyxy.tolist(),
    }


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Float64 [N, D] of length 1."""
    wide = np.asarray(vectors, np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
