"""Boxes become tracks: one for each thing, through gaps, crossings and a moving camera."""

import numpy as np
import pytest

from processors.track.boxes import iou, strongest
from processors.track.link import Found, Track, linked, looks
from processors.track.mtcnn import largest_area
from tests.processors.made_paths import Path, Walk, walk

SURE = 0.5
NOBODY = Found(np.zeros((0, 4)), np.zeros(0))


def at(left: float, top: float = 0.3, size: float = 0.1, score: float = 0.99) -> Found:
    return Found(np.array([[left, top, left + size, top + size]]), np.array([score]))


def both(*found: Found) -> Found:
    return Found(np.concatenate([boxes for boxes, _ in found]), np.concatenate([scores for _, scores in found]))


def steady(start: float, pace: float) -> Path:
    return lambda times_s: start + pace * times_s


def switches(paths: list[Path], seeds: range = range(12), colours: bool = True) -> int:
    walks = [walk(paths, seed) for seed in seeds]
    return sum(one.switches(linked_of(one, colours)) for one in walks)


def linked_of(one: Walk, colours: bool = True) -> list[Track]:
    return linked(one.times_s, one.found, SURE, one.frames_rgb if colours else None)


def lefts(track: Track) -> list[float]:
    return [round(float(box[0]), 2) for box in track.boxes_xyxy]


def test_a_face_that_moves_by_its_own_width_keeps_its_track() -> None:
    (track,) = linked(np.array([0.0, 0.5, 1.0]), [at(0.2), at(0.3), at(0.38)])
    assert track.times_s == [0.0, 0.5, 1.0]


def test_a_jump_across_the_frame_is_another_face() -> None:
    assert len(linked(np.array([0.0, 0.5]), [at(0.1), at(0.8)])) == 2


def test_a_face_hidden_for_a_second_keeps_its_track_and_for_two_does_not() -> None:
    assert len(linked(np.arange(4) * 0.5, [at(0.2), NOBODY, NOBODY, at(0.2)])) == 1
    assert len(linked(np.arange(5) * 0.5, [at(0.2), NOBODY, NOBODY, NOBODY, at(0.2)])) == 2


def test_who_walks_on_while_hidden_is_expected_further_on() -> None:
    seen = [at(0.1), at(0.2), at(0.3), NOBODY, NOBODY, at(0.6)]
    assert [lefts(track) for track in linked(np.arange(6) * 0.25, seen)] == [[0.1, 0.2, 0.3, 0.6]]


def test_who_stops_is_found_where_they_were_last_seen() -> None:
    seen = [at(0.1), at(0.2), at(0.3), at(0.3), at(0.3)]
    assert len(linked(np.arange(5) * 0.25, seen)) == 1


def test_two_faces_are_told_apart_whatever_the_order_they_are_found_in() -> None:
    left, right = at(0.2), at(0.35)
    tracks = linked(np.array([0.0, 0.5]), [both(right, left), both(at(0.21), at(0.36))])
    assert [lefts(track) for track in tracks] == [[0.2, 0.21], [0.35, 0.36]]


def test_a_face_of_another_size_is_another_face() -> None:
    assert len(linked(np.array([0.0, 0.5]), [at(0.4, 0.4, 0.05), at(0.3, 0.3, 0.4)])) == 2


def test_a_doubtful_box_carries_a_track_on_and_opens_none() -> None:
    doubtful = at(0.2, score=0.3)
    (track,) = linked(np.arange(3) * 0.25, [at(0.2), doubtful, at(0.2)], SURE)
    assert track.scores == [0.99, 0.3, 0.99]
    assert linked(np.arange(2) * 0.25, [doubtful, doubtful], SURE) == []


def test_a_sure_box_goes_before_a_nearer_doubtful_one() -> None:
    (track,) = linked(np.arange(2) * 0.25, [at(0.2), both(at(0.2, score=0.3), at(0.22))], SURE)
    assert lefts(track) == [0.2, 0.22]


def test_a_box_too_many_in_one_frame_does_not_take_over_the_track() -> None:
    frames = [at(0.2), at(0.2), both(at(0.16), at(0.24)), at(0.22), at(0.24), at(0.24)]
    tracks = linked(np.arange(6) * 0.25, frames, SURE)
    assert sorted(len(track.times_s) for track in tracks) == [1, 6]


def test_tracks_are_in_order_of_appearance_then_from_left_to_right() -> None:
    frames = [at(0.6), both(at(0.8), at(0.6), at(0.1)), both(at(0.1), at(0.3), at(0.6), at(0.8))]
    assert [lefts(track)[0] for track in linked(np.arange(3) * 0.25, frames)] == [0.6, 0.1, 0.8, 0.3]


def test_people_who_cross_keep_their_tracks() -> None:
    """By places alone 7 of 12 crossings switch both, since one hides the other; by the colours of clothes none does."""
    assert switches([steady(0.2, 0.1), steady(0.8, -0.1)]) <= 2


def test_who_is_overtaken_behind_another_keeps_their_track() -> None:
    assert switches([steady(0.3, 0.05), steady(0.1, 0.15)]) <= 2


def test_a_pair_that_walks_together_stays_apart() -> None:
    assert switches([steady(0.1, 0.12), steady(0.22, 0.12)], colours=False) == 0


def test_a_panning_camera_switches_nobody() -> None:
    """By up to a person's width between two samples, while people come into view and leave it."""
    assert switches([steady(0.3 + 0.25 * i, -0.2) for i in range(5)], colours=False) == 0
    assert switches([steady(0.3 + 0.25 * i, -0.4) for i in range(5)], colours=False) <= 2


def test_people_who_come_and_go_are_one_track_each() -> None:
    one = walk([steady(-0.2, 0.3), steady(1.4, -0.3)], seed=1, miss=0.0)
    tracks = linked_of(one)
    assert len(tracks) == 2
    assert tracks[0].times_s[0] > 0.5
    assert one.switches(tracks) == 0


def test_a_crowd_is_hard_but_mostly_told_apart() -> None:
    """Five people at random paces, who hide each other again and again."""
    random = np.random.default_rng(5)
    n_switches = n_sights = 0
    for seed in range(10):
        one = walk([steady(*random.uniform((0.0, -0.2), (1.0, 0.2))) for _ in range(5)], seed)
        n_switches += one.switches(linked_of(one))
        n_sights += sum(len(people) for people in one.people)
    assert n_switches < 0.04 * n_sights


def test_colours_tell_who_is_who_where_places_do_not() -> None:
    frames = np.zeros((3, 50, 100, 3), np.uint8)
    frames[0, 15:20, 20:30], frames[0, 15:20, 32:42] = (200, 0, 0), (0, 0, 200)
    frames[2, 15:20, 20:30], frames[2, 15:20, 32:42] = (0, 0, 200), (200, 0, 0)
    pair = both(at(0.2), at(0.32))
    times_s = np.arange(3) * 0.75
    assert [lefts(track) for track in linked(times_s, [pair, NOBODY, pair])] == [[0.2, 0.2], [0.32, 0.32]]
    assert [lefts(t) for t in linked(times_s, [pair, NOBODY, pair], 0.0, frames)] == [[0.2, 0.32], [0.32, 0.2]]


def test_looks_are_alike_for_equal_colours_and_not_for_others() -> None:
    frame = np.zeros((60, 90, 3), np.uint8)
    frame[:, :30], frame[:, 30:60] = (250, 0, 0), (0, 250, 0)
    boxes = np.array([[0.0, 0.0, 0.3, 1.0], [0.05, 0.2, 0.25, 0.8], [0.4, 0.0, 0.6, 1.0], [1.0, 1.0, 1.0, 1.0]])
    found = looks(frame, boxes)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(4))
    assert found[0] @ found[1] == pytest.approx(1.0)
    assert found[0] @ found[2] == pytest.approx(0.0)


def test_overlap_is_intersection_over_union() -> None:
    assert iou(
        np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    ) == pytest.approx(np.array([[1 / 3, 0.0]]))


def test_weaker_copies_of_one_label_go_and_other_labels_stay() -> None:
    boxes = np.array([[0.0, 0.0, 0.5, 0.5], [0.02, 0.0, 0.5, 0.5], [0.02, 0.0, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]])
    kept = strongest(boxes, np.array([0.6, 0.9, 0.7, 0.2]), np.array([0, 0, 1, 0]), 0.5)
    assert kept.tolist() == [1, 2, 3]
    assert strongest(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), 0.5).tolist() == []


def track_of(size: float, n_times: int) -> Track:
    (track,) = linked(np.arange(n_times) * 0.5, [at(0.2, 0.2, size)] * n_times)
    return track


def test_the_area_is_that_of_the_largest_face_seen_again() -> None:
    assert largest_area([track_of(0.1, 3), track_of(0.2, 3), track_of(0.5, 1)]) == pytest.approx(0.04)
    assert largest_area([track_of(0.5, 1), track_of(0.1, 1)]) == pytest.approx(0.25)
    assert largest_area([]) is None
