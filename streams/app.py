"""The streaming service: one Faust app, and so one consumer group, per step, joined by topics.

`python -m streams.app --data DIR` runs every step on one machine. It prints one JSON line
`{"event": "ready", "broker": "host:port"}` when it is ready, and ends when it is told to (SIGINT, SIGTERM) or
when its standard input closes, so that it never outlives the process that started it.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer

from store.errors import CliploomError
from store.records import utc_now
from streams.broker import EmbeddedBroker
from streams.recovery import unfinished_work
from streams.runner import Publisher, Runner
from streams.steps import Workplace, open_road
from streams.topics import create_topics

log = logging.getLogger(__name__)

STOP_WITHIN_S = 3.5
"""Faust is given this long to leave its groups; an unfinished record stays uncommitted."""
LEAVE_AFTER_S = 4.0
"""Whatever is still starting or stopping then is left where it is."""


async def serve(place: Workplace, broker: str, stop: asyncio.Event) -> None:
    """Run every step until `stop` is set.

    Args:
        broker: `embedded`, or `host:port` of a Kafka cluster.
    """
    embedded = EmbeddedBroker() if broker == "embedded" else None
    broker = embedded.address if embedded else broker
    if embedded is None:
        await asyncio.to_thread(create_topics, broker)
    store, steps = await open_road(place, utc_now)
    producer = AIOKafkaProducer(bootstrap_servers=broker, acks="all", max_request_size=4 << 20)
    await producer.start()
    publisher = Publisher(producer)
    runners = [Runner(step, publisher, utc_now) for step in steps]
    apps = [runner.create_app(broker, place.unfinished) for runner in runners]
    try:
        await asyncio.gather(*(app.start() for app in apps))
        if embedded is not None:
            again = await asyncio.to_thread(unfinished_work, store)
            await publisher.publish(again)
            log.info("took up %d unfinished pieces of work from the store", len(again))
        ticks = [asyncio.create_task(runner.tick()) for runner in runners]
        print(json.dumps({"event": "ready", "broker": broker}), flush=True)
        await stop.wait()
        for tick in ticks:
            tick.cancel()
    finally:
        for step in steps:
            step.stop()
        await asyncio.wait([asyncio.create_task(app.stop()) for app in apps], timeout=STOP_WITHIN_S)


def _stop_when_parent_leaves(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(stop.set)


async def _run(place: Workplace, broker: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    threading.Thread(target=_stop_when_parent_leaves, args=(loop, stop), daemon=True).start()
    serving = asyncio.create_task(serve(place, broker, stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait({serving}, timeout=LEAVE_AFTER_S)
    if serving.done():
        serving.result()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of the streaming service; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m streams.app", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the store")
    parser.add_argument("--broker", default="embedded", help="embedded, or host:port of a Kafka cluster")
    parser.add_argument("--profile", default="measured", help="name of a model profile, or a path to a TOML file")
    parser.add_argument("--concepts", type=Path, required=True, help="concepts.yaml")
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for noisy in ("faust", "aiokafka", "mode"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # For the children: threads of torch that spin while they wait made training up to seven times slower on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    place = Workplace(parsed.data, parsed.profile, parsed.concepts)
    try:
        asyncio.run(_run(place, parsed.broker))
    except CliploomError as error:
        print(json.dumps({"event": "failed", "reason": str(error)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
