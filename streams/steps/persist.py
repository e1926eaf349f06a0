"""Persist: the only writer of the tables; folds every record into the store in batches, links who is seen in the clips
that it completes, and reserves a trigger token for who and what is new, so that one process does it in the order of
arrival."""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from prometheus_client import Histogram

from store.errors import Unavailable
from store.gate import GateOptions
from store.linking import Linker
from store.manifests import FOLDERS, reclaim, supersede
from store.records import (
    IDS_AT_ONCE,
    AnnotationDue,
    CalibrationAdopted,
    CalibrationRequested,
    ClipCurated,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    ClipsStored,
    FootageContinued,
    FootageSegmented,
    FootageSubmitted,
    IdentityDecided,
    IdentityLinked,
    Json,
    PivotsFound,
    Record,
    RemovalDone,
    RemovalRequested,
    ReviewDecided,
    TokenReserved,
)
from store.removal import in_records, remove
from store.reserving import Reserver, every_subject, subjects_touched
from store.store import Store
from store.tables import in_parts
from store.view import View
from streams.annotating import Annotating
from streams.publish import Tombstone
from streams.runner import Failure, Publish, Step
from streams.topics import TOPICS
from trainer.leftovers import Leftovers

_CALIBRATED = "the control vectors were calibrated"
_MAINTAIN_EVERY_WRITES = 100
"""Chosen: 1,000 small fragments make a look-up 25 times slower; 100 writes leave it under twice."""

_FOLDERS_AT_ONCE = 8
"""Folders of media storage that are looked through for old manifests at a time. Chosen: 30,000 of 1,000,000 objects."""


class Persist(Step):
    """Reads every topic but its own, and that of clips to be annotated anew, which tells of no new state.

    Seven arguments: the writer is where everything that is durable comes together.

    Args:
        data: folder of the store, under which small bases lie.
        snapshots: where removal finds exported snapshots.
        queryable: told how many seconds after its video's arrival a clip can be queried.
        annotating: what annotations should be, and what words mean something in them already; clips that were
            annotated otherwise are annotated anew.
        gate: what clips are judged by; those that were judged by something else are judged again at the start.
    """

    name: ClassVar[str] = "persist"
    reads: ClassVar[tuple[str, ...]] = tuple(
        topic.name for topic in TOPICS if topic.name not in (ClipsStored.topic, AnnotationDue.topic)
    )
    batch: ClassVar[int] = 256
    within_s: ClassVar[float] = 0.25
    max_attempts: ClassVar[float] = math.inf

    def __init__(
        self,
        store: Store,
        data: Path,
        snapshots: Path,
        clock: Callable[[], datetime],
        queryable: Histogram,
        annotating: Annotating,
        gate: GateOptions = GateOptions(),
    ) -> None:
        self._store = store
        self._annotating = annotating
        self._view = View(store, gate)
        self._linker = Linker(store)
        self._reserver = Reserver(store, annotating.is_word, clock)
        self._caught_up = False
        self._data = data
        self._snapshots = snapshots
        self._clock = clock
        self._queryable = queryable
        self._writes = 0
        # Not always the same folder first: a process that is started often would never come to the others.
        self._swept = int(clock().timestamp()) // _FOLDERS_AT_ONCE * _FOLDERS_AT_ONCE % len(FOLDERS)

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        stored, proofs, links = await asyncio.to_thread(self._write, records)
        if links:
            await publish(links)
        if any(isinstance(record, CalibrationRequested) for record in records) and await self._adopt(publish):
            await publish(await asyncio.to_thread(self._due, _CALIBRATED))
        await self._tell_tokens(publish)
        for proof in proofs:
            await publish([*in_records(proof), *tombstones(proof)])
        if stored or proofs or any(_is_about_clusters(record) for record in records):
            await publish(_told(stored))
        return {}

    async def _adopt(self, publish: Publish) -> bool:
        """Adopt the calibrations that were asked for; whether there were any.

        Told before they are written: a kill in between makes them anew, and one in the other order would leave the
        topic, and every store that is built from it, without them.
        """
        adopted = await asyncio.to_thread(self._calibrate)
        if adopted:
            await publish(adopted)
            await asyncio.to_thread(self._fold, adopted)
        return bool(adopted)

    async def idle(self, publish: Publish) -> None:
        if not self._caught_up:
            why = _CALIBRATED if await self._adopt(publish) else "the recipe of annotations changed"
            await publish(await asyncio.to_thread(self._due, why))
            changed, links = await asyncio.to_thread(self._catch_up)
            if links:
                await publish(links)
            await self._tell_tokens(publish)
            if changed:
                await publish(_told(changed))
            self._caught_up = True
        if self._writes >= _MAINTAIN_EVERY_WRITES:
            await asyncio.to_thread(self._maintain)
            self._writes = 0

    def _maintain(self) -> None:
        try:
            self._store.maintain()
            first = self._swept
            self._swept = (first + _FOLDERS_AT_ONCE) % len(FOLDERS)
            reclaim(self._store, FOLDERS[first : first + _FOLDERS_AT_ONCE], self._clock())
        except (OSError, RuntimeError) as error:
            raise Unavailable(f"the store could not be maintained: {error}") from error

    def _catch_up(self) -> tuple[tuple[str, ...], list[IdentityLinked]]:
        """Judge stored clips again by the gate's present limits, tell who is seen in those of which nobody told (they
        were measured before identities were linked, or by a process that was killed before it did), and reserve the
        tokens that are missing for the same reasons.
        """
        try:
            changed, links = self._view.judge_again(), self._link(self._linker.unlinked())
            self._reserver.reserve(every_subject(self._store))
            return changed, links
        except (OSError, RuntimeError) as error:
            raise Unavailable(f"the store could not be written: {error}") from error

    def _due(self, reason: str) -> list[AnnotationDue]:
        try:
            return list(self._annotating.due(self._store, reason))
        except (OSError, RuntimeError) as error:
            raise Unavailable(f"the store could not be read: {error}") from error

    def _calibrate(self) -> list[CalibrationAdopted]:
        """The calibrations that were asked for and are not adopted yet."""
        try:
            asked = self._store.calibrations.all(status="requested").values()
            return [self._adopted(body) for body in sorted(asked, key=lambda body: body["requested_at"])]
        except (OSError, RuntimeError) as error:
            raise Unavailable(f"the store could not be read: {error}") from error

    def _fold(self, records: Sequence[Record]) -> None:
        try:
            self._view.apply(records)
        except (OSError, RuntimeError) as error:
            raise Unavailable(f"the store could not be written: {error}") from error

    def _adopted(self, asked: Json) -> CalibrationAdopted:
        made = self._annotating.calibrate(self._store)
        return CalibrationAdopted(
            request_id=asked["request_id"],
            calibration_id=made.id,
            tables=dict(made.tables),
            n_clips=dict(made.n_clips),
            by=asked["by"],
            reason=asked["reason"],
            adopted_at=max(self._clock(), datetime.fromisoformat(asked["requested_at"])),
        )

    def _write(self, records: Sequence[Record]) -> tuple[tuple[str, ...], list[RemovalDone], list[IdentityLinked]]:
        """Ids of clips whose state changed, the proofs of the removals in this batch, and who is seen in its clips."""
        try:
            supersede(self._store, records)
            stored = self._view.apply(records)
            self._linker.decided([record for record in records if isinstance(record, IdentityDecided)])
            links = self._link(r.key for r in records if isinstance(r, ClipSegmented | ClipEmbedded))
            self._reserver.folded(records)
            self._reserver.reserve(subjects_touched(self._store, [*records, *links]))
            removals = [record for record in records if isinstance(record, RemovalRequested)]
            proofs = [self._remove(removal) for removal in removals]
            self._view.apply(proofs)
            if proofs:
                self._linker.forget()
                self._reserver.forget()
        except (OSError, RuntimeError) as error:  # disk full, storage away, commit conflict: lance raises both
            raise Unavailable(f"the store could not be written: {error}") from error
        self._writes += 1
        self._tell_age(records)
        return stored, proofs, links

    async def _tell_tokens(self, publish: Publish) -> None:
        """Publish the tokens that are in the store and were not told."""
        if tokens := await asyncio.to_thread(self._reserver.waiting):
            await publish(tokens)
            self._reserver.told(tokens)

    def _link(self, clip_ids: Iterable[str]) -> list[IdentityLinked]:
        """Tell who is seen in the clips that are cut and measured; durable on return."""
        links = self._linker.link(clip_ids)
        self._view.apply(links)
        self._linker.confirm()
        return links

    def _tell_age(self, records: Sequence[Record]) -> None:
        """Note how old the footage is of clips that have just become queryable."""
        finished = [record for record in records if isinstance(record, ClipDensified)]
        videos = self._store.videos.get_many({record.video_id for record in finished})
        now = self._clock()
        for record in finished:
            arrived = videos.get(record.video_id, {}).get("submitted_at")
            if arrived is not None:
                age_s = (now - datetime.fromisoformat(arrived)).total_seconds()
                self._queryable.observe(max(0.0, age_s))  # a clock may have been put back

    def _remove(self, removal: RemovalRequested) -> RemovalDone:
        proof = remove(self._store, removal, self._snapshots, self._clock())
        discarded = Leftovers(self._data).forget(proof.clip_ids)
        return proof.model_copy(update={"bases": tuple(discarded)})


def _told(stored: Sequence[str]) -> list[ClipsStored]:
    """Which clips are stored or changed, so many to a record as a broker takes."""
    return [ClipsStored(clip_ids=tuple(part)) for part in in_parts(stored, IDS_AT_ONCE)] or [ClipsStored(clip_ids=())]


def _is_about_clusters(record: Record) -> bool:
    """Whether a person decided something of clusters, which changes no row by itself."""
    return isinstance(record, ReviewDecided) and record.subject == "cluster"


def tombstones(proof: RemovalDone) -> list[Tombstone]:
    """What makes the broker forget the records of removed footage as well, at its next compaction."""
    of_video = (FootageSubmitted, FootageContinued, FootageSegmented)
    of_clip = (ClipSegmented, ClipEmbedded, ClipDensified, ClipCurated, PivotsFound, IdentityLinked)
    return [
        *(Tombstone(kind.topic, video_id) for video_id in proof.video_ids for kind in of_video),
        *(Tombstone(kind.topic, clip_id) for clip_id in proof.clip_ids for kind in of_clip),
        *(Tombstone(TokenReserved.topic, token) for token in proof.tokens),
    ]
