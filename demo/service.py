"""A Cliploom service of the demo's own: started as a subprocess, used over REST, ended by SIGTERM."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from api.client import Client
from store.errors import Passing

READY_WITHIN_S = 120.0
STOP_WITHIN_S = 10.0


class DemoService:
    """`cliploom up` with the embedded broker, on a free port; `client` once it is ready.

    A context manager: entering it waits until the service is ready, leaving it ends the service if `stop` did not.

    Args:
        out: its store lies in `data`, its output goes to `service.log`.
        concepts: concepts.yaml.
        footage: folder that it may read footage from.
    """

    client: Client

    def __init__(self, out: Path, concepts: Path, footage: Path) -> None:
        self.data = out / "data"
        self.log_path = out / "service.log"
        self._told_path = out / "service.json"
        options = {"--data": self.data, "--port": 0, "--broker": "embedded", "--concepts": concepts, "--allow": footage}
        command = [sys.executable, "-m", "api.cli", "up", "--json"]
        command += [str(part) for option in options.items() for part in option]
        with self.log_path.open("wb") as log, self._told_path.open("wb") as told:
            self._process = subprocess.Popen(command, stdout=told, stderr=log)

    def __enter__(self) -> "DemoService":
        try:
            self.client = Client(self._url())
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _url(self) -> str:
        """Where it answers, as it told.

        Raises:
            Passing: it ended, or was not ready in time; the message holds its last lines.
        """
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            told = self._told_path.read_text()
            if self._process.poll() is not None:
                raise Passing(f"the service ended with code {self._process.returncode}: {told} {self._last_lines()}")
            if told.endswith("\n"):
                return str(json.loads(told)["url"])
            time.sleep(0.2)
        raise Passing(f"the service was not ready within {READY_WITHIN_S:g} s; {self._last_lines()}")

    def stop(self) -> int:
        """End it by SIGTERM, by force if it does not end; returns its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def _last_lines(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()[-5:]
        return f"its log {self.log_path} ends with: " + " | ".join(lines)
