"""Server-sent events: what a streamed answer's bytes say.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from collections.abc import Iterator


class EventStream:
    """Takes bytes as they come and gives the data of each event that is complete.

    Lines end at LF, CR or both, and at nothing else: `str.splitlines`, and with it httpx's `aiter_lines`, also cuts at
    U+2028 and U+0085, which may stand unescaped within a JSON text.
    """

    def __init__(self) -> None:
        self._held = b""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Data of the events that end in this chunk."""
        lines = (self._held + chunk).splitlines(keepends=True)
        # The last line may go on; after a CR, an LF may follow.
        self._held = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        for line in lines:
            yield from self._line(line)

    def end(self) -> Iterator[str]:
        """Data of an event that no blank line ended: some servers leave the last one out."""
        held, self._held = self._held, b""
        yield from self._line(held)
        yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[str]:
        name, _, value = line.rstrip(b"\r\n").decode("utf-8", "replace").partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        elif not name and not value and self._data:
            yield "\n".join(self._data)
            self._data = []
