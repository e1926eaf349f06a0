"""Workers that are killed, stopped and joined by others, at random moments."""

import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.road import BACK, FRONT, SESSION_S, Outcome, Road, Worker, same
from tests.kafka import Kafka

KILLS = 50
LONGEST_LIFE_S = 9.0


class Killer(threading.Thread):
    """Kills a worker at `KILLS` random moments of its lives, some before it is ready, and starts it again each time."""

    def __init__(self, road: Road, steps: Sequence[str], seed: int) -> None:
        super().__init__(daemon=True)
        self._road = road
        self._steps = steps
        self._random = random.Random(seed)
        self.kills = 0

    def run(self) -> None:
        """Kill, and leave a living worker at the end."""
        for _ in range(KILLS):
            worker = Worker(self._road, self._steps)
            time.sleep(self._random.uniform(0.2, LONGEST_LIFE_S))
            worker.kill()
            self.kills += 1
        self._road.workers.append(Worker(self._road, self._steps))


@pytest.mark.parametrize("stay", [FRONT, BACK], ids=["front", "back"])
def test_steps_killed_at_fifty_moments_lose_and_repeat_nothing(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path, stay: Sequence[str]
) -> None:
    with Road(tmp_path, fresh_kafka.address) as road:
        road.start(stay)
        killer = Killer(road, BACK if stay is FRONT else FRONT, seed=len(stay))
        killer.start()
        road.submit(footage)
        killer.join()
        assert killer.kills == KILLS
        same(road.finish(len(footage)), undisturbed)


def test_a_worker_that_was_stopped_longer_than_its_session_spoils_nothing_when_it_goes_on(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    with Road(tmp_path, fresh_kafka.address) as road:
        zombie, _ = road.start(FRONT, BACK)
        road.submit(footage)
        store = road.store
        road.wait(lambda: store.clips.count() > 0, "a clip")
        zombie.send(signal.SIGSTOP)
        road.start(FRONT)
        time.sleep(SESSION_S * 1.5)
        zombie.send(signal.SIGCONT)
        same(road.finish(len(footage)), undisturbed)


def test_workers_of_a_step_come_and_go_in_the_middle_of_the_work(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    with Road(tmp_path, fresh_kafka.address) as road:
        first, second, _ = road.start(FRONT, FRONT, BACK)
        road.submit(footage)
        store = road.store
        road.wait(lambda: store.clips.count() > 0, "a clip")
        road.start(FRONT)
        assert first.terminate() == 0
        outcome = road.finish(len(footage))
        same(outcome, undisturbed)
        assert second.terminate() == 0
