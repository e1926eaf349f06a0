"""Schedule: asks for a LoRA run when a concept is ready for one, and tells why or why not whenever that changes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar

from store.records import (
    ConceptChanged,
    Json,
    Record,
    TrainingDecided,
    TrainingFinished,
    TrainingRequested,
    digest,
)
from store.runs import ended
from store.store import Store
from store.tokens import tokens_of
from streams.runner import Failure, Publish, Step
from trainer.scheduler import SchedulerDecision, SchedulerState, decide
from trainer.scheduler_settings import SchedulerSettings
from trainer.scheduler_state import concepts_of, state_of

log = logging.getLogger(__name__)

_SETTLED_S = 10.0
"""A decision waits until no concept has changed for this long, so that a run starts on what a burst of footage
came to, not on its beginning ..."""
_AT_LATEST_S = 900.0
"""... but footage that never ends does not put it off for ever."""
_LOOK_EVERY_S = 10.0
"""Where no record came: time alone, and what people decided, change what is to be done."""


class Schedule(Step):
    """Reads concepts and the ends of runs."""

    name: ClassVar[str] = "schedule"
    reads: ClassVar[tuple[str, ...]] = (ConceptChanged.topic, TrainingFinished.topic)
    batch: ClassVar[int] = 64

    def __init__(
        self, store: Store, clock: Callable[[], datetime], settings: SchedulerSettings = SchedulerSettings()
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._concepts: dict[str, ConceptChanged] = {}
        self._requested: dict[str, TrainingRequested] = {}
        self._finished: dict[str, TrainingFinished] = {}
        self._first_change: datetime | None = None
        self._last_change = clock()
        self._last_look: datetime | None = None
        self._told: dict[str, tuple[str, str]] = {}
        """Concept to the verdict and reason that were told last."""

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        self._last_change = self._clock()
        self._first_change = self._first_change or self._last_change
        for record in records:
            if isinstance(record, ConceptChanged):
                self._concepts[record.concept] = record
            elif isinstance(record, TrainingFinished):
                self._finished[record.run_id] = record
        return {}

    async def idle(self, publish: Publish) -> None:
        now = self._clock()
        quiet_s = (now - self._last_change).total_seconds()
        waiting_s = (now - self._first_change).total_seconds() if self._first_change else 0.0
        if quiet_s < _SETTLED_S and waiting_s < _AT_LATEST_S:
            return
        looked_s = (now - self._last_look).total_seconds() if self._last_look else _LOOK_EVERY_S
        if self._first_change is None and 0.0 <= looked_s < _LOOK_EVERY_S:
            return
        self._last_look = now
        self._first_change = None
        state = await asyncio.to_thread(self._state)
        for decision in decide(state, now, self._settings):
            if self._told.get(decision.concept) != (decision.verdict, decision.reason):
                log.info("schedule: %s: %s: %s", decision.concept, decision.verdict, decision.reason)
                await publish([decided(decision, state, now)])
                self._told[decision.concept] = (decision.verdict, decision.reason)
            if decision.request is not None:
                self._requested[decision.request.run_id] = decision.request
                await publish([decision.request])

    def _state(self) -> SchedulerState:
        """What the store holds, with the records that came after it."""
        if not self._told:
            past = sorted(self._store.training_decisions.all().values(), key=lambda body: body["decided_at"])
            self._told = {body["concept"]: (body["verdict"], body["reason"]) for body in past}
        runs: dict[str, Json] = {
            run_id: {"status": "requested"} | request.model_dump(mode="json")
            for run_id, request in self._requested.items()
        }
        runs |= {run_id: body for run_id, body in self._store.runs.all().items() if "stage" in body}
        for run_id, finished in self._finished.items():
            if run_id in runs:
                runs[run_id] = ended(runs[run_id], finished)
        concepts = concepts_of(self._store)
        # What the store shows is the last word: a removal may have struck a concept since its record came.
        self._concepts = {
            name: record
            for name, record in self._concepts.items()
            if name not in concepts or _is_newer(record, concepts[name])
        }
        concepts |= self._concepts
        decisions = self._store.adapter_decisions.all().values()
        return state_of(concepts.values(), runs, decisions, tokens_of(self._store, "concept"))


def _is_newer(record: ConceptChanged, than: ConceptChanged) -> bool:
    if record.computed_at is None or than.computed_at is None:
        return record != than
    return record.computed_at > than.computed_at


def decided(decision: SchedulerDecision, state: SchedulerState, now: datetime) -> TrainingDecided:
    """The record of a decision."""
    members = next(one.members_digest for one in state.concepts if one.concept == decision.concept)
    told = {
        "concept": decision.concept,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "run_id": decision.request and decision.request.run_id,
        "members_digest": members,
    }
    decision_id = digest([told, now.isoformat()])[:32]
    return TrainingDecided.model_validate(told | {"decision_id": decision_id, "decided_at": now})
