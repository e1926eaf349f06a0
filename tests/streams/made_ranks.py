"""What the ranks of `test_together` do; light, since each rank is a process that imports it."""

import os
import signal
import time
from collections.abc import Callable
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
            Path(value).write_text(str(os.getpid()))
            time.sleep(0.02)
            raise ConnectionResetError("the other is gone")
        elif deed == "bug":
            raise ZeroDivisionError(value)
        elif deed == "die":
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
