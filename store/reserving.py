"""Reserving trigger tokens for the subjects of a store: what `store.tokens` chooses, kept in memory and written down.

It is an outbox: a token lies in the store before its record is published, and counts as told when the record has come
back from its topic. What was not told is published again by the next process that writes the store. Only the process
that writes the tables reserves, one batch after another.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from store.clip_columns import ClipRow
from store.documents import record_of
from store.identity_decisions import mentioned
from store.records import ConceptChanged, IdentityDecided, IdentityLinked, Record, TokenKind, TokenReserved
from store.store import Store
from store.tables import sql_holds, sql_in
from store.tokens import choose_token, reserved

Subject = tuple[TokenKind, str]
"""What a token stands for: a concept's name, or an identity's pseudonym."""


@dataclass
class _Known:
    """The tokens in the store, in memory. waiting: those that are not known to have been told."""

    taken: set[str] = field(default_factory=set)
    subjects: set[Subject] = field(default_factory=set)
    waiting: dict[str, TokenReserved] = field(default_factory=dict)


class Reserver:
    """Reserves tokens.

    Args:
        is_word: tells what may not be a token.
        clock: gives the time of reserving.
    """

    def __init__(self, store: Store, is_word: Callable[[str], bool], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._is_word = is_word
        self._clock = clock
        self._known: _Known | None = None

    def reserve(self, subjects: Iterable[Subject]) -> None:
        """Reserve a token for each of these that has none; durable on return."""
        known = self._loaded()
        fresh: dict[str, TokenReserved] = {}
        for kind, subject_id in subjects:
            if (kind, subject_id) not in known.subjects:
                token = choose_token(kind, subject_id, known.taken, self._is_word)
                now = self._clock()
                fresh[token] = TokenReserved(kind=kind, subject_id=subject_id, token=token, reserved_at=now)
                known.taken.add(token)
                known.subjects.add((kind, subject_id))
        self.forget()  # unless the write ends well
        self._store.tokens.put({token: reserved(record, told=False) for token, record in fresh.items()})
        known.waiting |= fresh
        self._known = known

    def waiting(self) -> list[TokenReserved]:
        """Records that are to be published, also those that a killed process left."""
        return list(self._loaded().waiting.values())

    def told(self, records: Iterable[TokenReserved]) -> None:
        """The broker has these records."""
        for record in records:
            self._loaded().waiting.pop(record.token, None)

    def folded(self, records: Iterable[Record]) -> None:
        """Take over tokens that came from the topic and not from here; they lie in the store already."""
        tokens = {record.token for record in records if isinstance(record, TokenReserved)}
        if self._known is not None and not tokens <= self._known.taken:
            self.forget()

    def forget(self) -> None:
        """Read everything anew before the next token is reserved, as after a removal."""
        self._known = None

    def _loaded(self) -> _Known:
        if self._known is None:
            known = _Known()
            for token, body in self._store.tokens.all().items():
                known.taken.add(token)
                if body["status"] == "reserved":
                    known.subjects.add((body["kind"], body["subject_id"]))
                    if not body["told"]:
                        known.waiting[token] = record_of(TokenReserved, body)
            self._known = known
        return self._known


def subjects_touched(store: Store, records: Sequence[Record]) -> list[Subject]:
    """Subjects that the records speak of and that the store, which has folded them, holds."""
    named = {record.concept for record in records if isinstance(record, ConceptChanged)}
    linked = {record.clip_id for record in records if isinstance(record, IdentityLinked)}
    decided = [record for record in records if isinstance(record, IdentityDecided)]
    documents = store.identity_decisions.all() if decided else {}
    moved = {id_ for record in decided for id_ in mentioned(record.model_dump(mode="json"), documents)}
    concepts = store.concepts.get_many(sorted(named)) if named else {}
    seen = f"{sql_in('clip_id', sorted(linked))} OR {sql_holds('identity_ids', moved)}" if linked or moved else ""
    return _subjects(concepts, _shown(store, seen) if seen else ())


def every_subject(store: Store) -> list[Subject]:
    """Every concept and identity that the store holds."""
    return _subjects(store.concepts.all(), _shown(store, "true"))


def _shown(store: Store, where: str) -> list[ClipRow]:
    return store.clips.select(where=f"identity_ids IS NOT NULL AND ({where})", columns=["identity_ids"])


def _subjects(concepts: Iterable[str], rows: Iterable[ClipRow]) -> list[Subject]:
    """Each once; the rows tell who is seen in them."""
    seen = (entry["identity"] for row in rows for entry in row["identity_ids"])
    identities: list[Subject] = [("identity", one) for one in dict.fromkeys(seen) if one is not None]
    return [*(("concept", name) for name in concepts), *identities]
