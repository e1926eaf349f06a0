"""One of several processes of this machine that share work (`streams.together` launches them), one to a device."""

import importlib
import os
import sys
import threading
import time
from multiprocessing.connection import Client, Connection
from typing import Any

from streams.child import answered

_LOOK_EVERY_S = 0.2


class Link:
    """What a rank has of the others. Rank 0 calls them once, and tells how far it is; the others wait for the call."""

    def __init__(self, rank: int, size: int, connection: Connection) -> None:
        self.rank = rank
        self.size = size
        self._connection = connection

    def call(self, message: Any) -> None:
        """Give the other ranks what they wait for."""
        self._connection.send(("call", message))

    def called(self) -> Any:
        """What rank 0 gives; returns once it does."""
        return self._connection.recv()

    def emit(self, message: Any) -> None:
        """Tell the process that launched."""
        self._connection.send(("message", message))


def main(address: str, launched_by: int) -> int:
    """A rank's life; returns its exit code."""
    threading.Thread(target=_die_with, args=(launched_by,), daemon=True).start()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with Client(address, "AF_UNIX") as connection:
        connection.send(rank)
        module, arguments, request = connection.recv()
        link = Link(rank, size, connection)
        kind, payload = answered(lambda: importlib.import_module(module).make_rank(*arguments)(request, link))
        connection.send((kind, payload))
    return int(kind == "error")


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


if __name__ == "__main__":
    code = main(sys.argv[1], int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(code)
