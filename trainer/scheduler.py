"""When a LoRA run is due: a pure decision of the concepts, the runs so far and the time.

Stage A trains a concept's first adapter from nothing. Stage B goes on from stage A's adapter, gently, once the
subset is known to be purer than stage A asks for. One run at a time; every concept gets a verdict and its reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from store.records import ConceptChanged, Json, TrainingRequested, digest

Stage = Literal["A", "B"]


@dataclass(frozen=True)
class SchedulerSettings:
    """When to train; all chosen, to be replaced by what operators find.

    least_growth: a subset that was trained on before must have grown by this share of its clips.
    cool_down_s: least time between the end of a concept's last run and its next.
    stage_b_purity: `purity_low` from which stage B refines stage A's adapter.
    stage_a, stage_b: fields of `trainer.lora.LoraSettings`. Stage B goes at a quarter of stage A's rate, for fewer
        steps, so that it refines and does not overwrite.
    """

    least_growth: float = 0.25
    cool_down_s: float = 600.0
    stage_b_purity: float = 0.9
    stage_a: Json = field(default_factory=dict)
    stage_b: Json = field(default_factory=lambda: {"lr": 1.25e-3, "steps": 200})


@dataclass(frozen=True)
class PastRun:
    """A run as the scheduler sees it. n_clips: what it was trained on; None until it ended."""

    run_id: str
    concept: str
    stage: Stage
    members_digest: str
    parent: str | None
    n_clips: int | None
    status: Literal["requested", "running", "succeeded", "failed", "withdrawn"]
    finished_at: datetime | None


@dataclass(frozen=True)
class SchedulerState:
    """The latest record of every concept, every run there was, and the concepts' trigger tokens."""

    concepts: tuple[ConceptChanged, ...]
    runs: tuple[PastRun, ...]
    tokens: Mapping[str, str]


@dataclass(frozen=True)
class RunPlan:
    """A run to ask for. settings: fields of `trainer.lora.LoraSettings` that differ from their defaults."""

    stage: Stage
    parent: str | None
    settings: Json
    reason: str


@dataclass(frozen=True)
class SchedulerDecision:
    """What was decided for a concept, and why."""

    concept: str
    verdict: Literal["train", "wait"]
    reason: str
    request: TrainingRequested | None = None


def due(state: SchedulerState, now: datetime, settings: SchedulerSettings) -> list[TrainingRequested]:
    """The run to request now: none or one."""
    return [decision.request for decision in decide(state, now, settings) if decision.request is not None]


def decide(state: SchedulerState, now: datetime, settings: SchedulerSettings) -> list[SchedulerDecision]:
    """A decision for every concept, by name; at most one says train.

    Of several concepts that are due, the one whose last run ended longest ago goes first.
    """
    judged = {concept.concept: _judge(concept, state, now, settings) for concept in state.concepts}
    wanting = [name for name, decision in judged.items() if decision.verdict == "train"]
    under_way = [run for run in state.runs if run.status in ("requested", "running")]
    chosen = min(wanting, key=lambda name: (_last_end_s(state.runs, name), name), default=None)
    if under_way:
        chosen, ahead = None, f"run {under_way[0].run_id[:12]} of {under_way[0].concept!r} is under way"
    else:
        ahead = f"{chosen!r} goes first"
    return [
        _after(decision, ahead) if name in wanting and name != chosen else decision
        for name, decision in sorted(judged.items())
    ]


def _after(decision: SchedulerDecision, ahead: str) -> SchedulerDecision:
    return SchedulerDecision(decision.concept, "wait", f"{decision.reason}; {ahead}")


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


def _judge(
    concept: ConceptChanged, state: SchedulerState, now: datetime, settings: SchedulerSettings
) -> SchedulerDecision:
    """What this concept would do if it were alone."""

    def wait(reason: str) -> SchedulerDecision:
        return SchedulerDecision(concept.concept, "wait", reason)

    if not concept.ready:
        return wait(f"not ready: {'; '.join(concept.reasons)}")
    own = [run for run in state.runs if run.concept == concept.concept]
    ended = [run.finished_at for run in own if run.finished_at is not None]
    cool_at = max(ended) + timedelta(seconds=settings.cool_down_s) if ended else now
    if now < cool_at:
        return wait(f"it cools down from its last run until {cool_at.isoformat(timespec='seconds')}")
    plan = _plan(concept, own, settings)
    if isinstance(plan, str):
        return wait(plan)
    token = state.tokens.get(concept.concept)
    if token is None:
        return wait("its trigger token is not reserved yet")
    request = request_run(concept, token, plan, "scheduler", now)
    if any(run.run_id == request.run_id and run.status == "failed" for run in own):
        return wait(f"stage {plan.stage} failed with these clips; it waits until the subset changes or a person asks")
    return SchedulerDecision(concept.concept, "train", plan.reason, request)


def _plan(concept: ConceptChanged, own: list[PastRun], settings: SchedulerSettings) -> RunPlan | str:
    """The next run of a ready concept, or why there is none."""
    last_a = _last_succeeded(own, "A")
    size = f"{concept.n_eligible} clips of {concept.n_videos} videos"
    if last_a is None:
        return RunPlan("A", None, settings.stage_a, f"stage A: the first adapter, of {size}")
    growth = concept.n_eligible / (last_a.n_clips or 1) - 1
    if last_a.members_digest != concept.members_digest and growth >= settings.least_growth:
        return RunPlan("A", None, settings.stage_a, f"stage A: the subset grew by {growth:.0%} to {size}")
    no_a = f"no stage A: the subset grew by {growth:.0%} since the last, {settings.least_growth:.0%} is asked"
    if any(run.status == "succeeded" and run.parent == last_a.run_id for run in own):
        return f"{no_a}; stage B is done"
    if concept.purity_low is None or concept.purity_low < settings.stage_b_purity:
        found = "unknown" if concept.purity_low is None else f"at least {concept.purity_low:.2f}"
        return f"{no_a}; no stage B: purity is {found}, {settings.stage_b_purity:.2f} is asked"
    reason = f"stage B: purity is at least {concept.purity_low:.2f}, {settings.stage_b_purity:.2f} is asked"
    return RunPlan("B", last_a.run_id, settings.stage_b, reason)


def _last_succeeded(runs: list[PastRun], stage: Stage) -> PastRun | None:
    succeeded = [run for run in runs if run.stage == stage and run.status == "succeeded"]
    return max(succeeded, key=lambda run: (_end_s(run), run.run_id), default=None)


def _last_end_s(runs: tuple[PastRun, ...], concept: str) -> float:
    """When the concept's last run ended; 0 where there was none."""
    return max((_end_s(run) for run in runs if run.concept == concept), default=0.0)


def _end_s(run: PastRun) -> float:
    """Seconds since 1970 at which a run ended; 0 where it has not."""
    return run.finished_at.timestamp() if run.finished_at is not None else 0.0
