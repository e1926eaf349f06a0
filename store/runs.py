"""A training run's document: what records of its progress, and what people decide about it, make of it.

The records come from several topics, in any order and some of them twice; the same ones give the same document.
"""

from collections.abc import Iterable
from datetime import datetime

from store.records import Json, TrainingControlled, TrainingFinished, TrainingProgress

UNDER_WAY = ("requested", "running")
"""Statuses of runs that have, or wait for, a device."""
HELD = ("started_at", "stints")
"""Fields that tell when a run held a device."""
_ENDED = ("succeeded", "failed", "withdrawn")
OVER = (*_ENDED, "cancelled")
"""Statuses of runs that never go on."""

Stint = tuple[datetime, datetime]
"""From and until: a run held a device, in one go."""


def progressed(run: Json, record: TrainingProgress) -> Json:
    """The run's document with how far it is; of a run that has ended, only with when it held a device."""
    body = record.model_dump(mode="json", exclude={"run_id", "stints"})
    stints = _merged([*_stints(run), *record.stints])
    held = {"started_at": stints[0][0], "stints": stints} if stints else {}
    return run | held if run["status"] in _ENDED else _with_status(run | held | {"progress": body})


def controlled(run: Json, record: TrainingControlled) -> Json:
    """The run's document with a person's decision; a withdrawn run's as it is."""
    if run["status"] == "withdrawn":
        return run
    others = [one for one in run.get("controls", []) if one["control_id"] != record.control_id]
    told = [*others, record.model_dump(mode="json", exclude={"run_id"})]
    told.sort(key=lambda one: (datetime.fromisoformat(one["decided_at"]), one["control_id"]))
    return _with_status(run | {"controls": told})


def ended(run: Json, record: TrainingFinished) -> Json:
    """The run's document with its end; a withdrawn run's as it is.

    `reason` stays why it was asked for; where it failed, `ended_because` says why.
    """
    if run.get("status") == "withdrawn":
        return run
    asked = {name: value for name, value in run.items() if name != "ended_because"}
    why = {"ended_because": record.reason} if record.reason else {}
    return asked | record.model_dump(mode="json", exclude={"reason"}) | why


def halting(run: Json) -> Json | None:
    """The decision that cancelled the run, or else the one that it is paused by; None where there is none."""
    controls = run.get("controls", [])
    cancelled = [one for one in controls if one["verb"] == "cancel"]
    if cancelled:
        return cancelled[0]
    return controls[-1] if controls and controls[-1]["verb"] == "pause" else None


def stints_of(run: Json) -> tuple[Stint, ...]:
    """When the run held a device, as far as it told; its end ends the last."""
    stints = _stints(run)
    if stints and run["status"] in _ENDED and "finished_at" in run:
        begun, told = stints[-1]
        stints[-1] = (begun, max(told, datetime.fromisoformat(run["finished_at"])))
    return tuple(stints)


def _with_status(run: Json) -> Json:
    """An end stands; else a cancel stands; else the last decision does, until the run is taken up after it."""
    if run["status"] in _ENDED:
        return run
    halt = halting(run)
    if halt is not None:
        return run | {"status": "cancelled" if halt["verb"] == "cancel" else "paused"}
    controls, stints = run.get("controls", []), _stints(run)
    resumed_at = datetime.fromisoformat(controls[-1]["decided_at"]) if controls else None
    is_taken_up = resumed_at is None or (bool(stints) and stints[-1][1] > resumed_at)
    return run | {"status": "running" if is_taken_up and "progress" in run else "requested"}


def _stints(run: Json) -> list[Stint]:
    return [(datetime.fromisoformat(begun), datetime.fromisoformat(told)) for begun, told in run.get("stints", [])]


def _merged(stints: Iterable[Stint]) -> list[list[str]]:
    """In order, each once and as long as it was ever told; as JSON."""
    longest: dict[datetime, datetime] = {}
    for begun, told in stints:
        longest[begun] = max(told, longest.get(begun, told))
    return [[begun.isoformat(), longest[begun].isoformat()] for begun in sorted(longest)]
