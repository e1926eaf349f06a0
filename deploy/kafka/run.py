"""Apache Kafka 4 on this machine without Docker: one node or several, in KRaft mode.

    python deploy/kafka/run.py --nodes 3 --data DIR [--port 9092]

Needs Java 17 and, the first time, Maven, which fetches Kafka's jars (pom.xml) into a cache folder. When every node
answers it prints one JSON line `{"event": "ready", "bootstrap": "127.0.0.1:9092,...", "nodes": [...]}`. It ends all
nodes on SIGTERM or SIGINT, or when its standard input closes. On its standard input it takes, one a line and each
answered by a JSON line, `kill N` (SIGKILL), `pause N`, `resume N` and `start N` (again, on the same data): what tests
do to brokers. DIR keeps the cluster's data for the next time.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from node import Failed, Node, check_free, free_ports

HERE = Path(__file__).resolve().parent
JARS = Path.home() / ".cache" / "cliploom" / "kafka-4.0.0"
END_WITHIN_S = 5.0
"""Nodes that have not ended by then are killed: one that lost its quorum would wait for it."""


class Missing(Exception):
    """Something that this machine would need to run Kafka."""


def jars(folder: Path) -> Path:
    """The folder of Kafka's jars, filled by Maven when it is not there.

    Raises:
        Missing: Java or Maven, or what Maven should have fetched.
    """
    if shutil.which("java") is None:
        raise Missing("java is not on the PATH; Kafka 4 needs Java 17 or later")
    if folder.is_dir():
        return folder
    if shutil.which("mvn") is None:
        raise Missing(f"{folder} has no jars of Kafka, and mvn, which would fetch them, is not on the PATH")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        # Copied beside it and renamed: a folder that is there is complete.
        copied = Path(scratch) / "jars"
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={copied}"]
        told = subprocess.run(
            ["mvn", "--batch-mode", "-q", "-f", str(HERE / "pom.xml"), *goal], capture_output=True, text=True
        )
        if told.returncode:
            raise Missing(f"Maven could not fetch Kafka's jars: {(told.stdout + told.stderr).strip()[:500]}")
        try:
            copied.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was quicker
                raise
    return folder


class Cluster:
    """The nodes of one cluster.

    Args:
        port: the first node's, the others' follow; 0: any free ones.
        security: None, or a folder as `node.Security` reads it.

    Raises:
        Failed: a port is taken.
    """

    def __init__(self, jars: Path, data: Path, nodes: int, port: int, security: Path | None) -> None:
        ports = free_ports(4 * nodes)
        ids = range(1, nodes + 1)
        if port:
            ports[:nodes] = range(port, port + nodes)
            check_free(ports[:nodes])
        clients = dict(zip(ids, ports[:nodes], strict=True))
        controllers = dict(zip(ids, ports[nodes : 2 * nodes], strict=True))
        self.nodes = {
            id_: Node(
                id_,
                jars,
                data / f"node-{id_}",
                port=clients[id_],
                inner_port=ports[2 * nodes + id_ - 1],
                certified_port=ports[3 * nodes + id_ - 1],
                controllers=controllers,
                security=security,
            )
            for id_ in ids
        }

    def start(self) -> None:
        """Start every node and wait until each knows all.

        Raises:
            Failed: a node ended, or did not answer in time.
        """
        for format_ in [node.format() for node in self.nodes.values()]:
            format_()
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            node.wait_until_it_knows(set(self.nodes))

    def ready(self) -> dict[str, object]:
        """What is printed when the cluster is up."""
        nodes = [node.described() for node in self.nodes.values()]
        return {"event": "ready", "bootstrap": ",".join(f"127.0.0.1:{node['port']}" for node in nodes), "nodes": nodes}

    def obey(self, line: str) -> dict[str, object]:
        """Carry out one command; the answer."""
        word, _, number = line.strip().partition(" ")
        node = self.nodes.get(int(number)) if number.isdecimal() else None
        deeds = {"kill": "killed", "pause": "paused", "resume": "resumed", "start": "started"}
        if word not in deeds or node is None:
            return {"event": "failed", "reason": f"{line.strip()!r} is none of {', '.join(deeds)} with a node's number"}
        try:
            if word == "start":
                node.start()
                node.wait_until_it_knows({node.id})
            else:
                {"kill": node.kill, "pause": node.pause, "resume": node.resume}[word]()
        except Failed as error:
            return {"event": "failed", "reason": str(error)}
        return {"event": deeds[word], **node.described()}

    def end(self) -> None:
        """End every node, in order where that goes quickly."""
        deadline = time.monotonic() + END_WITHIN_S
        for node in self.nodes.values():
            node.ask_to_end()
        for node in self.nodes.values():
            node.end(max(0.0, deadline - time.monotonic()))


def _say(event: dict[str, object]) -> None:
    print(json.dumps(event), flush=True)


def _obey_until_told_to_end(cluster: Cluster) -> None:
    ended = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            _say(cluster.obey(line))
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=listen, daemon=True).start()
    ended.wait()


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python deploy/kafka/run.py", description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, default=1, help="1, or 3 and more for a cluster that survives a node")
    parser.add_argument("--data", type=Path, required=True, help="folder of the cluster's data and logs")
    parser.add_argument("--port", type=int, default=0, help="the first node's; 0: any free ones")
    parser.add_argument("--jars", type=Path, default=JARS, help="folder of Kafka's jars; fetched when not there")
    parser.add_argument("--security", type=Path, help="folder with ca.pem, server.pem and users.json: TLS and SASL")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parsed = _parsed(arguments)
    try:
        cluster = Cluster(jars(parsed.jars), parsed.data, parsed.nodes, parsed.port, parsed.security)
        try:
            cluster.start()
            _say(cluster.ready())
            _obey_until_told_to_end(cluster)
        finally:
            cluster.end()
    except (Missing, Failed) as error:
        _say({"event": "missing" if isinstance(error, Missing) else "failed", "reason": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # A thread may still wait for the standard input.
