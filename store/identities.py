"""Who is who: face tracks are linked into pseudonymous identities as they arrive, one clip after another.

A track is compared with the mean face of every identity that is known. How far its cosine lies above the net's even
point is its log odds of being the same person; faces of poor quality say less; clothes speak for or against within a
minute of one video; two tracks that are seen at the same moment are two people. With a prior for each identity and for
somebody new (the more identities there are, the more is asked of each), that is a probability for each (Bayes).

Only at `SURE` is a track linked. Below, it founds an identity of its own and keeps the others as candidates with their
probabilities, for a person to decide (`store.identity_decisions`); nothing is merged on the quiet.
All of it is a pure function of the clips' vectors in their order of arrival. Cost per track: one product with the means
of all identities.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from store.records import Candidate, TrackLink, digest

SURE = 0.9
"""Chosen: probability from which a track is linked. It may be shared with candidates that may be the same person
anyway: doubt about which of two ids of one person it is, is not doubt about the person."""
MAYBE = 0.1
"""Chosen: from here an identity is named as a candidate, at most `MOST_CANDIDATES` of them."""
MOST_CANDIDATES = 3
LEAST_QUALITY = 0.45
"""Chosen: a track of poorer faces founds nothing and joins nobody. In shared/media such are 20 px small or in profile;
the mean cosine between strangers among them is three times that of sharp faces."""
TELLING_QUALITY = (0.3, 0.7)
"""Chosen: quality of the poorer of two faces at which their cosine says nothing, and from which it says all."""
PRIOR_NEARBY, PRIOR_KNOWN, PRIOR_NEW = 0.25, 0.25, 0.5
FEWEST_NEARBY, FEWEST_KNOWN = 5, 20
"""Chosen: a prior is shared by all identities near by, or known, and by at least so many: the second person who ever
turns up is no likelier to be the first one than the hundredth."""
NEARBY_S = 60.0
"""Chosen: a scene lasts a minute or two; people change their clothes between scenes."""
EVEN_BODY, NATS_PER_BODY, MOST_BODY_NATS = 0.94, 40.0, 1.5
"""Chosen: torsos of one person in one video agree by 0.97 to 1.0 in shared/media, those of two people in dark clothes
by 0.90 to 0.93. At most a factor of 4.5: clothes are evidence, never proof."""
EXEMPLARS = 16
"""Chosen: best faces that a look's mean is of: bounds memory and work, and forgets the poor ones first."""


@dataclass(frozen=True)
class Space:
    """How vectors of one net are compared; see `processors.identity.faces`."""

    name: str
    even_cosine: float
    nats_per_cosine: float


@dataclass(frozen=True)
class Face:
    """A track as linking sees it: vector float32 [D] of unit norm; body float32 [B] or None; times_s of its sights."""

    clip_id: str
    track: int
    vector: np.ndarray
    quality: float
    time_s: float
    box_xyxy: tuple[float, float, float, float]
    times_s: frozenset[float] = frozenset()
    body: np.ndarray | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Names the track."""
        return self.clip_id, self.track


@dataclass(frozen=True)
class Exemplar:
    """A face of an identity; a track that is like it is put on record as linked to `linked`: the identity as it was
    before people merged it with others."""

    linked: str
    clip_id: str
    track: int
    quality: float
    vector: np.ndarray


def identity_id(clip_id: str, track: int, space: str) -> str:
    """The pseudonym that a track founds: it tells nothing, and is the same whenever it is founded again."""
    return f"p-{digest([clip_id, track, space])[:16]}"


class Gallery:
    """The identities of one space.

    An identity has one look, or, where a person merged several, as many: the mean of the best faces of each. A face is
    compared with the look that is most like it, so that a merge of two looks blurs neither.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.ids: list[str] = []
        self._places: dict[str, int] = {}
        """Identity to its place in `ids`."""
        self._looks: list[tuple[str, str]] = []
        """(identity, what its faces were linked to) of each row of the arrays below."""
        self._rows: dict[tuple[str, str], int] = {}
        self._faces: dict[str, dict[str, list[Exemplar]]] = {}
        self._kin: dict[str, set[str]] = {}
        self._means = np.zeros((0, 0), np.float32)
        self._quality = np.zeros(0, np.float32)
        self._owner = np.zeros(0, np.int64)

    def add(self, identity: str, exemplar: Exemplar) -> None:
        """Take a face into an identity, which may be new."""
        if identity not in self._places:
            self._places[identity] = len(self.ids)
            self.ids.append(identity)
        faces = self._faces.setdefault(identity, {}).setdefault(exemplar.linked, [])
        faces.append(exemplar)
        faces.sort(key=lambda one: (-one.quality, one.clip_id, one.track))
        del faces[EXEMPLARS:]
        look = identity, exemplar.linked
        if look not in self._rows:
            self._rows[look] = len(self._looks)
            self._looks.append(look)
            self._make_room(len(exemplar.vector))
        row = self._rows[look]
        weights = np.array([max(one.quality, 1e-3) for one in faces])
        mean = np.average(np.stack([one.vector for one in faces]), axis=0, weights=weights)
        self._means[row] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        self._quality[row] = np.average(weights, weights=weights)
        self._owner[row] = self._places[identity]

    def discard(self, identity: str) -> None:
        """Forget an identity; an unknown one is no error."""
        if identity not in self._places:
            return
        for linked in self._faces.pop(identity):
            row, last = self._rows.pop((identity, linked)), self._looks.pop()
            if row < len(self._looks):
                self._looks[row], self._rows[last] = last, row
                for array in (self._means, self._quality, self._owner):
                    array[row] = array[len(self._looks)]
        place, moved = self._places.pop(identity), self.ids.pop()
        if moved != identity:
            self.ids[place], self._places[moved] = moved, place
            for linked in self._faces[moved]:
                self._owner[self._rows[moved, linked]] = place
        for other in self._kin.pop(identity, set()):
            self._kin[other].discard(identity)

    def doubt(self, identity: str, others: Iterable[str]) -> None:
        """Note that an identity may be the same person as others."""
        for other in others:
            if identity != other and {identity, other} <= self._places.keys():
                self._kin.setdefault(identity, set()).add(other)
                self._kin.setdefault(other, set()).add(identity)

    def kin(self, identity: str) -> set[str]:
        """Identities that may be the same person."""
        return self._kin.get(identity, set())

    def place(self, identity: str) -> int | None:
        """Where an identity stands in `ids`."""
        return self._places.get(identity)

    def log_odds(self, face: Face) -> np.ndarray:
        """Natural log odds, float64 [number of ids], that a face is the same person's by the face alone."""
        odds = np.full(len(self.ids), -np.inf)
        np.maximum.at(odds, self._owner[: len(self._looks)], self._of_looks(face))
        return odds

    def nearest_look(self, identity: str, face: Face) -> str:
        """What the faces of an identity were linked to that are most like this one: if people's decisions are undone,
        it stays with those."""
        odds = self._of_looks(face)
        return max(self._faces[identity], key=lambda linked: (odds[self._rows[identity, linked]], linked))

    def _of_looks(self, face: Face) -> np.ndarray:
        n = len(self._looks)
        if n == 0:
            return np.zeros(0)
        cosines = (self._means[:n] @ face.vector.astype(np.float32)).astype(np.float64)
        low, high = TELLING_QUALITY
        telling = np.clip((np.minimum(self._quality[:n], face.quality) - low) / (high - low), 0.0, 1.0)
        return telling * self.space.nats_per_cosine * (cosines - self.space.even_cosine)

    def _make_room(self, size: int) -> None:
        before = len(self._means)
        if before < len(self._looks):
            more = max(64, before)
            self._means = np.concatenate([self._means.reshape(before, size), np.zeros((more, size), np.float32)])
            self._quality = np.concatenate([self._quality, np.zeros(more, np.float32)])
            self._owner = np.concatenate([self._owner, np.zeros(more, np.int64)])


def link(
    faces: Sequence[Face], gallery: Gallery, nearby: Mapping[str, Sequence[np.ndarray]]
) -> list[tuple[TrackLink, str | None]]:
    """Link the face tracks of one clip, the best faces first, and take them into the gallery.

    Args:
        faces: with vectors of the gallery's space.
        nearby: identities seen within `NEARBY_S` in the same video, and what they wore (may be empty).

    Returns:
        By track, its link and the identity of the gallery that took it in, if any did.
    """
    taken: dict[str, list[Face]] = {}
    worn = {identity: list(bodies) for identity, bodies in nearby.items()}
    links = []
    for face in sorted(faces, key=lambda one: (-one.quality, one.track)):
        probabilities = _posterior(face, gallery, worn, taken)
        linked, found = _decided(face, gallery, probabilities)
        links.append((linked, found))
        if found is not None:
            taken.setdefault(found, []).append(face)
            worn.setdefault(found, []).extend([face.body] if face.body is not None else [])
    return sorted(links, key=lambda one: one[0].track)


def _posterior(
    face: Face, gallery: Gallery, worn: Mapping[str, Sequence[np.ndarray]], taken: Mapping[str, Sequence[Face]]
) -> np.ndarray:
    """Probability float64 [number of ids] of being each identity; what is left to 1 is that of being somebody new."""
    n = len(gallery.ids)
    odds = gallery.log_odds(face)
    prior = np.full(n, PRIOR_KNOWN / max(FEWEST_KNOWN, n))
    for identity, bodies in worn.items():
        if (place := gallery.place(identity)) is not None:
            prior[place] += PRIOR_NEARBY / max(FEWEST_NEARBY, len(worn))
            odds[place] += _body_nats(face, bodies)
    for identity, others in taken.items():
        # Two faces at one moment are two people.
        if (place := gallery.place(identity)) is not None and any(face.times_s & other.times_s for other in others):
            odds[place] = -np.inf
    highest = max(0.0, float(odds.max(initial=0.0)))
    weights = prior * np.exp(odds - highest)
    return weights / (PRIOR_NEW * np.exp(-highest) + weights.sum())


def _body_nats(face: Face, bodies: Sequence[np.ndarray]) -> float:
    """What clothes say, in nats: the most alike that were seen near by count."""
    if face.body is None or not bodies:
        return 0.0
    likeness = max(float(face.body @ body) for body in bodies)
    return float(np.clip(NATS_PER_BODY * (likeness - EVEN_BODY), -MOST_BODY_NATS, MOST_BODY_NATS))


def _decided(face: Face, gallery: Gallery, probabilities: np.ndarray) -> tuple[TrackLink, str | None]:
    """The link of a track, and the identity in the gallery that it now belongs to, if any."""
    order = np.argsort(-probabilities, kind="stable")[: MOST_CANDIDATES + 1]
    ranked = [(gallery.ids[i], float(probabilities[i])) for i in order if probabilities[i] >= MAYBE]
    best, probability = ranked[0] if ranked else (None, 0.0)
    if face.quality < LEAST_QUALITY:
        return _link(face, None, None, ranked), None
    if best is not None:
        same = sum(
            float(probabilities[place]) for one in gallery.kin(best) if (place := gallery.place(one)) is not None
        )
        if probability + same >= SURE:
            linked = gallery.nearest_look(best, face)
            gallery.add(best, Exemplar(linked, *face.key, face.quality, face.vector))
            return _link(face, linked, probability + same, ranked[1:]), best
    own = identity_id(*face.key, gallery.space.name)
    gallery.add(own, Exemplar(own, *face.key, face.quality, face.vector))
    gallery.doubt(own, [identity for identity, _ in ranked[:MOST_CANDIDATES]])
    return _link(face, own, None, ranked), own


def _link(
    face: Face, identity: str | None, probability: float | None, ranked: Sequence[tuple[str, float]]
) -> TrackLink:
    return TrackLink(
        track=face.track,
        identity=identity,
        probability=None if probability is None else round(probability, 4),
        candidates=tuple(Candidate(identity=one, probability=round(p, 4)) for one, p in ranked[:MOST_CANDIDATES]),
        quality=face.quality,
        time_s=face.time_s,
        box_xyxy=face.box_xyxy,
    )
