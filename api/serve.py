"""The whole service on one machine: the streaming child, and the REST API in this process."""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import uvicorn

from api.app import create_app
from api.child import Elsewhere, StreamsChild
from api.lag import GroupLags
from api.publish import Publisher
from api.service import ApiSettings
from api.streaming import KafkaStreams
from api.texts import TextChild
from store.errors import Conflict, SettingsError
from store.gate import load_gate
from store.kafka import KafkaSettings
from store.store import Store
from trainer.scheduler_settings import load_training

log = logging.getLogger(__name__)

_LOCK_WAIT_S = 20.0
"""A killed service's steps end by themselves; they are waited for this long."""
_LEAVE_AFTER_S = 4.5
"""From the signal, and the grace, to the end of the process, whatever still runs: a request that reads a large file,
say."""


@dataclass(frozen=True)
class ServeSettings:
    """Where the service runs; read once, from the command line.

    streams_command: starts the streaming service (see `api.child`); None: the workers run elsewhere.
    texts_command: starts the model that compares texts with clips (see `api.texts`).
    gate: TOML file of what holds clips back, the workers' own; None: the default numbers.
    training: TOML file of when to train, the workers' own; None: the default numbers.
    kafka: the cluster; None: the broker that the streaming service embeds.
    grace_s: how long busy steps may take to finish what they have in hand at a stop.
    """

    data: Path
    host: str
    port: int
    allowed_folders: tuple[Path, ...]
    streams_command: tuple[str, ...] | None
    texts_command: tuple[str, ...]
    gate: Path | None = None
    training: Path | None = None
    kafka: KafkaSettings | None = None
    grace_s: float = 0.0


class Server(uvicorn.Server):
    """A uvicorn that leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def serve(settings: ServeSettings, on_ready: Callable[[str, str], None]) -> NoReturn:
    """Run until SIGINT or SIGTERM, and end the process with code 0 within 5 seconds, and the grace, of it.

    Args:
        on_ready: told the API's URL and the broker's address once requests are answered.

    Raises:
        Conflict: the port is taken, or another service works on the data folder.
        SettingsError: the data folder cannot be written, or the streaming service refused its settings.
    """
    with _listening(settings.host, settings.port) as listener:
        if settings.streams_command is None:
            assert settings.kafka is not None, "workers elsewhere are reached by a cluster"
            is_made = (settings.data / "lance" / "clips.lance").exists
            # One folder may serve several of these.
            uploads = settings.data / f"uploads-{socket.gethostname()}-{listener.getsockname()[1]}"
            _run(settings, Elsewhere(settings.kafka.address, is_made), uploads, listener, on_ready)
        else:
            with _locked(settings.data) as lock:
                child = StreamsChild(settings.streams_command, (lock,), settings.grace_s)
                _run(settings, child, settings.data / "uploads", listener, on_ready)


def _run(
    settings: ServeSettings,
    child: StreamsChild | Elsewhere,
    uploads: Path,
    listener: socket.socket,
    on_ready: Callable[[str, str], None],
) -> NoReturn:
    shutil.rmtree(uploads, ignore_errors=True)
    asyncio.run(_serve(settings, child, uploads, listener, on_ready))
    _leave()


async def _serve(
    settings: ServeSettings,
    child: StreamsChild | Elsewhere,
    uploads: Path,
    listener: socket.socket,
    on_ready: Callable[[str, str], None],
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _stop_soon, stop, _LEAVE_AFTER_S + settings.grace_s)
    stopped = asyncio.create_task(stop.wait())
    living = asyncio.create_task(child.run())
    ready = asyncio.create_task(child.ready.wait())
    texts = TextChild(settings.texts_command)
    server: Server | None = None
    serving: asyncio.Task[None] | None = None
    try:
        await asyncio.wait({stopped, living, ready}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            server = await _api(settings, child, texts, uploads)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            on_ready(f"http://{host}:{listener.getsockname()[1]}", child.broker or "")
            await asyncio.wait({stopped, living, serving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if server is not None:
            server.should_exit = True
        await texts.stop()
        await child.stop()
        if serving is not None:
            await serving
    if living.done():
        living.result()
    living.cancel()
    ready.cancel()
    stopped.cancel()


async def _api(settings: ServeSettings, child: StreamsChild | Elsewhere, texts: TextChild, uploads: Path) -> Server:
    store = await asyncio.to_thread(Store.open, settings.data)

    def kafka() -> KafkaSettings | None:
        return settings.kafka or (KafkaSettings(child.broker) if child.broker else None)

    streams = KafkaStreams(Publisher(kafka), GroupLags(kafka), lambda: child.metrics)
    gate, training = load_gate(settings.gate), load_training(settings.training)
    api_settings = ApiSettings(settings.allowed_folders, uploads, gate, training)
    app = create_app(store, streams, api_settings, texts)
    return Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2, lifespan="off"))


def _stop_soon(stop: asyncio.Event, leave_after_s: float) -> None:
    if not stop.is_set():
        log.info("stopping")
        # A thread that reads a large upload cannot be interrupted, and nothing that it does needs an end.
        last = threading.Timer(leave_after_s, _leave)
        last.daemon = True
        last.start()
    stop.set()


def _leave() -> NoReturn:
    """End the process at once: taking the interpreter apart would take a second or more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens before anything is started; early requests wait until they can be answered.

    Raises:
        Conflict: the port is taken.
        SettingsError: the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(f"host {host!r} is no address of this machine: {error}; give --host 127.0.0.1") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen()
        except OSError as error:
            raise Conflict(
                f"port {port} of {host} cannot be used: {error.strerror}; is a service running? Choose another --port"
            ) from error
        yield listener


@contextlib.contextmanager
def _locked(data: Path) -> Iterator[int]:
    """Holds the data folder's lock: one service at a time writes it.

    The streaming child inherits the descriptor, so that the lock stays until the last writer of a killed
    service has ended.

    Raises:
        Conflict: another service holds it.
        SettingsError: the folder cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        stream = (data / ".lock").open("a")
    except OSError as error:
        raise SettingsError(
            f"data folder {data} cannot be written: {error.strerror}; choose another with --data"
        ) from error
    with stream:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise Conflict(
                        f"another service works on data folder {data}; end it, or choose another with --data"
                    ) from error
                log.info("waiting for the last service on %s to end", data)
                time.sleep(1.0)
        yield stream.fileno()
