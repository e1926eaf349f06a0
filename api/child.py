"""The streaming service as a child process of the API, started again whenever it dies; or its absence."""

import asyncio
import json
import logging
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence

from store.errors import SettingsError

log = logging.getLogger(__name__)

STOP_WITHIN_S = 3.8
"""Then it is killed: the whole service has 5 seconds to end, and the steps take at most 3.6 of them. A grace that busy
steps are given comes on top."""
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
_LOOK_EVERY_S = 0.5
_STEADY_S = 60.0
"""A child that lived this long died of something new: waiting starts over."""


class StreamsChild:
    """Runs `command`; `broker` is the address that it told, None while it is not ready.

    The child says `{"event": "ready", "broker": "host:port", "metrics": "host:port"}` on a line of its standard
    output, or `{"event": "failed", "reason": ...}`. It must end when its standard input closes: so it ends even when
    this process is killed. It leads a process group of its own, so that Ctrl-C reaches it only through us.

    Args:
        keep_open: file descriptors that the child holds open as well, such as the data folder's lock.
        grace_s: how long its busy steps may take to finish what they have in hand when it is told to end.
    """

    def __init__(self, command: Sequence[str], keep_open: Sequence[int] = (), grace_s: float = 0.0) -> None:
        self._command = command
        self._keep_open = keep_open
        self._stop_within_s = STOP_WITHIN_S + grace_s
        self._process: Process | None = None
        self._stopping = False
        self.broker: str | None = None
        self.metrics: str | None = None
        """Where it serves its metrics, `host:port`; None while it is not ready, or serves none."""
        self.ready = asyncio.Event()
        """Set once it was ready for the first time."""

    async def run(self) -> None:
        """Keep it running until `stop`.

        Raises:
            SettingsError: it failed for a reason that it told, before it was ever ready.
        """
        wait_s = FIRST_WAIT_S
        while not self._stopping:
            started = time.monotonic()
            code, reason = await self._live()
            if self._stopping:
                return
            if reason is not None and not self.ready.is_set():
                raise SettingsError(reason)
            if time.monotonic() - started > _STEADY_S:
                wait_s = FIRST_WAIT_S
            why = f" ({reason})" if reason else ""
            log.warning("the streaming service ended with code %s%s; starting it again in %g s", code, why, wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def stop(self) -> None:
        """End it: asked first, killed with all its children after `STOP_WITHIN_S` and the grace."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._stop_within_s)
        except TimeoutError:
            waited_s = self._stop_within_s
            log.warning("the streaming service did not end within %g s and is killed; nothing is lost", waited_s)
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _live(self) -> tuple[int, str | None]:
        """One life of the child: (exit code, reason that it told for failing)."""
        reason = None
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, start_new_session=True, pass_fds=self._keep_open
        )
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = _event(line)
            if event.get("event") == "ready":
                self.broker = event["broker"]
                self.metrics = event.get("metrics")
                self.ready.set()
                log.info("the streaming service is ready, its broker is %s", self.broker)
            elif event.get("event") == "failed":
                reason = event["reason"]
        self.broker = self.metrics = None
        return await self._process.wait(), reason


class Elsewhere:
    """Stands where the child would, for a service whose workers run elsewhere.

    Args:
        broker: the cluster's address.
        is_made: whether a worker has made the store; until then there is nothing to serve.
    """

    def __init__(self, broker: str, is_made: Callable[[], bool]) -> None:
        self._is_made = is_made
        self.broker: str | None = broker
        self.metrics: str | None = None
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Wait for the store, and then for ever."""
        if not self._is_made():
            log.info("waiting for the first worker to make the store")
        while not self._is_made():
            await asyncio.sleep(_LOOK_EVERY_S)
        self.ready.set()
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """There is nothing to end."""


def _event(line: bytes) -> dict[str, str]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        log.info("streams: %s", line.decode(errors="replace").rstrip())
        return {}
    return event
