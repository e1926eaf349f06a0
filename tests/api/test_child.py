"""The streaming service as a child: restarts, refusals, the end."""

import asyncio
import logging
import os
import sys

import pytest

from api.child import StreamsChild
from store.errors import SettingsError


def child_of(tmp_path, source):
    """A child of this source, which may append to the list `lives` by calling `live()`."""
    script = tmp_path / "child.py"
    begin = f"import json, os, sys\ndef live(): open({str(tmp_path / 'lives')!r}, 'a').write('x')\n"
    script.write_text(begin + source)
    return StreamsChild((sys.executable, str(script)))


READY = "print(json.dumps({'event': 'ready', 'broker': '127.0.0.1:' + str(os.getpid())}), flush=True)\n"


def test_a_child_that_dies_is_started_again_and_the_log_says_so(tmp_path, caplog):
    caplog.set_level(logging.INFO)

    async def scenario():
        child = child_of(tmp_path, READY + "sys.stdin.buffer.read()")
        running = asyncio.create_task(child.run())
        await child.ready.wait()
        first = child.broker
        os.kill(int(first.split(":")[1]), 9)
        while child.broker in (first, None):
            await asyncio.sleep(0.05)
        second = child.broker
        await child.stop()
        await running
        return first, second, child.broker

    first, second, last = asyncio.run(asyncio.wait_for(scenario(), 60))

    assert first != second
    assert last is None
    assert "the streaming service ended with code -9; starting it again in 0.5 s" in caplog.text


def test_a_child_that_refuses_its_settings_is_not_started_again(tmp_path):
    source = "live()\nprint(json.dumps({'event': 'failed', 'reason': 'profile nope is not known'}))\nsys.exit(1)"

    with pytest.raises(SettingsError, match="profile nope is not known"):
        asyncio.run(asyncio.wait_for(child_of(tmp_path, source).run(), 60))

    assert (tmp_path / "lives").read_text() == "x"


def test_lines_that_are_no_events_are_passed_on_to_the_log(tmp_path, caplog):
    caplog.set_level(logging.INFO)

    async def scenario():
        child = child_of(tmp_path, "print('hello')\nprint('[1, 2]')\n" + READY + "sys.stdin.buffer.read()")
        running = asyncio.create_task(child.run())
        await child.ready.wait()
        await child.stop()
        await running

    asyncio.run(asyncio.wait_for(scenario(), 60))

    assert "streams: hello" in caplog.text
    assert "streams: [1, 2]" in caplog.text
