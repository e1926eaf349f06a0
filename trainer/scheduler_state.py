"""What the scheduler judges, as the store holds it."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from store.documents import record_of
from store.records import ConceptChanged, Json
from store.registry import State, adapters_of
from store.runs import halting, stints_of
from store.store import Store
from store.tokens import tokens_of
from trainer.scheduler import PastRun, SchedulerState


def read_state(store: Store) -> SchedulerState:
    """All of it, at this moment."""
    decisions = store.adapter_decisions.all().values()
    return state_of(concepts_of(store).values(), store.runs.all(), decisions, tokens_of(store, "concept"))


def concepts_of(store: Store) -> dict[str, ConceptChanged]:
    """The latest record of every concept, by name."""
    return {name: record_of(ConceptChanged, body) for name, body in store.concepts.all().items()}


def state_of(
    concepts: Iterable[ConceptChanged], runs: Mapping[str, Json], decisions: Iterable[Json], tokens: Mapping[str, str]
) -> SchedulerState:
    """The state of these concepts, runs' documents and decisions on adapters; of a run whose request is not known yet
    nothing is."""
    adapters = {one.run_id: one.state for one in adapters_of(runs.values(), decisions)}
    past = tuple(_past_run(body, adapters.get(run_id)) for run_id, body in runs.items() if "stage" in body)
    return SchedulerState(tuple(concepts), past, tokens)


def _past_run(body: Json, adapter: State | None) -> PastRun:
    halt = halting(body)
    ended = body.get("finished_at") or (halt and halt["verb"] == "cancel" and halt["decided_at"])
    return PastRun(
        run_id=body["run_id"],
        concept=body["concept"],
        stage=body["stage"],
        members_digest=body["members_digest"],
        parent=body["parent"],
        n_clips=body.get("metrics", {}).get("n_clips"),
        status=body["status"],
        requested_at=datetime.fromisoformat(body["requested_at"]),
        finished_at=datetime.fromisoformat(ended) if ended else None,
        stints=stints_of(body),
        halted=f"{halt['by']}: {halt['reason']}" if halt else "",
        adapter=adapter,
    )
