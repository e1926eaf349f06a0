"""What the ranks of `test_together` do; light, since each rank is a process that imports it."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from store.errors import InputError
from streams.ranks import Link


def make_rank(made_of: str) -> Callable[[Any, Link], Any]:
    """Rank 0 gives the others a word, and every rank does what the request says of it, `once` a file is there."""

    def work(request: dict[Any, Any], link: Link) -> Any:
        deed, value = request.get(link.rank, ("nothing", None))
        if link.rank == 0:
            link.emit(os.getpid())
            if deed == "refuse":
                raise InputError(value)
            link.call("the word")
        told = "" if link.rank == 0 else link.called()
        if deed in ("refuse", "die") and "once" in request:
            _wait_for(request["once"])
        if deed == "leave":
            Path(value).write_text(f"{told} {os.getpid()}")
        elif deed == "refuse":
            raise InputError(value)
        elif deed == "bereaved":
            _wait_for(value)
            _wait_until_gone(int(Path(value).read_text()))
            raise ConnectionResetError("the other is gone")
        elif deed == "bug":
            raise ZeroDivisionError(value)
        elif deed == "die":
            if value is not None:
                Path(value).write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        elif deed == "sleep":
            Path(value).write_text(str(os.getpid()))
            time.sleep(600)
        return made_of, link.size, deed

    return work


def _wait_for(file: Path) -> None:
    """Until another rank has written it."""
    while not file.is_file() or not file.read_text():
        time.sleep(0.05)


def _wait_until_gone(pid: int) -> None:
    """Until a process has ended, whether or not anybody has taken note of it."""
    state = Path(f"/proc/{pid}/stat")
    with suppress(FileNotFoundError, ProcessLookupError):
        while state.read_text().split()[2] != "Z":
            time.sleep(0.005)
