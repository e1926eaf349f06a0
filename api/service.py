"""What every route is given: the store to read, a way to publish, the settings and the clock."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import anyio
from anyio import to_thread
from fastapi import Depends, Request

from store.records import Json, Record
from store.store import Store

Publish = Callable[[Record], Awaitable[None]]
"""Put a record on its topic; returns when the broker has it."""
Replay = Callable[[Json], Awaitable[None]]
"""Put the original record of a dead letter (its document) back on the topic it came from."""
BrokerReady = Callable[[], Awaitable[bool]]

_POLL_S = 0.05


@dataclass(frozen=True)
class ApiSettings:
    """What the API may do.

    allowed_folders: footage may be submitted by path from inside these; none: by upload only.
    uploads_folder: where an upload lies until it is in media storage.
    shown_within_s: how long an answer waits for the store to show a published record.
    """

    allowed_folders: tuple[Path, ...]
    uploads_folder: Path
    shown_within_s: float = 10.0


@dataclass(frozen=True)
class Service:
    """The store is only read here; whatever changes it is published as a record."""

    store: Store
    publish: Publish
    replay: Replay
    broker_ready: BrokerReady
    settings: ApiSettings
    clock: Callable[[], datetime]

    async def publish_until_shown(self, record: Record, shown: Callable[[], bool]) -> bool:
        """Publish, then wait until `shown` finds the record's effect in the store.

        Returns:
            Whether the store showed it in time; then it is durable.
        """
        await self.publish(record)
        with anyio.move_on_after(self.settings.shown_within_s):
            while not await to_thread.run_sync(shown):
                await anyio.sleep(_POLL_S)
            return True
        return False


def service_of(request: Request) -> Service:
    """The service that the app was created with."""
    return request.app.state.service


Given = Annotated[Service, Depends(service_of)]
