"""A clip table that changes while it is read."""

from collections.abc import Callable
from typing import Any

from store.clips import ClipTable


class Meanwhile:
    """Reads as the table does; once it was read so many times, something else happens."""

    def __init__(self, clips: ClipTable, reads: int, happens: Callable[[], None]) -> None:
        self._clips = clips
        self._left = reads
        self._happens = happens

    @property
    def has_happened(self) -> bool:
        return self._left <= 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._clips, name)
        if name not in ("select", "get_many", "top"):
            return found

        def read(*args: Any, **kwargs: Any) -> Any:
            rows = found(*args, **kwargs)
            self._left -= 1
            if self._left == 0:
                self._happens()
            return rows

        return read
