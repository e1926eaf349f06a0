"""Annotations: what they were distilled from, annotating anew, and the calibration of control vectors."""

from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from api.bodies import ENTERED, Body, Entered, Name, enter, problems
from api.routes.clips import public_condition
from api.service import Given
from store.answers import AnswerStore
from store.records import AnnotationDue, CalibrationRequested, Json, Spent, digest

router = APIRouter(tags=["annotations"])


class ClipReasoning(BaseModel):
    """What a clip's annotation was distilled from."""

    clip_id: str
    engine: str | None
    recipe: str | None
    rounds: int | None
    failed: str | None
    """Why the profile's engine has no answer, so that the rules stand in."""
    trace: Json | None
    checks: list[Json]
    contradiction: float | None
    is_contradicted: bool | None
    answers: dict[str, Json] | None
    """By recipe and question: text, thinking, what it took; None unless asked for."""


class EngineSpent(BaseModel):
    """What the answers took that annotations rest on; those to questions of older recipes are not among them."""

    engine: str
    n_clips: int
    rounds: int
    seconds: float
    prompt_tokens: int
    answer_tokens: int
    cost: float


class Again(Body):
    """Which clips are to be annotated anew; what was answered before is not asked for again."""

    where: str | None = Field(None, examples=["reason_failed IS NOT NULL"])
    """SQL condition over the columns of clips; None: all."""
    reason: Name = Field(examples=["the endpoint refused them while it was overloaded"])


class Due(BaseModel):
    """How many clips will be annotated anew."""

    n_clips: int


class Calibration(Body):
    """A person has the control vectors measured by the dataset as it is now."""

    by: Name = Field(examples=["Ada"])
    reason: Name = Field(examples=["the first 2,000 clips are in"])


@router.get("/clips/{clip_id}/reasoning", responses=problems(404, 503))
def show_reasoning(
    clip_id: str,
    service: Given,
    answers: Annotated[bool, Query(description="Also the engine's raw answers and thinking")] = False,
) -> ClipReasoning:
    """The structured trace, and how each claim of it stands against what was measured."""
    row = service.store.clips.get(clip_id)
    return ClipReasoning(
        clip_id=clip_id,
        engine=row["engine"],
        recipe=row["reason_recipe"],
        rounds=row["reason_rounds"],
        failed=row["reason_failed"],
        trace=row["trace"],
        checks=row["checks"] or [],
        contradiction=row["contradiction"],
        is_contradicted=row["is_contradicted"],
        answers=AnswerStore(service.store.media).of(clip_id) if answers else None,
    )


@router.get("/annotations/spent")
def show_spent(service: Given) -> list[EngineSpent]:
    """Tokens, seconds and cost by engine; what nobody counted counts nothing."""
    told = ("reason_rounds", *(f"reason_{name}" for name in Spent.model_fields))
    sums: dict[str, Json] = {}
    for row in service.store.clips.select(
        where="reason_seconds IS NOT NULL", columns=["engine", "reason_failed", *told]
    ):
        engine, _, why = (row["reason_failed"] or "").partition(": ")
        asked = engine if why else row["engine"]  # where the rules stand in, the engine was asked all the same
        known = sums.setdefault(asked, {"n_clips": 0} | dict.fromkeys(told, 0))
        known["n_clips"] += 1
        for name in told:
            known[name] += row[name] or 0
    return [
        EngineSpent(engine=engine, **{name.removeprefix("reason_"): value for name, value in found.items()})
        for engine, found in sorted(sums.items())
    ]


@router.post("/annotations/due", status_code=202, responses=problems(422, 503))
async def annotate_again(body: Again, service: Given) -> Due:
    """Have clips annotated anew: after a prompt or a vocabulary was changed this happens by itself."""
    rows = await to_thread.run_sync(_measured, service, body.where)
    for row in rows:
        record = AnnotationDue(clip_id=row["clip_id"], video_id=row["video_id"], reason=body.reason)
        await service.streams.publish(record)
    return Due(n_clips=len(rows))


@router.post("/calibrations", status_code=201, responses=ENTERED)
async def calibrate(body: Calibration, service: Given, response: Response) -> Entered:
    """Have the control vectors measured by the quantiles of the clips; all are annotated anew by them."""
    asked_at = service.now_after(None)
    request_id = digest(["calibration", body.model_dump(mode="json"), asked_at.isoformat()])[:32]
    record = CalibrationRequested(request_id=request_id, requested_at=asked_at, **body.model_dump())
    return await enter(service, response, record, service.store.calibrations, request_id)


@router.get("/calibrations")
def list_calibrations(service: Given, status: Literal["requested", "adopted"] | None = None) -> list[Json]:
    """Calibrations in order of time; the last that was adopted holds."""
    found = service.store.calibrations.all(status=status).values()
    return sorted(found, key=lambda body: (body["requested_at"], body["request_id"]))


def _measured(service: Given, where: str | None) -> list[Json]:
    table = service.store.clips
    condition = f"recipes IS NOT NULL AND ({public_condition(table, where)})" if where else "recipes IS NOT NULL"
    return table.select(where=condition, columns=["video_id"])
