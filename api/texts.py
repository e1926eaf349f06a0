"""Vectors of texts, from a child process: the API itself loads no model."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

from store.errors import InputError, ModelUnavailable, Passing, SettingsError
from store.records import Json

_REFUSALS = {kind.__name__: kind for kind in (ModelUnavailable, SettingsError, InputError)}


class TextChild:
    """Runs `command` from the first text on, and again after it ended; see `api.texts_worker` for what it says.

    It must end when its standard input closes: so it ends even when this process is killed. One text at a time: a
    text takes a tenth of a second, but the first waits until the model is loaded.

    Args:
        within_s: for one text, loading included; then the child is killed.
    """

    def __init__(self, command: Sequence[str], within_s: float = 100.0) -> None:
        self._command = command
        self._within_s = within_s
        self._process: Process | None = None
        self._lock = asyncio.Lock()

    async def encode(self, text: str) -> list[float]:
        """The text's vector, of the column `visual_text`.

        Raises:
            ModelUnavailable, SettingsError: the profile has no such model, or it is not on this machine.
            Passing: the child died or was too slow.
        """
        async with self._lock:
            answered = False
            try:
                answer = await asyncio.wait_for(self._asked(text), self._within_s)
                answered = True
            except TimeoutError as error:
                raise Passing(f"the text model took longer than {self._within_s:g} s and was stopped") from error
            except (OSError, ValueError) as error:
                raise Passing(f"the text model's process died ({error}); out of memory?") from error
            finally:
                if not answered:
                    await self.stop()
        if (kind := answer.get("error")) is not None:
            raise _REFUSALS[kind](answer["reason"])
        return answer["vector"]

    async def stop(self) -> None:
        """End the child now; the next text starts another."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def _asked(self, text: str) -> Json:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, start_new_session=True, limit=1 << 20
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(text).encode() + b"\n")
        await self._process.stdin.drain()
        return json.loads(await self._process.stdout.readline())
