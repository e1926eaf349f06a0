"""A batch never attaches a result to another clip: any order and any split of clips gives each its own values."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from processors.base import DecodedClip, Processor
from processors.engine import Engine, Measured
from tests.processors.made_clips import RATE_HZ, face_frames, make_clip, noise, talking, tone

N_CLIPS, ROUNDS = 12, 2


def made(number: int, random: np.random.Generator) -> DecodedClip:
    """A clip of 1 s that no other is like: every other shows a face; light, motion and pitch are each one's own."""
    if number % 2:
        frames = (face_frames(4, 12 * number, number // 2) * (1.0 - 0.05 * number)).astype(np.uint8)
    else:
        frames = random.integers(0, 60 + 16 * number, (4, 96, 128, 3), dtype=np.uint8)
    voice = sum(tone((100 + 25 * number) * harmonic, 1.0, 0.2 / harmonic) for harmonic in (1, 2, 3))
    sound = None if number == 4 else (voice + noise(1.0, 0.004 * number)).astype(np.float32)
    return make_clip(random.bytes(16).hex(), frames, sound, 1.0, motion=0.03 * number)


def make_talker(random: np.random.Generator) -> DecodedClip:
    """Four seconds of a face that wails as its mouth moves: whose voice it is can be told."""
    syllables = random.random(16) ** 2
    times_s = np.arange(4 * RATE_HZ) / RATE_HZ
    phase = np.cumsum(2 * np.pi * 350.0 * 2.0 ** (0.3 * np.sin(4 * np.pi * times_s)) / RATE_HZ)
    wail = sum(0.2 / n * np.sin(n * phase) for n in range(1, 13)) * np.repeat(syllables, RATE_HZ // 4)
    return make_clip(random.bytes(16).hex(), talking(syllables), wail.astype(np.float32), 4.0, motion=0.1)


def make_crowd() -> list[DecodedClip]:
    """Clips that a processor can tell apart."""
    random = np.random.default_rng(17)
    return [*(made(number, random) for number in range(N_CLIPS)), make_talker(random)]


def run_shuffled(engine: Engine, crowd: Sequence[DecodedClip]) -> list[tuple[str, Measured]]:
    """Id of the clip that was given to what came back at its place, in random orders and batches."""
    random = np.random.default_rng(23)
    return [
        (clip.clip_id, result)
        for _ in range(ROUNDS)
        for batch in split([crowd[i] for i in random.permutation(len(crowd))], random)
        for clip, result in zip(batch, engine.run(batch), strict=True)
    ]


def split(clips: list[DecodedClip], random: np.random.Generator) -> Iterator[Sequence[DecodedClip]]:
    """The clips in order, in batches of random sizes."""
    while clips:
        size = int(random.integers(1, len(clips) + 1))
        yield clips[:size]
        clips = clips[size:]


@pytest.fixture(scope="module")
def crowd() -> list[DecodedClip]:
    return make_crowd()


@pytest.fixture(scope="module")
def alone(engine: Engine, crowd: list[DecodedClip]) -> dict[str, Measured]:
    return {clip.clip_id: engine.run([clip])[0] for clip in crowd}


@pytest.fixture(scope="module")
def shuffled(engine: Engine, crowd: list[DecodedClip]) -> list[tuple[str, Measured]]:
    return run_shuffled(engine, crowd)


def values_of(processor: Processor, measured: Measured) -> list[Any]:
    return [measured.values[column.name] for column in processor.columns]


def test_every_result_stays_with_its_clip(
    engine: Engine, alone: dict[str, Measured], shuffled: list[tuple[str, Measured]]
) -> None:
    assert [given for given, _ in shuffled] == [result.clip_id for _, result in shuffled]
    strayed = {
        processor.id: given
        for processor in engine.profile.processors
        for given, result in shuffled
        if values_of(processor, result) != values_of(processor, alone[given])
        or result.failed.get(processor.id) != alone[given].failed.get(processor.id)
    }
    assert strayed == {}


def test_the_clips_are_told_apart_by_every_processor(engine: Engine, alone: dict[str, Measured]) -> None:
    """Else the test above would say nothing of it: give the crowd a clip in which it finds something."""
    kinds = {
        processor.id: len({json.dumps(values_of(processor, result)) for result in alone.values()})
        for processor in engine.profile.processors
    }
    assert {processor_id: n_kinds for processor_id, n_kinds in kinds.items() if n_kinds < 2} == {}
