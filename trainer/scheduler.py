"""When a LoRA run is due: a pure decision of the concepts, the runs so far and the time.

Stage A trains a concept's first adapter from nothing; whenever the subset has grown since the last try, it goes on from
the adapter that is in use (`store.registry`), or from nothing where none is. Stage B refines stage A's adapter in use
once the subset is known to be purer than stage A asks for. Every concept gets a verdict and its reason, in numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from store.records import ConceptChanged, Json, TrainingRequested, digest
from store.registry import State
from store.runs import UNDER_WAY, Stint
from trainer.scheduler_settings import SchedulerSettings, Stage

Status = Literal["requested", "running", "paused", "cancelled", "succeeded", "failed", "withdrawn"]


@dataclass(frozen=True)
class PastRun:
    """A run as the scheduler sees it.

    n_clips: what it was trained on; None until it ended.
    finished_at: when it ended or was cancelled.
    stints: when it held a device.
    halted: who paused or cancelled it, and why; empty where nobody did.
    adapter: how the adapter that it made stands; None where it made none.
    """

    run_id: str
    concept: str
    stage: Stage
    members_digest: str
    parent: str | None
    n_clips: int | None
    status: Status
    requested_at: datetime
    finished_at: datetime | None = None
    stints: tuple[Stint, ...] = ()
    halted: str = ""
    adapter: State | None = None

    @property
    def told(self) -> str:
        """The run, for reasons."""
        return f"run {self.run_id[:12]} of {self.concept!r}"


@dataclass(frozen=True)
class SchedulerState:
    """The latest record of every concept, every run there was, and the concepts' trigger tokens."""

    concepts: tuple[ConceptChanged, ...]
    runs: tuple[PastRun, ...]
    tokens: Mapping[str, str]

    @property
    def under_way(self) -> list[PastRun]:
        """The runs that have, or wait for, a device, the first that was asked for first."""
        runs = [run for run in self.runs if run.status in UNDER_WAY]
        return sorted(runs, key=lambda run: (run.requested_at, run.run_id))


@dataclass(frozen=True)
class RunPlan:
    """A run to ask for. settings: fields of `trainer.settings.LoraSettings` that differ from their defaults."""

    stage: Stage
    parent: str | None
    settings: Json
    reason: str


@dataclass(frozen=True)
class SchedulerDecision:
    """What was decided for a concept, and why.

    plan: what it would run, also where it waits for a device or the next day. request: what is asked for now.
    """

    concept: str
    verdict: Literal["train", "wait"]
    reason: str
    priority: int = 0
    plan: RunPlan | None = None
    request: TrainingRequested | None = None


def due(state: SchedulerState, now: datetime, settings: SchedulerSettings) -> list[TrainingRequested]:
    """The runs to request now, as many as devices are free."""
    return [decision.request for decision in decide(state, now, settings) if decision.request is not None]


def decide(state: SchedulerState, now: datetime, settings: SchedulerSettings) -> list[SchedulerDecision]:
    """A decision for every concept: first those that are due, in the order in which they go, then the others by name.

    Of several that are due the one of the highest priority goes first; of these the one whose last run ended longest
    ago.
    """
    judged = [_judge(concept, state, now, settings) for concept in state.concepts]
    waiting = [decision for decision in judged if decision.request is None]
    wanting = [decision for decision in judged if decision.request is not None]
    wanting.sort(key=lambda one: (-one.priority, _last_end_s(state.runs, one.concept), one.concept))
    return [*_given_out(wanting, state, now, settings), *sorted(waiting, key=lambda one: one.concept)]


def device_hours(runs: Sequence[PastRun], now: datetime, per_run: int = 1) -> float:
    """Hours for which runs held devices since midnight UTC, as far as they told.

    per_run: devices that a run holds, by the present settings; what held more or less earlier that day is counted so.
    """
    midnight = day_of(now)
    spans = [(max(begun, midnight), min(told, now)) for run in runs for begun, told in run.stints]
    return per_run * sum(max(0.0, (told - begun).total_seconds()) for begun, told in spans) / 3600


def day_of(now: datetime) -> datetime:
    """The midnight that the UTC day began with; `now` is in UTC."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def request_run(concept: ConceptChanged, token: str, plan: RunPlan, by: str, now: datetime) -> TrainingRequested:
    """The request for a run; its id is of its content, so that asking twice is asking once."""
    run_id = digest([concept.concept, plan.stage, concept.members_digest, plan.parent, plan.settings, token])[:32]
    return TrainingRequested(
        run_id=run_id,
        concept=concept.concept,
        stage=plan.stage,
        members_key=concept.members_key,
        members_digest=concept.members_digest,
        parent=plan.parent,
        settings=plan.settings,
        token=token,
        requested_by=by,
        reason=plan.reason,
        requested_at=now,
    )


def _given_out(
    wanting: Sequence[SchedulerDecision], state: SchedulerState, now: datetime, settings: SchedulerSettings
) -> list[SchedulerDecision]:
    """The decisions on concepts that are due, in their order, once they have shared what is free."""
    taken = [f"{run.told} is under way" for run in state.under_way]
    budget, used_h = settings.device_hours_per_day, device_hours(state.runs, now, settings.devices_per_run)
    given = []
    for decision in wanting:
        if budget is not None and used_h >= budget:
            # In tenths: a decision is told whenever its reason changes.
            told = f"{used_h:.1f} of today's {budget:g} device hours are used; more from {_next_day(now)}"
            given.append(_wait(decision, told))
        elif len(taken) >= settings.runs_at_once:
            told = f"{_free(settings, len(taken))}: {', '.join(taken)}; its priority is {decision.priority}"
            given.append(_wait(decision, told))
        else:
            hours = "" if budget is None else f", {used_h:.1f} of today's {budget:g} device hours are used"
            free = f"{len(taken) * settings.devices_per_run} of {settings.devices} device(s) taken{hours}"
            given.append(replace(decision, reason=f"{decision.reason}; {free}"))
            taken.append(f"{decision.concept!r} of priority {decision.priority} goes first")
    return given


def _free(settings: SchedulerSettings, n_runs: int) -> str:
    """Why no run can start beside so many."""
    n, per_run = settings.devices, settings.devices_per_run
    left = max(0, n - n_runs * per_run)
    return f"{left or 'none'} of {n} device(s) is free{f', a run takes {per_run}' if per_run > 1 else ''}"


def _wait(decision: SchedulerDecision, why: str) -> SchedulerDecision:
    return replace(decision, verdict="wait", reason=f"{decision.reason}; {why}", request=None)


def _judge(
    concept: ConceptChanged, state: SchedulerState, now: datetime, settings: SchedulerSettings
) -> SchedulerDecision:
    """What this concept would do if it were alone."""
    name, priority = concept.concept, concept.definition.get("priority", 0)
    own = [run for run in state.runs if run.concept == name]
    plan = _closed(concept, own, now, settings) or _plan(concept, own, settings)
    if isinstance(plan, str):
        return SchedulerDecision(name, "wait", plan, priority)
    token = state.tokens.get(name)
    if token is None:
        return SchedulerDecision(name, "wait", "its trigger token is not reserved yet", priority, plan)
    request = request_run(concept, token, plan, "scheduler", now)
    decision = SchedulerDecision(name, "train", plan.reason, priority, plan, request)
    against = _refused(own, request) or _over_quota(own, now, settings)
    return _wait(decision, against) if against else decision


def _closed(concept: ConceptChanged, own: Sequence[PastRun], now: datetime, settings: SchedulerSettings) -> str | None:
    """Why the concept gets no run now, whatever it would be."""
    if not concept.ready:
        return f"not ready: {'; '.join(concept.reasons)}"
    for run in own:
        if run.status in UNDER_WAY:
            return f"{run.told} is under way, stage {run.stage}, {run.status}"
        if run.status == "paused":
            return f"{run.told} was paused by {run.halted}; it keeps its place until it is resumed or cancelled"
    ended = [run.finished_at for run in own if run.finished_at is not None]
    cool_at = max(ended) + timedelta(seconds=settings.cool_down_s) if ended else now
    if now < cool_at:
        until = cool_at.isoformat(timespec="seconds")
        return f"it cools down from its last run until {until}, {settings.cool_down_s:g} s after its end"
    return None


def _refused(own: Sequence[PastRun], request: TrainingRequested) -> str | None:
    """Why this very run is not asked for again: it has ended, or a person cancelled one like it."""
    ends = {"failed": "failed", "succeeded": "was trained", "withdrawn": "was withdrawn"}
    for run in own:
        if run.run_id == request.run_id and run.status in ends:
            told = f"stage {run.stage} {ends[run.status]} with these clips"
            return f"{told}; it waits until the subset changes or a person asks"
        same = (run.stage, run.members_digest) == (request.stage, request.members_digest)
        if same and run.status == "cancelled":
            told = f"{run.told} with these clips was cancelled by {run.halted}"
            return f"{told}; it waits until the subset changes or a person asks"
    return None


def _over_quota(own: Sequence[PastRun], now: datetime, settings: SchedulerSettings) -> str | None:
    today = sum(run.requested_at >= day_of(now) for run in own)
    if today < settings.runs_per_day:
        return None
    return f"{today} of its {settings.runs_per_day} run(s) of today were asked for; the next from {_next_day(now)}"


def _next_day(now: datetime) -> str:
    return (day_of(now) + timedelta(days=1)).isoformat(timespec="minutes")


def _plan(concept: ConceptChanged, own: Sequence[PastRun], settings: SchedulerSettings) -> RunPlan | str:
    """The next run of a ready concept, or why there is none.

    A try that did not end in use is not repeated before the subset has grown: the same clips would give the same.
    """
    tried = _last_a(own)
    size = f"{concept.n_eligible} clips of {concept.n_videos} videos"
    if tried is None:
        return RunPlan("A", None, settings.of_run("A", False), f"stage A: the first adapter, of {size}")
    parent = next((run for run in own if (run.stage, run.adapter) == ("A", "in use")), None)
    growth = concept.n_eligible / (tried.n_clips or 1) - 1
    asked = f"{settings.least_growth:.0%} is asked"
    if tried.members_digest != concept.members_digest and growth >= settings.least_growth:
        whence = f"on from run {parent.run_id[:12]}" if parent else f"from nothing: {_none_in_use(tried)}"
        reason = f"stage A: the subset grew by {growth:.0%} to {size}, {asked}; {whence}"
        return RunPlan("A", parent.run_id if parent else None, settings.of_run("A", parent is not None), reason)
    no_a = f"no stage A: the subset grew by {growth:.0%} since the last, {asked}"
    if parent is None:
        return f"{no_a}; no stage B: {_none_in_use(tried)}"
    if any(run.status == "succeeded" and (run.stage, run.parent) == ("B", parent.run_id) for run in own):
        return f"{no_a}; stage B is done"
    if concept.purity_low is None or concept.purity_low < settings.stage_b_purity:
        found = "unknown" if concept.purity_low is None else f"at least {concept.purity_low:.2f}"
        return f"{no_a}; no stage B: purity is {found}, {settings.stage_b_purity:.2f} is asked"
    reason = f"stage B: purity is at least {concept.purity_low:.2f}, {settings.stage_b_purity:.2f} is asked"
    return RunPlan("B", parent.run_id, settings.of_run("B", True), reason)


def _none_in_use(tried: PastRun) -> str:
    """Why a concept that has adapters of stage A goes on from none of them."""
    return f"no adapter of stage A is in use, the last, of run {tried.run_id[:12]}, is {tried.adapter}"


def _last_a(own: Iterable[PastRun]) -> PastRun | None:
    """The run of stage A that succeeded last, whatever became of its adapter."""
    succeeded = [run for run in own if (run.stage, run.status) == ("A", "succeeded")]
    return max(succeeded, key=lambda run: (_end_s(run), run.run_id), default=None)


def _last_end_s(runs: Sequence[PastRun], concept: str) -> float:
    """When the concept's last run ended; 0 where there was none."""
    return max((_end_s(run) for run in runs if run.concept == concept), default=0.0)


def _end_s(run: PastRun) -> float:
    """Seconds since 1970 at which a run ended; 0 where it has not."""
    return run.finished_at.timestamp() if run.finished_at is not None else 0.0
