"""Clips of a store are linked as they arrive, as any process would that reads the same rows."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from store.identity_decisions import split_identity
from store.linking import Linker
from store.records import IdentityDecided, IdentityLinked, TrackName
from store.store import Store
from store.view import View
from tests.store.made_footage import COLUMNS, NOON, Video
from tests.store.made_people import PEOPLE_COLUMNS, PeopleVideo, people

ONE = people("one", (1,), (2,), (1, 2))
TWO = people("two", (2, 3), (3,), ())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "data", PEOPLE_COLUMNS)


def arrive(store: Store, linker: Linker, video: PeopleVideo) -> list[IdentityLinked]:
    """What the persist step does with a video's records."""
    View(store).apply(video.road)
    return settle(store, linker, video.clip_ids)


def settle(store: Store, linker: Linker, clip_ids: Sequence[str]) -> list[IdentityLinked]:
    links = linker.link(clip_ids)
    View(store).apply(links)
    linker.confirm()
    return links


def who(store: Store, video: PeopleVideo) -> list[list[str | None]]:
    """For each clip of a video, the identities of its tracks."""
    return [[one["identity"] for one in store.clips.get(id_)["identity_ids"]] for id_ in video.clip_ids]


def decide(store: Store, linker: Linker, verb: str, number: int = 1, **what: Any) -> str:
    record = IdentityDecided(
        decision_id=f"decision-{number}",
        verb=verb,  # type: ignore[arg-type]
        by="Ada",
        reason="seen",
        decided_at=NOON + timedelta(minutes=number),
        **({"identity": None} | what),
    )
    View(store).apply([record])
    linker.decided([record])
    return record.decision_id


def test_a_person_is_one_identity_across_clips_and_videos(store: Store) -> None:
    linker = Linker(store)
    arrive(store, linker, ONE)
    arrive(store, linker, TWO)
    (first,), (second,), both = who(store, ONE)
    assert both == [first, second]
    assert first != second
    (again, third), (third_again,), nobody = who(store, TWO)
    assert (again, third_again, nobody) == (second, third, [])
    assert len({first, second, third}) == 3


def test_a_process_that_starts_anew_links_as_the_old_one_would_have(tmp_path: Path) -> None:
    videos = [people(f"v{i}", (i % 4, 4 + i % 3), (i % 5,), likeness=0.82) for i in range(8)]
    found = []
    for restarts in (False, True):
        store = Store.open(tmp_path / str(restarts), PEOPLE_COLUMNS)
        linker = Linker(store)
        for video in videos:
            linker = Linker(store) if restarts else linker
            arrive(store, linker, video)
        found.append([who(store, video) for video in videos])
    assert found[0] == found[1]


def test_clips_that_come_again_give_the_same_records_and_change_nothing(store: Store) -> None:
    linker = Linker(store)
    first = arrive(store, linker, ONE)
    rows = store.clips.select()
    again = settle(store, linker, ONE.clip_ids)
    assert again == settle(store, Linker(store), ONE.clip_ids)
    assert sorted(again, key=lambda r: r.key) == sorted(first, key=lambda r: r.key)
    assert store.clips.select() == rows


def test_links_that_did_not_reach_the_store_are_not_counted_on(store: Store) -> None:
    View(store).apply(ONE.road)
    linker = Linker(store)
    lost = linker.link(ONE.clip_ids)
    assert settle(store, linker, ONE.clip_ids) == lost


def test_a_clip_that_is_measured_anew_is_linked_anew(store: Store) -> None:
    linker = Linker(store)
    arrive(store, linker, ONE)
    (first,), (_second,), _ = who(store, ONE)
    changed = people("one", (1,), (1,), (1, 2))
    assert changed.clip_ids == ONE.clip_ids
    arrive(store, linker, changed)
    assert who(store, ONE)[:2] == [[first], [first]]
    # Nobody keeps a face that no longer is.
    arrive(store, linker, people("three", (2,)))
    assert who(store, people("three", (2,))) == [[who(store, ONE)[2][1]]]


def test_clips_measured_before_there_were_links_are_found(store: Store) -> None:
    View(store).apply(ONE.road)
    linker = Linker(store)
    assert sorted(linker.unlinked()) == sorted(ONE.clip_ids)
    settle(store, linker, linker.unlinked())
    assert linker.unlinked() == []


def test_a_clip_waits_until_it_is_cut_and_measured(store: Store) -> None:
    linker = Linker(store)
    View(store).apply([ONE.submitted, *ONE.embedded])
    assert linker.link(ONE.clip_ids) == []
    arrive(store, linker, ONE)
    assert all(who(store, ONE))


def test_a_profile_without_faces_links_nothing(tmp_path: Path) -> None:
    store, video = Store.open(tmp_path, COLUMNS), Video("plain")
    View(store).apply(video.road)
    linker = Linker(store)
    assert (linker.link(video.clip_ids), linker.unlinked()) == ([], [])


def test_a_merge_holds_for_tracks_that_come_later_and_its_undoing_parts_them(store: Store) -> None:
    linker = Linker(store)
    arrive(store, linker, ONE)
    (first,), (second,), _ = who(store, ONE)
    merged = decide(store, linker, "merge", identity=first, others=(second,))
    assert who(store, ONE) == [[first], [first], [first, first]]
    later = people("later", (2,), (1,))
    arrive(store, linker, later)
    assert who(store, later) == [[first], [first]]
    decide(store, linker, "undo", 2, undoes=merged)
    assert who(store, later) == [[second], [first]]
    assert who(store, ONE) == [[first], [second], [first, second]]


def test_a_split_draws_tracks_that_come_later_and_its_undoing_takes_them_back(store: Store) -> None:
    linker = Linker(store)
    alike = people("alike", (1,), (1,), (1,))
    arrive(store, linker, alike)
    (first,), *_ = who(store, alike)
    named = (TrackName(clip_id=alike.clip_ids[1], track=0),)
    parted = decide(store, linker, "split", identity=first, tracks=named)
    own = split_identity(parted)
    assert who(store, alike) == [[first], [own], [first]]
    copy = people("copy", (1,))
    (embedded,) = copy.embedded
    # The very picture that was split off comes again.
    embedded.values["identity_faces"][0]["vector"] = store.clips.get(alike.clip_ids[1])["identity_faces"][0]["vector"]
    View(store).apply([*copy.road, embedded])
    settle(store, linker, copy.clip_ids)
    assert who(store, copy) == [[own]]
    decide(store, linker, "undo", 2, undoes=parted)
    assert who(store, alike) == [[first], [first], [first]]
    assert who(store, copy) == [[first]]


def test_decisions_are_taken_over_as_a_fresh_process_reads_them(store: Store) -> None:
    linker = Linker(store)
    arrive(store, linker, ONE)
    arrive(store, linker, TWO)
    (first,), (second,), _ = who(store, ONE)
    decide(store, linker, "merge", identity=first, others=(second,))
    later = people("later", (1, 3), (2,))
    View(store).apply(later.road)
    assert linker.link(later.clip_ids) == Linker(store).link(later.clip_ids)


def test_an_identity_of_another_net_is_not_compared(store: Store) -> None:
    linker = Linker(store)
    arrive(store, linker, ONE)
    View(store).apply(people("other", (1,)).road)
    (embedded,) = people("other", (1,)).embedded
    space = embedded.values["identity_space"] | {"name": "other:1"}
    View(store).apply([embedded.model_copy(update={"values": {**embedded.values, "identity_space": space}})])
    settle(store, linker, people("other", (1,)).clip_ids)
    assert who(store, people("other", (1,)))[0][0] not in {one for clip in who(store, ONE) for one in clip}
