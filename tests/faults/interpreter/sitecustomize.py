"""Read by the interpreter of each worker that has this folder in its PYTHONPATH: an object store that often fails.

It is the protocol `flaky`, a local folder of which one call in five is not answered.
"""

import random
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

FAULTS = 0.2


class Flaky(AbstractFileSystem):
    """A folder as if it lay behind a bad network."""

    protocol = "flaky"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._folder = LocalFileSystem(auto_mkdir=True)
        self._random = random.Random()

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._meet_faults()
        self._folder.makedirs(path, exist_ok=exist_ok)

    def exists(self, path: str, **options: Any) -> bool:
        self._meet_faults()
        return bool(self._folder.exists(path))

    def cat_file(self, path: str, *span: int | None, **options: Any) -> bytes:
        self._meet_faults()
        return bytes(self._folder.cat_file(path, *span))

    def rm_file(self, path: str) -> None:
        self._meet_faults()
        self._folder.rm_file(path)

    def find(self, path: str, *depth: Any, **options: Any) -> list[str]:
        self._meet_faults()
        return list(self._folder.find(path))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        self._meet_faults()
        return self._folder.open(path, mode)

    def _meet_faults(self) -> None:
        if self._random.random() < FAULTS:
            raise ConnectionResetError("the object store did not answer")


fsspec.register_implementation(Flaky.protocol, Flaky)
