"""Footage of these tests, and what the undisturbed road makes of it."""

from pathlib import Path

import numpy as np
import pytest

from tests.faults.road import BACK, FRONT, Outcome, Road
from tests.kafka import Kafka
from tests.processors.made_footage import footage as made
from tests.processors.made_footage import write_video


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four short videos of two shots each, two of them with sound."""
    folder = tmp_path_factory.mktemp("footage")
    random = np.random.default_rng(1)
    videos = []
    for number, lengths in enumerate([(50, 40), (60, 30), (45, 35), (70,)]):
        pictures = made(*lengths, width=320, height=180)[:]
        pictures = [np.roll(picture, 40 * number, axis=1) for picture in pictures]
        tone = 0.3 * np.sin(np.arange(len(pictures) * 1920) * (0.02 + 0.01 * number)) + random.normal(0, 0.01)
        sounds = [(tone.astype(np.float32), 0.0, True)] if number % 2 else []
        videos.append(write_video(folder / f"{number}.mp4", pictures, sounds=sounds))
    return videos


@pytest.fixture(scope="session")
def undisturbed(kafka: Kafka, footage: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The outcome without any fault."""
    kafka.wipe()
    with Road(tmp_path_factory.mktemp("undisturbed"), kafka.address) as road:
        road.start(FRONT, BACK)
        road.submit(footage)
        return road.finish(len(footage))
