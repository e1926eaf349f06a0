"""Reserving tokens in a store: once for each subject, durable first, told until the topic has it."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from store.linking import Linker
from store.records import ConceptChanged, IdentityDecided, TokenReserved, TrackName
from store.reserving import Reserver, every_subject, subjects_touched
from store.store import Store
from store.tables import DocumentTable
from store.tokens import tokens_of
from store.view import View
from tests.store.made_footage import NOON
from tests.store.made_people import PEOPLE_COLUMNS, people

CALM, ADA = ("concept", "calm"), ("identity", "p-1")
VIDEO = people("one", (1,), (1, 2), (2,))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path, PEOPLE_COLUMNS)


def reserver(store: Store, minutes: int = 0) -> Reserver:
    """As a process has it that starts so many minutes after noon."""

    def clock() -> datetime:
        return NOON + timedelta(minutes=minutes)

    return Reserver(store, lambda token: False, clock)


def test_a_subject_gets_one_token_however_often_it_is_met(store: Store) -> None:
    first = reserver(store)
    first.reserve([CALM, ADA, CALM])
    first.reserve([ADA])
    later = reserver(store, 5)
    later.reserve([CALM, ADA])
    assert store.tokens.counts() == {"reserved": 2}
    assert later.waiting() == first.waiting()
    assert {(record.kind, record.subject_id) for record in first.waiting()} == {CALM, ADA}


def test_what_the_broker_has_is_not_told_again_by_this_process_and_what_came_back_by_none(store: Store) -> None:
    first = reserver(store)
    first.reserve([CALM])
    (record,) = first.waiting()
    first.told([record])
    assert first.waiting() == []
    assert reserver(store).waiting() == [record]
    View(store).apply([record])
    assert reserver(store).waiting() == []
    assert tokens_of(store, "concept") == {"calm": record.token}


def test_a_token_that_could_not_be_written_is_not_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = reserver(store)
    first.reserve([ADA])
    with monkeypatch.context() as patched:

        def no_space(self: DocumentTable, documents: object) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr(DocumentTable, "put", no_space)
        with pytest.raises(OSError, match="No space"):
            first.reserve([CALM])
    assert [record.subject_id for record in first.waiting()] == ["p-1"]
    assert tokens_of(store, "concept") == {}
    first.reserve([CALM])
    assert {record.subject_id for record in first.waiting()} == {"p-1", "calm"}


def test_a_token_that_somebody_else_told_of_is_taken(store: Store) -> None:
    first = reserver(store)
    first.reserve([ADA])
    (own,) = first.waiting()
    foreign = TokenReserved(kind="concept", subject_id="calm", token="bakdom", reserved_at=NOON)
    View(store).apply([foreign])
    first.folded([own, foreign])
    first.reserve([CALM])
    assert tokens_of(store, "concept") == {"calm": "bakdom"}


def test_only_what_the_store_holds_is_touched(store: Store) -> None:
    linker = Linker(store)
    View(store).apply(VIDEO.road)
    links = linker.link(VIDEO.clip_ids)
    concept = ConceptChanged(
        concept="calm",
        definition={},
        members_key="ab/" + "ab" * 32 + ".json",
        members_digest="d",
        n_members=0,
        n_eligible=0,
        n_videos=0,
        purity=None,
        purity_low=None,
        ready=False,
        reasons=(),
        recipe="r",
    )
    assert subjects_touched(store, [concept, *links]) == []
    View(store).apply([concept, *links])
    linker.confirm()
    touched = subjects_touched(store, [concept, *links])
    assert touched == every_subject(store)
    assert [kind for kind, _ in touched] == ["concept", "identity", "identity"]


def test_a_split_touches_the_identity_that_it_makes(store: Store) -> None:
    View(store).apply(VIDEO.road)
    View(store).apply(links := Linker(store).link(VIDEO.clip_ids))
    split = IdentityDecided(
        decision_id="d1",
        verb="split",
        identity=links[0].links[0].identity,
        tracks=(TrackName(clip_id=VIDEO.clip_ids[1], track=0),),
        by="Ada",
        reason="her sister",
        decided_at=NOON,
    )
    View(store).apply([split])
    own = store.identity_decisions.get("d1")["split_off"]
    assert ("identity", own) in subjects_touched(store, [split])
    assert subjects_touched(store, []) == []
