"""Heavy work in a killable child process, one piece at a time, with messages on the way."""

import asyncio
import errno
import importlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from store.errors import CliploomError, Passing, Unavailable

Work = Callable[[Any, Callable[[Any], None]], Any]
"""(request, emit) -> result; runs in the child. `emit(message)` reaches `on_message` in the parent."""


_SHARED = ("av", "cv2", "lance_namespace", "pandas", "scipy.stats", "torch")
"""What most workers import, and what starts no thread of Python's when it is imported (lancedb does)."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class WorkerFault(Exception):
    """An error of the worker's program; holds its traceback."""


class Child:
    """A process that makes its worker once and serves requests.

    The process starts at the first request, is replaced after it died or was killed, dies with its parent, and
    leaves Ctrl-C to it. Only the child imports the worker's module, so that what models need stays out of here.
    Children are forked from one process that did nothing but import what most of them need: they start sooner and
    share that memory.

    Args:
        name: for messages.
        module: name of a module with `make_worker(*arguments) -> Work`; it may load models.
        arguments: picklable.
    """

    def __init__(self, name: str, module: str, *arguments: Any) -> None:
        self._name = name
        self._module = module
        self._arguments = arguments
        self._process: Any = None
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    async def run(
        self, request: Any, time_limit_s: float, on_message: Callable[[Any], Awaitable[None]] | None = None
    ) -> Any:
        """The worker's result.

        Raises:
            CliploomError: what the worker raised.
            WorkerFault: it raised something else; it is replaced then.
            Passing: the child died or outran its time limit (it is killed then).
        """
        async with self._lock:
            connection = self._ensure()
            deadline = asyncio.get_running_loop().time() + time_limit_s
            finished = False
            try:
                connection.send(request)
                while True:
                    left_s = deadline - asyncio.get_running_loop().time()
                    kind, payload = await asyncio.to_thread(self._receive, connection, left_s)
                    if kind == "message":
                        if on_message is not None:
                            await on_message(payload)
                        continue
                    finished = True
                    if kind == "error":
                        # What a fault of the program left behind is not to be trusted with the next request.
                        finished = not isinstance(payload, WorkerFault)
                        raise payload
                    return payload
            except TimeoutError as error:
                raise Passing(
                    f"{self._name} took longer than its limit of {time_limit_s:.0f} s and was stopped"
                ) from error
            except (EOFError, OSError) as error:
                code = self._exit_code()
                raise Passing(
                    f"{self._name} process died (exit code {code}); out of memory or a decoder crash?"
                ) from error
            finally:
                if not finished:
                    self.kill()

    def kill(self) -> None:
        """End the process now; the next `run` starts another."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ensure(self) -> Connection:
        if self._process is not None and self._process.is_alive() and self._connection is not None:
            return self._connection
        self.kill()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_SHARED))
        ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(theirs, dict(os.environ), self._module, self._arguments),
            name=self._name,
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self._connection = ours
        return ours

    def _exit_code(self) -> int | None:
        if self._process is None:
            return None
        self._process.join(timeout=1.0)
        return self._process.exitcode

    @staticmethod
    def _receive(connection: Connection, left_s: float) -> tuple[str, Any]:
        if not connection.poll(max(0.0, left_s)):
            raise TimeoutError
        return connection.recv()


def _serve(connection: Connection, environ: dict[str, str], module: str, arguments: tuple[Any, ...]) -> None:
    # The process that we were forked from has the environment of when it started.
    os.environ.clear()
    os.environ.update(environ)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    work: Work | None = None
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return

        def answer(request: Any = request) -> Any:
            nonlocal work
            work = work or importlib.import_module(module).make_worker(*arguments)
            return work(request, lambda message: connection.send(("message", message)))

        connection.send(answered(answer))


def answered(work: Callable[[], Any]) -> tuple[Literal["result", "error"], Any]:
    """What work gives, or the error that it ends with, as one that can be told elsewhere."""
    try:
        return "result", work()
    except CliploomError as error:
        return "error", error
    except MemoryError:
        return "error", Passing("out of memory")
    except Exception as error:  # noqa: BLE001  whatever it is, the parent tells it and the record is not lost
        full = isinstance(error, OSError) and error.errno in _NO_ROOM
        return "error", Unavailable(f"no room to work: {error}") if full else WorkerFault(traceback.format_exc())


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
