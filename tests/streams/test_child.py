"""The child process: results, errors, messages, death, time limits."""

import asyncio
import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from store.errors import InputError, Passing, Unavailable
from streams.child import Child, WorkerFault


def make_worker() -> Callable[[Any, Callable[[Any], None]], Any]:
    served = []

    def work(request: Any, emit: Callable[[Any], None]) -> Any:
        served.append(request)
        kind, value = request
        if kind == "count":
            for number in range(value):
                emit(number)
            return len(served), os.getpid()
        if kind == "refuse":
            raise InputError(value)
        if kind == "bug":
            raise ZeroDivisionError(value)
        if kind == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if kind == "environ":
            return os.environ.get(value), "torch" in sys.modules
        if kind == "die":
            os._exit(value)
        time.sleep(value)
        return "slept"

    return work


async def test_one_child_serves_many_requests_and_sends_messages_in_order() -> None:
    child = Child("test", __name__)
    seen: list[int] = []

    async def note(message: int) -> None:
        seen.append(message)

    assert (await child.run(("count", 3), 30.0, note))[0] == 1
    served, pid = await child.run(("count", 2), 30.0, note)
    child.kill()
    assert (served, seen) == (2, [0, 1, 2, 0, 1])
    assert pid != os.getpid()


async def test_children_share_what_was_imported_and_have_the_environment_of_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for told in ("first", "second"):
        monkeypatch.setenv("CLIPLOOM_TEST_CHILD", told)
        child = Child("test", __name__)
        assert await child.run(("environ", "CLIPLOOM_TEST_CHILD"), 60.0) == (told, True)
        child.kill()


async def test_an_error_of_ours_is_raised_here_and_the_child_goes_on() -> None:
    child = Child("test", __name__)
    with pytest.raises(InputError, match="no moov"):
        await child.run(("refuse", "no moov"), 30.0)
    assert (await child.run(("count", 0), 30.0))[0] == 2
    child.kill()


async def test_a_child_that_dies_is_a_passing_fault_and_is_replaced() -> None:
    child = Child("decode", __name__)
    with pytest.raises(Passing, match=r"decode process died \(exit code 7\)"):
        await child.run(("die", 7), 30.0)
    assert (await child.run(("count", 0), 30.0))[0] == 1
    child.kill()


async def test_a_child_over_its_time_limit_is_stopped() -> None:
    child = Child("decode", __name__)
    await child.run(("count", 0), 30.0)
    with pytest.raises(Passing, match="longer than its limit of 0 s"):
        await child.run(("sleep", 60), 0.2)
    assert (await child.run(("count", 0), 30.0))[0] == 1
    child.kill()


async def test_cancelling_a_request_ends_the_child() -> None:
    child = Child("decode", __name__)
    await child.run(("count", 0), 30.0)
    task = asyncio.create_task(child.run(("sleep", 60), 120.0))
    await asyncio.sleep(0.1)
    child.kill()
    with pytest.raises(Passing, match="died"):
        await task


def test_a_busy_child_ends_with_a_killed_parent() -> None:
    script = (
        "import asyncio\n"
        "from streams.child import Child\n"
        "async def main():\n"
        "    child = Child('x', 'tests.streams.test_child')\n"
        "    _, pid = await child.run(('count', 0), 30)\n"
        "    print(pid, flush=True)\n"
        "    await child.run(('sleep', 60), 120)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child_pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not _alive(child_pid):
            return
        time.sleep(0.1)
    pytest.fail(f"child {child_pid} outlived its parent by 10 s")


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_an_error_of_the_program_comes_with_its_traceback_and_a_fresh_child() -> None:
    child = Child("test", __name__)
    with pytest.raises(WorkerFault, match=r"(?s)in work.*ZeroDivisionError: off by one"):
        await child.run(("bug", "off by one"), 30.0)
    assert (await child.run(("count", 0), 30.0))[0] == 1
    child.kill()


async def test_a_full_disk_is_no_fault_of_the_record() -> None:
    child = Child("test", __name__)
    with pytest.raises(Unavailable, match=r"no room to work.*No space left"):
        await child.run(("full", None), 30.0)
    child.kill()
