"""Work that several processes of this machine share, one to a device: they begin and end together.

The processes are started, numbered and watched by PyTorch's elastic launcher, as `accelerate launch` starts them: when
one dies, it ends the others. What they tell comes over a socket to the process that launched them, whose death they
do not outlive.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Listener, wait
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from store.errors import Passing
from streams.child import WorkerFault

_LAST_WORDS_S = 5.0
"""What processes told before they ended is read for at most so long."""


def work_together(size: int, module: str, arguments: tuple[Any, ...], request: Any, emit: Callable[[Any], None]) -> Any:
    """The result of rank 0, once all ranks have ended; called from a process's main thread.

    Args:
        module: name of a module with `make_rank(*arguments) -> work`, and `work(request, link)` is what a rank does.
        emit: is given what rank 0 emits, in another thread.

    Raises:
        CliploomError: what a rank raised first; the others are ended.
        WorkerFault: it raised something else.
        Passing: a rank died.
    """
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder, "ranks"))
        with Listener(address, "AF_UNIX", backlog=size) as listener:
            office = _Office(listener, size, (module, arguments, request), emit)
            reading = threading.Thread(target=office.serve, daemon=True)
            reading.start()
            died = _launch(size, ["-m", "streams.ranks", address, str(os.getpid())])
            reading.join(_LAST_WORDS_S)
    was_killed = died is not None and died[1] < 0
    # Who shares work with one that was killed fails as well, and may be the first to tell.
    if office.error is not None and not (was_killed and isinstance(office.error, Passing | WorkerFault)):
        raise office.error
    if died is not None:
        rank, code = died
        raise Passing(
            f"process {rank} of 0 to {size - 1} that share the work died (exit code {code}), and the others were ended"
            " with it; out of memory, or a fault of its device?"
        )
    return office.result


def _launch(size: int, arguments: list[str]) -> tuple[int, int] | None:
    """Run Python with these arguments so many times, until all have ended; (rank, exit code) of the first to fail."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=size,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        shutdown_timeout=2,
    )
    try:
        elastic_launch(config, sys.executable)(*arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        return rank, failure.exitcode
    return None


class _Office:
    """Gives ranks their work, and hears what comes of it."""

    def __init__(self, listener: Listener, size: int, work: tuple[Any, ...], emit: Callable[[Any], None]) -> None:
        self._listener = listener
        self._size = size
        self._work = work
        self._emit = emit
        self.result: Any = None
        self.error: Exception | None = None

    def serve(self) -> None:
        """Until every rank has ended."""
        connection: Any
        rank_of: dict[Any, int] = {}
        try:
            while len(rank_of) < self._size:
                connection = self._listener.accept()
                rank_of[connection] = connection.recv()
            # None begins before all are there: what one refuses at once ends the others, who could not be waited for.
            for connection in rank_of:
                connection.send(self._work)
        except (EOFError, OSError):
            return  # a rank died on its way here, which the launcher tells
        while rank_of:
            for connection in wait(list(rank_of)):
                try:
                    kind, payload = connection.recv()
                except (EOFError, OSError):
                    del rank_of[connection]
                    continue
                if kind == "message":
                    self._emit(payload)
                elif kind == "call":
                    for other in rank_of:
                        if other is not connection:
                            other.send(payload)
                elif kind == "error":
                    self.error = self.error or payload
                elif rank_of[connection] == 0:
                    self.result = payload
