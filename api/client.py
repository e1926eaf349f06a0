"""The command line's side of the REST API."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from store.files import replacing
from store.records import Json

_TIMEOUT = httpx.Timeout(10.0, read=120.0, write=120.0)
"""Reading a large file before it is answered for takes the service a while."""


class Refused(Exception):
    """The service refused a request, or none answered; `problem` is in the shape of `api.bodies.Problem`."""

    def __init__(self, problem: Json) -> None:
        super().__init__(problem["what"])
        self.problem = problem


class Client:
    """Calls a service by its URL.

    Every call raises `Refused` where the service refuses, or where no service answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=_TIMEOUT, trust_env=False)

    @property
    def is_local(self) -> bool:
        """Whether the service runs on this machine, by its URL, so that it sees the same files."""
        host = httpx.URL(self.url).host
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def get(self, path: str, /, **query: Any) -> Any:
        """The answer's JSON; queries that are None are left out."""
        return self._call("GET", path, params={name: value for name, value in query.items() if value is not None})

    def get_text(self, path: str) -> str:
        """The answer's text, such as a page."""
        return self._answer("GET", path).text

    def download(self, path: str, to: Path) -> None:
        """Write the answer's bytes to a file, which is there as a whole or not at all."""
        with self._answering("GET", path), self._http.stream("GET", path) as answer:
            if not answer.is_success:
                answer.read()
                raise self._refusal("GET", path, answer)
            with replacing(to) as unfinished, unfinished.open("wb") as file:
                for some in answer.iter_bytes():
                    file.write(some)

    def post(self, path: str, /, **body: Any) -> Any:
        """The answer's JSON; fields that are None are left out."""
        return self._call("POST", path, json={name: value for name, value in body.items() if value is not None})

    def upload(self, stream: BinaryIO, name: str, source: str, licence: str | None) -> Any:
        """Send a video's bytes."""
        form = {"source": source} | ({"licence": licence} if licence else {})
        return self._call("POST", "/footage/upload", files={"file": (name, stream)}, data=form)

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def _call(self, method: str, path: str, **sent: Any) -> Any:
        return self._answer(method, path, **sent).json()

    def _answer(self, method: str, path: str, **sent: Any) -> httpx.Response:
        with self._answering(method, path):
            answer = self._http.request(method, path, **sent)
        if answer.is_success:
            return answer
        raise self._refusal(method, path, answer)

    @contextmanager
    def _answering(self, method: str, path: str) -> Iterator[None]:
        """Where no service answers inside the block, that is a refusal."""
        try:
            yield
        except httpx.ConnectError as error:
            raise Refused(_no_service(self.url, method, path, str(error))) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what = f"the service at {self.url} did not answer: {error or type(error).__name__}"
            raise Refused(_problem("Passing", what, f"{method} {path}", "try again; see the service's log")) from error

    def _refusal(self, method: str, path: str, answer: httpx.Response) -> Refused:
        """What an answer that is no success tells."""
        try:
            return Refused(answer.json())
        except (ValueError, KeyError):
            what = f"{self.url} answered {answer.status_code}, but not as Cliploom does: {answer.text[:200]}"
            return Refused(_problem("HTTPError", what, f"{method} {path}", "give the service's URL with --url"))


@contextmanager
def connected(url: str) -> Iterator[Client]:
    """A client for the length of the `with` block."""
    client = Client(url)
    try:
        yield client
    finally:
        client.close()


def submit(client: Client, path: Path, stream: BinaryIO, source: str, licence: str | None) -> Json:
    """Submit a file: by its path where the service is on this machine and may read it, else by upload."""
    if client.is_local:
        try:
            return client.post("/footage", path=str(path.resolve()), source=source, licence=licence)
        except Refused as refused:
            if refused.problem["error"] != "OutsideAllowedFolders":
                raise
    return client.upload(stream, path.name, source, licence)


def _no_service(url: str, method: str, path: str, why: str) -> Json:
    what = f"no service answers at {url} ({why})"
    return _problem("NoService", what, f"{method} {path}", "start one with `cliploom up`, or give its URL with --url")


def _problem(error: str, what: str, where: str, remedy: str) -> Json:
    return {"error": error, "what": what, "where": where, "remedy": remedy}
