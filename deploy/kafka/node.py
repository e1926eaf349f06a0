"""One node of the cluster: its settings, its process, and whether it answers."""

import contextlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLUSTER_ID = "cliploom-kafka-clusteQ"
"""16 bytes in base64url; a cluster here is never joined by another's nodes."""
LONGEST_MESSAGE_BYTES = (4 << 20) + (64 << 10)
"""Our clients send up to 4 MiB, and a batch has a head."""
ANSWER_WITHIN_S = 60.0
_JVM = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
"""For a broker that starts quickly on a small machine; not for a busy one."""


class Failed(Exception):
    """A node that did not do as it was told."""


@dataclass(frozen=True)
class Security:
    """TLS and SASL of the listener for clients.

    folder: holds `ca.pem`, `server.pem` (PKCS#8 key and certificates) and `users.json`, names to passwords.
    """

    folder: Path

    def users(self) -> dict[str, str]:
        """Passwords by name."""
        users: dict[str, str] = json.loads((self.folder / "users.json").read_text(encoding="utf-8"))
        return users

    def properties(self) -> dict[str, str]:
        """Settings of the listeners CLIENT (SASL over TLS) and CERTIFIED (clients show a certificate)."""
        login = "org.apache.kafka.common.security"
        passwords = " ".join(f'user_{name}="{password}"' for name, password in self.users().items())
        scram = f"{login}.scram.ScramLoginModule required;"
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "server.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.folder / "ca.pem"),
            "listener.name.client.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.client.plain.sasl.jaas.config": f"{login}.plain.PlainLoginModule required {passwords};",
            "listener.name.client.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.client.scram-sha-512.sasl.jaas.config": scram,
            "listener.name.certified.ssl.client.auth": "required",
        }

    def format_arguments(self) -> list[str]:
        """SCRAM's users are kept in the cluster's metadata."""
        return [
            argument
            for name, password in self.users().items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for argument in ("--add-scram", f"{mechanism}=[name={name},password={password}]")
        ]


class Node:
    """Broker and controller in one process.

    Args:
        port: for clients.
        inner_port: for the other brokers, and for asking whether it answers; never secured.
        certified_port: for clients that show a certificate, where there is security.
        controllers: port of each node's controller.
    """

    def __init__(
        self,
        id_: int,
        jars: Path,
        folder: Path,
        *,
        port: int,
        inner_port: int,
        certified_port: int,
        controllers: Mapping[int, int],
        security: Path | None,
    ) -> None:
        self.id = id_
        self._jars = jars
        self._folder = folder.resolve()
        self._port = port
        self._inner_port = inner_port
        self._certified_port = certified_port
        self._controllers = controllers
        self._security = Security(security.resolve()) if security else None
        self._process: subprocess.Popen[bytes] | None = None

    def described(self) -> dict[str, object]:
        """What others are told of it."""
        pid = self._process and self._process.pid
        told: dict[str, object] = {"id": self.id, "pid": pid, "port": self._port, "inner_port": self._inner_port}
        return told | ({"certified_port": self._certified_port} if self._security else {})

    def format(self) -> Callable[[], None]:
        """Write the settings and begin to format the data folder where it is new; call the result to wait.

        Raises:
            Failed: the settings or the folder cannot be used.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "server.properties"
        settings.touch(mode=0o600)  # It may hold passwords.
        settings.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
        if (self._folder / "log" / "meta.properties").exists():
            return lambda: None
        users = self._security.format_arguments() if self._security else []
        arguments = ["format", "--cluster-id", CLUSTER_ID, "--config", str(settings), *users]
        log = (self._folder / "kafka.log").open("ab")
        formatting = subprocess.Popen(
            self._java("kafka.tools.StorageTool", *arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )

        def wait() -> None:
            if formatting.wait():
                raise Failed(f"node {self.id} could not be formatted: {self._last_words()}")

        return wait

    def start(self) -> None:
        """Start the process.

        Raises:
            Failed: it runs already.
        """
        if self._process is not None and self._process.poll() is None:
            raise Failed(f"node {self.id} is running")
        log = (self._folder / "kafka.log").open("ab")
        command = self._java("kafka.Kafka", str(self._folder / "server.properties"))
        # A group of its own: Ctrl-C in a terminal is for us alone, we end the nodes.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def wait_until_it_knows(self, ids: set[int]) -> None:
        """Wait until the node answers, and counts these nodes among the living.

        Raises:
            Failed: the node ended, or that took too long.
        """
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while not ids <= _living(self._inner_port):
            if self._process is None or self._process.poll() is not None:
                raise Failed(f"node {self.id} ended: {self._last_words()}")
            if time.monotonic() > deadline:
                raise Failed(f"node {self.id} gave no answer within {ANSWER_WITHIN_S:.0f} s: {self._last_words()}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def pause(self) -> None:
        """Stop it where it is: its connections stay and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused node go on."""
        self._signal(signal.SIGCONT)

    def ask_to_end(self) -> None:
        """Ask it to hand over and end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)

    def end(self, within_s: float) -> None:
        """Wait for its end, and kill it after that."""
        if self._process is not None:
            try:
                self._process.wait(within_s)
            except subprocess.TimeoutExpired:
                self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            raise Failed(f"node {self.id} is not running")
        os.kill(self._process.pid, number)

    def _java(self, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}"
        return ["java", *_JVM, logging, "-cp", f"{self._jars}/*", main, *arguments]

    def _last_words(self) -> str:
        log = self._folder / "kafka.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = "\n".join(line for line in lines if not line.startswith("\t"))  # Java's stack traces are left out.
        return f"{said[-1500:] or 'without a word'} ({log})"

    def _properties(self) -> dict[str, str]:
        copies = min(3, len(self._controllers))
        listeners = {"CLIENT": self._port, "INNER": self._inner_port}
        protocols = {"CLIENT": "PLAINTEXT", "INNER": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
        if self._security:
            listeners["CERTIFIED"] = self._certified_port
            protocols |= {"CLIENT": "SASL_SSL", "CERTIFIED": "SSL"}
        addresses = [f"{name}://127.0.0.1:{port}" for name, port in listeners.items()]
        controller = f"CONTROLLER://127.0.0.1:{self._controllers[self.id]}"
        voters = (f"{id_}@127.0.0.1:{port}" for id_, port in self._controllers.items())
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.id),
            "controller.quorum.voters": ",".join(voters),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "INNER",
            "listeners": ",".join([*addresses, controller]),
            "advertised.listeners": ",".join(addresses),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
            "log.dirs": str(self._folder / "log"),
            "default.replication.factor": str(copies),
            "offsets.topic.replication.factor": str(copies),
            "transaction.state.log.replication.factor": str(copies),
            "min.insync.replicas": str(max(1, copies - 1)),
            "transaction.state.log.min.isr": str(max(1, copies - 1)),
            **_SMALL_AND_QUICK,
            **(self._security.properties() if self._security else {}),
        }


_SMALL_AND_QUICK = {
    # Topics are made by the service (streams/topics.py), never by a typing error.
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(LONGEST_MESSAGE_BYTES),
    "replica.fetch.max.bytes": str(LONGEST_MESSAGE_BYTES),
    "offsets.topic.num.partitions": "4",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
    # A killed node is missed soon, and may come back soon.
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "500",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
}


def _living(port: int) -> set[int]:
    """Ids of the brokers that the node at a port counts among the living; empty where nothing answers.

    Asks for Kafka's metadata, version 1, of no topic.
    """
    request = struct.pack(">hhihi", 3, 1, 0, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                answer = stream.read(size)
    except (OSError, struct.error):
        return set()
    (n_brokers,) = struct.unpack_from(">i", answer, 4)
    at, ids = 8, set()
    for _ in range(n_brokers):
        id_, host = struct.unpack_from(">ih", answer, at)
        (rack,) = struct.unpack_from(">h", answer, at + 6 + host + 4)
        at += 6 + host + 4 + 2 + max(0, rack)
        ids.add(id_)
    return ids


def free_ports(n: int) -> list[int]:
    """Ports of the loopback interface that nothing uses now, all different.

    Below those that the kernel gives to outgoing connections, so that a killed node finds its own again.
    """
    held: list[socket.socket] = []
    while len(held) < n:
        with contextlib.suppress(OSError):
            held.append(socket.create_server(("127.0.0.1", random.randrange(20_000, 32_000))))
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return ports


def check_free(ports: Iterable[int]) -> None:
    """Say so before a broker starts: its log would bury it.

    Raises:
        Failed: a port is taken.
    """
    for port in ports:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            raise Failed(f"port {port} is taken: {error.strerror}; choose another with --port") from error
