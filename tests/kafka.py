"""Real Kafka for tests: a cluster of this machine's own, which a test may hurt. See deploy/kafka/run.py."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

RUN = Path(__file__).parent.parent / "deploy" / "kafka" / "run.py"


class KafkaMissing(Exception):
    """This machine has not what Kafka needs."""


@contextmanager
def running(data: Path, nodes: int = 1, port: int = 0, security: Path | None = None) -> Iterator["Kafka"]:
    """A cluster for the length of the `with` block; the test is skipped where there can be none."""
    try:
        cluster = Kafka(data, nodes, port, security)
    except KafkaMissing as missing:
        pytest.skip(f"no real Kafka here: {missing}")
    try:
        yield cluster
    finally:
        cluster.end()


class Kafka:
    """A running cluster; nodes are numbered from 1.

    Args:
        data: an empty folder.
        port: the first node's; 0: any free ones.
        security: see `node.Security` in deploy/kafka; then `certified` are the addresses for client certificates.

    Raises:
        KafkaMissing: no Java, no Maven, or no jars to be had.
    """

    def __init__(self, data: Path, nodes: int = 1, port: int = 0, security: Path | None = None) -> None:
        command = [sys.executable, str(RUN), "--data", str(data), "--nodes", str(nodes), "--port", str(port)]
        command += ["--security", str(security)] if security else []
        # Its end comes with ours: it ends its nodes when its standard input closes.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = self._answer()
        self.address: str = ready["bootstrap"]
        self.certified = ",".join(f"127.0.0.1:{node['certified_port']}" for node in ready["nodes"] if security)
        self._inner = ",".join(f"127.0.0.1:{node['inner_port']}" for node in ready["nodes"])

    def kill(self, node: int) -> None:
        """SIGKILL a node."""
        self._tell(f"kill {node}")

    def start(self, node: int) -> None:
        """Start a killed node again on its data; returns when it answers (some 8 s: its old session must end)."""
        self._tell(f"start {node}")

    def pause(self, node: int) -> None:
        """SIGSTOP a node."""
        self._tell(f"pause {node}")

    def resume(self, node: int) -> None:
        """SIGCONT a node."""
        self._tell(f"resume {node}")

    def wipe(self) -> None:
        """Delete every topic, and with it every group's offsets; groups without members go as well."""
        admin = AdminClient({"bootstrap.servers": self._inner, "log_level": 2})
        groups = [group.group_id for group in admin.list_consumer_groups().result().valid]
        for future in (admin.delete_consumer_groups(groups) if groups else {}).values():
            future.exception()
        topics = self._topics(admin)
        for future in (admin.delete_topics(topics, operation_timeout=30) if topics else {}).values():
            future.result()
        # A broker lists deleted topics for a moment: what starts then takes them for there.
        until = time.monotonic() + 30
        while self._topics(admin):
            assert time.monotonic() < until, f"{self._inner} still lists deleted topics"
            time.sleep(0.05)

    @staticmethod
    def _topics(admin: AdminClient) -> list[str]:
        return [name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")]

    def end(self) -> None:
        """End every node."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"event": "failed", "reason": "it ended"}
        if answer["event"] == "missing":
            raise KafkaMissing(answer["reason"])
        if answer["event"] == "failed":
            raise RuntimeError(f"{RUN.name}: {answer['reason']}")
        return answer
