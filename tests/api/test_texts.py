"""Texts find clips by what they show: the text model's process, and the whole way on tiny models."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest

from api.commands.workers import texts_command
from api.texts import TextChild
from processors.profile import load_profile
from processors.tiny import build_tiny_models
from processors.vision.siglip import Siglip
from store.errors import InputError, ModelUnavailable, Passing
from tests.processors.made_clips import face_frames, make_clip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the models of the profile `tiny`."""
    folder = tmp_path_factory.mktemp("data")
    build_tiny_models(folder / "models")
    return folder


def asked(child: TextChild, *texts: str) -> list[list[float]]:
    async def ask() -> list[list[float]]:
        try:
            return [await child.encode(text) for text in texts]
        finally:
            await child.stop()

    return asyncio.run(ask())


def scripted(tmp_path: Path, source: str, **options: float) -> TextChild:
    script = tmp_path / "child.py"
    script.write_text("import json, os, sys, time\n" + source)
    return TextChild((sys.executable, str(script)), **options)


def test_a_text_becomes_a_vector_in_the_space_of_the_pictures(data: Path) -> None:
    child = TextChild(texts_command(data, "tiny"))

    upper, lower, other = (np.array(vector) for vector in asked(child, "A Dog", "a dog", "a red car"))

    siglip = next(p for p in load_profile("tiny", data / "models").processors if isinstance(p, Siglip))
    siglip.load("cpu")
    (row,) = siglip.process([make_clip(frames_rgb=face_frames(1))], [{}])
    assert len(lower) == len(row["visual_text"])
    assert np.linalg.norm(lower) == pytest.approx(1.0)
    assert np.array_equal(upper, lower)
    assert lower @ other < 0.999


def test_a_profile_without_the_model_says_so_and_goes_on(data: Path) -> None:
    child = TextChild(texts_command(data, "measured"))

    async def ask_twice() -> None:
        for _ in range(2):
            with pytest.raises(InputError, match=r"profile measured has no vision\.siglip.*--profile pretrained"):
                await child.encode("a dog")
        await child.stop()

    asyncio.run(ask_twice())


def test_a_model_that_is_not_on_this_machine_is_told(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('[[processor]]\nid = "vision.siglip"\nmodel = "nobody/never-made"\n')

    with pytest.raises(ModelUnavailable, match="'nobody/never-made' is not on this machine"):
        asked(TextChild(texts_command(tmp_path, str(profile))), "a dog")


def test_a_child_that_dies_is_a_passing_fault_and_the_next_text_starts_another(tmp_path: Path) -> None:
    source = f"""
lives = open({str(tmp_path / "lives")!r}, "a+")
lives.write("x")
lives.flush()
lives.seek(0)
for line in sys.stdin:
    if lives.read() == "x":
        os._exit(3)
    print(json.dumps({{"vector": [1.0]}}), flush=True)
"""
    child = scripted(tmp_path, source)

    async def ask_twice() -> list[float]:
        with pytest.raises(Passing, match="process died"):
            await child.encode("a dog")
        try:
            return await child.encode("a dog")
        finally:
            await child.stop()

    assert asyncio.run(ask_twice()) == [1.0]


def test_a_child_that_is_too_slow_is_killed(tmp_path: Path) -> None:
    with pytest.raises(Passing, match=r"took longer than 0\.3 s and was stopped"):
        asked(scripted(tmp_path, "time.sleep(60)", within_s=0.3), "a dog")


def test_texts_that_come_together_get_each_its_own_answer(tmp_path: Path) -> None:
    source = "for line in sys.stdin: print(json.dumps({'vector': [float(len(json.loads(line)))]}), flush=True)"
    child = scripted(tmp_path, source)

    async def ask() -> list[list[float]]:
        try:
            return await asyncio.gather(*(child.encode("a" * n) for n in range(1, 9)))
        finally:
            await child.stop()

    assert asyncio.run(ask()) == [[float(n)] for n in range(1, 9)]


def test_the_command_finds_clips_by_what_they_show(live, make_clip, run_json) -> None:
    live.text_vectors["a man juggling"] = [0.0, 0.0, 1.0]
    make_clip(0, visual_text=[1.0, 0.0, 0.0])
    shows_it = make_clip(4, visual_text=[0.0, 0.1, 0.9])

    code, found = run_json("search", "--looks", "a man juggling", "--limit", 1)

    assert (code, found["column"]) == (0, "visual_text")
    assert [clip["clip_id"] for clip in found["clips"]] == [shows_it]
