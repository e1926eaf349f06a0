"""A lock on a data folder, held by one process at a time and freed by the operating system when it ends."""

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import Conflict, SettingsError

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5


@contextmanager
def hold(path: Path, wait_s: float | None = None) -> Iterator[int]:
    """Holds the lock file `path` for the length of the `with` block; gives its descriptor.

    Args:
        wait_s: how long another holder's end is waited for; None: for ever.

    Raises:
        Conflict: another process holds it.
        SettingsError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise SettingsError(f"folder {path.parent} cannot be written: {error.strerror}; choose another") from error
    with stream:
        started = time.monotonic()
        told = False
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if wait_s is not None and time.monotonic() - started > wait_s:
                    raise Conflict(
                        f"another process works on {path.parent}; end it, or choose another folder"
                    ) from error
            if not told:
                log.info("waiting for the process that holds %s to end", path)
                told = True
            time.sleep(_LOOK_EVERY_S)
        yield stream.fileno()
