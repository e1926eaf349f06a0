"""What every route is given: the store to read, a way to publish, the settings and the clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Protocol

import anyio
from anyio import to_thread
from fastapi import Depends, Request

from store.clusters.file import StateReader
from store.gate import GateOptions
from store.records import Json, Record
from store.store import Store
from trainer.scheduler_settings import SchedulerSettings

_POLL_S = 0.05


@dataclass(frozen=True)
class StepHealth:
    """How a step fares.

    lag: records that wait for it. done: records that it has finished, as far back as the teller knows; its growth is
    the step's rate. workers: processes that share its work. None: nobody tells.
    """

    step: str
    lag: int | None = None
    done: int | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Steps:
    """The steps that anybody tells of, in the order of the road; `note`: who told, or why there are none."""

    steps: tuple[StepHealth, ...]
    note: str


class Streams(Protocol):
    """The streaming side, as the API needs it."""

    async def publish(self, record: Record) -> None:
        """Put a record on its topic; returns when the broker has it.

        Raises:
            Passing: it has not.
        """

    async def replay(self, dead_letter: Json) -> None:
        """Put the original record of a dead letter (its document) back on the topic it came from.

        Raises:
            Passing: the broker did not take it.
        """

    async def ready(self) -> bool:
        """Whether the broker answers."""

    async def steps(self) -> Steps:
        """How the steps fare; it does not fail."""

    async def exposition(self) -> bytes:
        """The worker's metrics in Prometheus' text format; empty where there are none."""


class Texts(Protocol):
    """The model that compares texts with clips, as the API needs it."""

    async def encode(self, text: str) -> list[float]:
        """The text's vector, of the column `visual_text`.

        Raises:
            InputError, ModelUnavailable, SettingsError: there is no such model.
            Passing: it did not answer.
        """


@dataclass(frozen=True)
class ApiSettings:
    """What the API may do.

    allowed_folders: footage may be submitted by path from inside these; none: by upload only.
    uploads_folder: where an upload lies until it is in media storage.
    gate: what the workers hold clips back by.
    training: what the workers schedule runs by.
    shown_within_s: how long an answer waits for the store to show a published record.
    """

    allowed_folders: tuple[Path, ...]
    uploads_folder: Path
    gate: GateOptions = GateOptions()
    training: SchedulerSettings = SchedulerSettings()
    shown_within_s: float = 10.0


@dataclass(frozen=True)
class Service:
    """The store is only read here; whatever changes it is published as a record."""

    store: Store
    streams: Streams
    settings: ApiSettings
    clock: Callable[[], datetime]
    texts: Texts
    clusters: StateReader

    def now_after(self, known: str | None) -> datetime:
        """The time, but always after `known` (ISO 8601): where the clock was put back, the last word still counts."""
        now = self.clock()
        return now if known is None else max(now, datetime.fromisoformat(known) + timedelta(microseconds=1))

    async def publish_until_shown(self, record: Record, shown: Callable[[], bool]) -> bool:
        """Publish, then wait until `shown` finds the record's effect in the store.

        Returns:
            Whether the store showed it in time; then it is durable.
        """
        await self.streams.publish(record)
        return await self.wait_until_shown(shown)

    async def wait_until_shown(self, shown: Callable[[], bool]) -> bool:
        """Wait until `shown` finds the effect of what was published; whether it did in time."""
        with anyio.move_on_after(self.settings.shown_within_s):
            while not await to_thread.run_sync(shown):
                await anyio.sleep(_POLL_S)
            return True
        return False


def service_of(request: Request) -> Service:
    """The service that the app was created with."""
    return request.app.state.service


Given = Annotated[Service, Depends(service_of)]
