"""Processes that share work: what they tell, what ends them, and that none outlives the one that launched them."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.errors import InputError, Passing
from streams.child import Child, WorkerFault
from streams.together import work_together

WITHIN_S = 60.0


def make_worker(size: int) -> Callable[[Any, Callable[[Any], None]], Any]:
    """Of a real child process, which launches."""
    return lambda request, emit: work_together(size, "tests.streams.made_ranks", ("made",), request, emit)


async def told(request: dict[Any, Any], size: int = 2) -> tuple[Any, list[int]]:
    """The result of rank 0, and what it emitted."""
    child, seen = Child("train", __name__, size), []

    async def note(message: int) -> None:
        seen.append(message)

    try:
        return await child.run(request, WITHIN_S, note), seen
    finally:
        child.kill()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_rank_0_answers_and_the_others_wait_for_its_call(tmp_path: Path) -> None:
    result, seen = await told({1: ("leave", tmp_path / "1"), 2: ("leave", tmp_path / "2")}, 3)
    assert result == ("made", 3, "nothing")
    left = [(tmp_path / name).read_text().rpartition(" ") for name in "12"]
    assert [word for word, _, _ in left] == ["the word", "the word"]
    assert len({*seen, *(int(pid) for _, _, pid in left), os.getpid()}) == 4


@pytest.mark.parametrize("rank", [0, 1])
async def test_what_a_rank_refuses_is_raised_and_ends_the_others(rank: int, tmp_path: Path) -> None:
    request = {rank: ("refuse", "no such clips"), 1 - rank: ("sleep", tmp_path / "pid")}
    with pytest.raises(InputError, match="no such clips"):
        await told(request | ({"once": tmp_path / "pid"} if rank == 1 else {}))
    if rank == 1:
        assert is_gone(int((tmp_path / "pid").read_text()))


async def test_a_fault_of_the_program_in_a_rank_is_told_with_its_traceback() -> None:
    with pytest.raises(WorkerFault, match="ZeroDivisionError: at last"):
        await told({1: ("bug", "at last")})


@pytest.mark.parametrize("rank", [0, 1])
async def test_a_rank_that_dies_ends_the_others_and_is_named(rank: int, tmp_path: Path) -> None:
    with pytest.raises(Passing, match=rf"process {rank} of 0 to 1 that share the work died \(exit code -9\)"):
        await told({rank: ("die", None), 1 - rank: ("sleep", tmp_path / "pid"), "once": tmp_path / "pid"})
    assert is_gone(int((tmp_path / "pid").read_text()))


async def test_what_fails_since_a_rank_died_is_not_taken_for_a_fault_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(Passing, match=r"process 0 of 0 to 1 that share the work died \(exit code -9\)"):
        await told({0: ("die", tmp_path / "pid"), 1: ("bereaved", tmp_path / "pid")})


async def test_no_rank_outlives_a_child_that_is_killed(tmp_path: Path) -> None:
    files = [tmp_path / "0", tmp_path / "1"]
    child = Child("train", __name__, 2)
    running = asyncio.create_task(child.run({0: ("sleep", files[0]), 1: ("sleep", files[1])}, WITHIN_S, _nobody))
    while not all(file.is_file() and file.read_text() for file in files):
        await asyncio.sleep(0.05)
    child.kill()
    with pytest.raises(Passing):
        await running
    until(lambda: all(is_gone(int(file.read_text())) for file in files))


async def _nobody(message: int) -> None:
    """Hears nothing."""
