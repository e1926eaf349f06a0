"""Workers that are killed, stopped and joined by others, at random moments."""

import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from store.kafka import KafkaSettings
from streams.topics import prepare_topics
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
        """Kill, and leave none."""
        for _ in range(KILLS):
            worker = Worker(self._road, self._steps)
            time.sleep(self._random.uniform(0.2, LONGEST_LIFE_S))
            worker.kill()
            self.kills += 1


def test_every_step_killed_at_fifty_moments_loses_and_repeats_nothing(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    prepare_topics(KafkaSettings(fresh_kafka.address))
    with Road(tmp_path, fresh_kafka.address) as road:
        killers = [Killer(road, steps, seed) for seed, steps in enumerate((FRONT, BACK))]
        for killer in killers:
            killer.start()
        for number, video in enumerate(footage):
            # Spread over the killers' time, so that there is work at every moment.
            road.wait(lambda n=number: min(k.kills for k in killers) >= n * KILLS // len(footage), "kills")
            road.submit([video])
        for killer in killers:
            killer.join()
        assert [killer.kills for killer in killers] == [KILLS, KILLS]
        road.start(FRONT, BACK)
        same(road.finish(len(footage)), undisturbed)


def test_a_rebalance_in_the_middle_of_a_long_piece_of_work_spoils_nothing(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    with Road(tmp_path, fresh_kafka.address) as road:
        first, _ = road.start(FRONT, BACK)
        road.submit(footage)
        store = road.store
        road.wait(lambda: store.clips.count() > 0, "a clip")
        held = first.children()
        assert held
        for pid in held:
            os.kill(pid, signal.SIGSTOP)  # whatever piece is in hand now takes long
        road.start(FRONT)
        time.sleep(2 * SESSION_S)
        assert first.process.poll() is None
        for pid in held:
            os.kill(pid, signal.SIGCONT)
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
