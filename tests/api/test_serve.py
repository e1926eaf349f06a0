"""`cliploom up`: the API with a child that runs the steps, here a small one that only says what it is."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from api.serve import ServeSettings, serve
from store.errors import Conflict, SettingsError

GOOD_CHILD = """
import json, os, sys
open({lives!r}, "a").write(f"{{os.getpid()}}\\n")
print(json.dumps({{"event": "ready", "broker": "127.0.0.1:1"}}), flush=True)
sys.stdin.buffer.read()
"""
STUBBORN_CHILD = """
import json, os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open({lives!r}, "a").write(f"{{os.getpid()}}\\n")
print(json.dumps({{"event": "ready", "broker": "127.0.0.1:1"}}), flush=True)
time.sleep(600)
"""
REFUSING_CHILD = """
import json, sys
print(json.dumps({"event": "failed", "reason": "profile nope is not known"}), flush=True)
sys.exit(1)
"""
SERVE = """
import logging, sys
from pathlib import Path
from api.serve import ServeSettings, serve
logging.basicConfig(level=logging.INFO, format="%(message)s")
data, child = sys.argv[1:]
settings = ServeSettings(Path(data), "127.0.0.1", 0, (), (sys.executable, child), ())
serve(settings, lambda url, broker: print(url, broker, flush=True))
"""


@dataclass
class Up:
    """A running service. `lives` holds the process id of every child that was ever started."""

    process: subprocess.Popen[str]
    lives: Path
    url: str = ""

    def child(self) -> int:
        return int(self.lives.read_text().split()[-1])


StartUp = Callable[..., Up]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartUp]:
    """Starts a service with a child of the given source; ready when it returns."""
    started: list[Up] = []

    def run(child: str = GOOD_CHILD, wait: bool = True) -> Up:
        lives = tmp_path / "lives"
        script = tmp_path / "child.py"
        script.write_text(child.format(lives=str(lives)))
        command = [sys.executable, "-c", SERVE, str(tmp_path / "data"), str(script)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        up = Up(process, lives)
        started.append(up)
        if wait:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            up.url = line.split()[0]
        return up

    yield run
    for up in started:
        if up.process.poll() is None:
            up.process.kill()
        up.process.communicate()


def unreachable(url: str, broker: str) -> None:
    raise AssertionError("it said that it was ready")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that within 30 s"
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "child"), [(signal.SIGINT, GOOD_CHILD), (signal.SIGTERM, STUBBORN_CHILD)])
def test_a_signal_ends_all_of_it_with_code_0(start, number, child):
    up = start(child)
    assert httpx.get(f"{up.url}/health", trust_env=False).json() == {"alive": True}

    up.process.send_signal(number)

    assert up.process.wait(timeout=60) == 0
    wait_until(lambda: not is_alive(up.child()))


def test_a_killed_service_leaves_no_child_behind(start):
    up = start()

    up.process.kill()

    wait_until(lambda: not is_alive(up.child()))


def test_a_child_that_refuses_its_settings_ends_the_service_with_its_reason(tmp_path):
    script = tmp_path / "child.py"
    script.write_text(REFUSING_CHILD)

    with pytest.raises(SettingsError, match="profile nope is not known"):
        serve(ServeSettings(tmp_path / "data", "127.0.0.1", 0, (), (sys.executable, str(script)), ()), unreachable)


def test_a_taken_port_is_refused_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = ServeSettings(tmp_path / "data", "127.0.0.1", port, (), ("/no/such/program",), ())
        with pytest.raises(Conflict, match=rf"port {port} of 127.0.0.1 cannot be used.*Choose another --port"):
            serve(settings, unreachable)

    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    settings = ServeSettings(tmp_path / "file" / "data", "127.0.0.1", 0, (), ("/no/such/program",), ())

    with pytest.raises(SettingsError, match="cannot be written: Not a directory; choose another with --data"):
        serve(settings, unreachable)


def test_a_second_service_waits_for_the_writers_of_a_killed_one(start):
    stubborn = start(STUBBORN_CHILD)
    orphan = stubborn.child()
    stubborn.process.kill()

    second = start(GOOD_CHILD, wait=False)
    line = second.process.stderr.readline()
    assert "waiting for the last service" in line
    os.kill(orphan, signal.SIGKILL)

    assert second.process.stdout.readline().startswith("http://")
