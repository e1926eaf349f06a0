"""Linking tracks into identities: what is linked, what is kept apart, what is left to a person."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from store.identities import EXEMPLARS, Exemplar, Face, Gallery, Space, identity_id, link
from store.records import TrackLink

SPACE = Space("made", even_cosine=0.4, nats_per_cosine=25.0)
SIZE = 64
BOX = (0.4, 0.2, 0.6, 0.5)


def unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def person(number: int) -> np.ndarray:
    return unit(np.random.default_rng(number).normal(size=SIZE))


def at_cosine(other: np.ndarray, cosine: float, seed: int = 99) -> np.ndarray:
    """A unit vector that makes this cosine with `other`."""
    aside = np.random.default_rng(seed).normal(size=SIZE)
    aside = unit(aside - (aside @ other) * other)
    return unit(cosine * other + np.sqrt(1.0 - cosine**2) * aside)


def seen(number: int, picture: int) -> np.ndarray:
    """One picture of a person: pictures of one make cosines near 0.75, of two people near 0."""
    noise = np.random.default_rng([number, picture]).normal(size=SIZE)
    return unit(person(number) + 0.55 * unit(noise))


def face(clip: str, vector: np.ndarray, track: int = 0, quality: float = 0.9, **more: object) -> Face:
    return Face(clip, track, vector, quality, time_s=0.5, box_xyxy=BOX, **more)  # type: ignore[arg-type]


def linked(gallery: Gallery, *faces: Face, nearby: Mapping[str, Sequence[np.ndarray]] | None = None) -> list[TrackLink]:
    return [one for one, _ in link(faces, gallery, nearby or {})]


def test_the_same_people_are_told_apart_in_whatever_order_they_come() -> None:
    pictures = [(number, picture) for number in range(6) for picture in range(7)]
    partitions = []
    for seed in range(4):
        random.Random(seed).shuffle(pictures)
        gallery, groups = Gallery(SPACE), {}
        for number, picture in pictures:
            (one,) = linked(gallery, face(f"{number}/{picture}", seen(number, picture)))
            groups.setdefault(one.identity, set()).add((number, picture))
        partitions.append({frozenset(group) for group in groups.values()})
    assert partitions[0] == {frozenset((number, picture) for picture in range(7)) for number in range(6)}
    assert all(partition == partitions[0] for partition in partitions)


def test_the_first_of_a_person_founds_an_identity_whose_name_tells_nothing() -> None:
    (one,) = linked(Gallery(SPACE), face("c1", person(1)))
    assert one.identity == identity_id("c1", 0, "made")
    assert (one.probability, one.candidates) == (None, ())
    assert one.identity.startswith("p-")
    assert "c1" not in one.identity


def test_two_faces_at_one_moment_are_two_people_however_alike() -> None:
    gallery = Gallery(SPACE)
    linked(gallery, face("c1", person(1)))
    twins = [face("c2", person(1), track, times_s=frozenset([0.0, 0.5])) for track in (0, 1)]
    first, second = linked(gallery, *twins)
    assert {first.identity, second.identity} == {identity_id("c1", 0, "made"), identity_id("c2", 1, "made")}


def test_a_face_that_is_lost_and_found_within_a_clip_is_one_person() -> None:
    tracks = [face("c1", seen(1, i), i, times_s=frozenset([float(i)])) for i in range(3)]
    assert len({one.identity for one in linked(Gallery(SPACE), *tracks)}) == 1


def test_doubt_makes_candidates_and_merges_nobody() -> None:
    gallery = Gallery(SPACE)
    (first,) = linked(gallery, face("c1", person(1)))
    (second,) = linked(gallery, face("c2", at_cosine(person(1), 0.55)))
    assert second.identity == identity_id("c2", 0, "made") != first.identity
    assert [one.identity for one in second.candidates] == [first.identity]
    assert 0.1 < second.candidates[0].probability < 0.9


def test_a_face_between_two_people_is_neither() -> None:
    gallery = Gallery(SPACE)
    linked(gallery, face("c1", person(1)))
    linked(gallery, face("c2", person(2)))
    (between,) = linked(gallery, face("c3", unit(person(1) + person(2))))
    assert between.identity == identity_id("c3", 0, "made")
    assert len(between.candidates) == 2
    assert sum(one.probability for one in between.candidates) > 0.9


def test_doubt_about_which_id_of_one_person_is_no_doubt_about_the_person() -> None:
    gallery = Gallery(SPACE)
    (first,) = linked(gallery, face("c1", person(1)))
    (second,) = linked(gallery, face("c2", at_cosine(person(1), 0.6)))
    (third,) = linked(gallery, face("c3", unit(gallery_mean(gallery, first) + gallery_mean(gallery, second))))
    assert third.identity in (first.identity, second.identity)
    assert third.probability is not None
    assert third.probability > 0.9


def gallery_mean(gallery: Gallery, one: TrackLink) -> np.ndarray:
    return gallery._means[gallery._rows[str(one.identity), str(one.identity)]]


def test_faces_too_poor_to_tell_join_nobody_and_found_nobody() -> None:
    gallery = Gallery(SPACE)
    linked(gallery, face("c1", person(1)))
    (poor,) = linked(gallery, face("c2", person(1), quality=0.4))
    assert (poor.identity, poor.probability) == (None, None)
    assert gallery.ids == [identity_id("c1", 0, "made")]


def test_the_poorer_the_faces_the_less_they_prove() -> None:
    found = []
    for quality in (0.9, 0.6, 0.5):
        gallery = Gallery(SPACE)
        linked(gallery, face("c1", person(1), quality=quality))
        (one,) = linked(gallery, face("c2", at_cosine(person(1), 0.7), quality=quality))
        found.append(one.probability or one.candidates[0].probability)
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.9 > found[2]


def test_the_more_people_are_known_the_more_is_asked_for() -> None:
    picture = at_cosine(person(1), 0.67)
    for strangers, is_linked in ((0, True), (2000, False)):
        gallery = Gallery(SPACE)
        linked(gallery, face("c1", person(1)))
        for number in range(strangers):
            gallery.add(f"p-{number}", Exemplar(f"p-{number}", f"s{number}", 0, 0.9, person(1000 + number)))
        (one,) = linked(gallery, face("c2", picture))
        assert (one.identity == identity_id("c1", 0, "made")) is is_linked
        assert is_linked or one.candidates[0].identity == identity_id("c1", 0, "made")


@pytest.mark.parametrize(("likeness", "is_linked"), [(0.99, True), (0.7, False)])
def test_clothes_near_by_speak_for_and_against(likeness: float, is_linked: bool) -> None:
    worn = unit(np.abs(np.random.default_rng(5).normal(size=32)))
    gallery = Gallery(SPACE)
    (first,) = linked(gallery, face("c1", person(1), body=worn))
    now = unit(likeness * worn + np.sqrt(1 - likeness**2) * unit(np.eye(32)[0] - worn[0] * worn))
    again = face("c2", at_cosine(person(1), 0.58), body=now)
    (one,) = linked(gallery, again, nearby={str(first.identity): [worn]})
    assert (one.identity == first.identity) is is_linked


def test_clothes_alone_prove_nothing() -> None:
    worn = unit(np.ones(32))
    gallery = Gallery(SPACE)
    (first,) = linked(gallery, face("c1", person(1), body=worn))
    (one,) = linked(gallery, face("c2", person(2), body=worn), nearby={str(first.identity): [worn]})
    assert one.identity != first.identity


def test_an_identity_is_the_mean_of_its_best_faces_only() -> None:
    gallery = Gallery(SPACE)
    for i in range(3 * EXEMPLARS):
        gallery.add("p-1", Exemplar("p-1", f"c{i:02}", 0, 0.5 + i / 100, seen(1, i)))
    best = Gallery(SPACE)
    for i in range(2 * EXEMPLARS, 3 * EXEMPLARS):
        best.add("p-1", Exemplar("p-1", f"c{i:02}", 0, 0.5 + i / 100, seen(1, i)))
    probe = face("x", seen(1, 999))
    assert gallery.log_odds(probe) == pytest.approx(best.log_odds(probe))


def test_two_looks_of_one_person_are_both_known_again() -> None:
    gallery = Gallery(SPACE)
    for number in (1, 2):
        gallery.add("p-one", Exemplar(f"p-{number}", f"c{number}", 0, 0.9, person(number)))
    found = [linked(gallery, face(f"d{number}", seen(number, 0)))[0].identity for number in (1, 2)]
    assert found == ["p-1", "p-2"], "each stays with its look should the merge be undone"
    assert gallery.ids == ["p-one"]


def test_an_identity_that_is_discarded_is_forgotten_and_the_others_stay() -> None:
    gallery = Gallery(SPACE)
    names = [linked(gallery, face(f"c{n}", person(n)))[0].identity for n in range(5)]
    gallery.discard(str(names[1]))
    gallery.discard("p-unknown")
    found = [linked(gallery, face(f"d{n}", person(n)))[0].identity for n in (0, 2, 3, 4)]
    assert found == [names[0], names[2], names[3], names[4]]
    assert linked(gallery, face("d1", person(1)))[0].identity == identity_id("d1", 0, "made")
