"""Footage in which people appear: face vectors made of a person's number, for tests of identities."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from store.records import ClipEmbedded, Column, Json
from tests.store.made_footage import COLUMNS, Video

SPACE: Json = {"name": "made:1", "even_cosine": 0.4, "nats_per_cosine": 25.0}
PEOPLE_COLUMNS = (
    *COLUMNS,
    Column(name="face_tracks", kind="json"),
    Column(name="identity_faces", kind="json", measured=False),
    Column(name="identity_space", kind="json", measured=False),
    Column(name="identity_bodies", kind="json"),
)
SIZE = 64


def picture_of(person: int, picture: int, likeness: float = 0.8) -> list[float]:
    """A face vector of unit norm; two of one person have a cosine near `likeness` squared, of two people near 0."""
    own = np.random.default_rng(person).normal(size=SIZE)
    noise = np.random.default_rng([person, picture]).normal(size=SIZE)
    vector = likeness * own / np.linalg.norm(own) + np.sqrt(1.0 - likeness**2) * noise / np.linalg.norm(noise)
    return [round(float(value), 5) for value in vector / np.linalg.norm(vector)]


@dataclass(frozen=True)
class PeopleVideo(Video):
    """A video whose clip `i` shows the people of `shown[i]`, side by side."""

    shown: Sequence[Sequence[int]] = field(default=((1,), (2,)))
    likeness: float = 0.9
    quality: float = 0.9

    @property
    def embedded(self) -> list[ClipEmbedded]:
        records = []
        for i, record in enumerate(super().embedded):
            values = {**record.values, **self._people(i)}
            records.append(record.model_copy(update={"values": values}))
        return records

    def _people(self, i: int) -> Json:
        seed = int(self.video_id[:8], 16) + i
        tracks = [{"track": t, "times_s": [0.0, 0.5]} for t in range(len(self.shown[i]))]
        faces = [
            {
                "track": t,
                "vector": picture_of(person, seed, self.likeness),
                "quality": self.quality,
                "n_faces": 2,
                "time_s": 0.5,
                "box_xyxy": [0.4, 0.2, 0.6, 0.5],
            }
            for t, person in enumerate(self.shown[i])
        ]
        return {
            "face_count": len(faces),
            "face_tracks": tracks,
            "identity_faces": faces,
            "identity_space": SPACE,
            "identity_bodies": [],
        }


def people(name: str, *shown: Sequence[int], **more: object) -> PeopleVideo:
    """A video of one clip for each group of people."""
    return PeopleVideo(name, n_clips=len(shown), shown=shown, **more)  # type: ignore[arg-type]
