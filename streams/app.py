"""The streaming service: one Faust app, and so one consumer group, per step, joined by topics.

`python -m streams.app --data DIR` runs every step on one machine, `--steps embed,densify` runs some of them as one
worker of a cluster. It prints one JSON line `{"event": "ready", "broker": "host:port", "metrics": "host:port"}` when
it is ready, and ends when it is told to (SIGINT, SIGTERM) or, without `--stay`, when its standard input closes, so
that it never outlives the process that started it.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aiokafka import AIOKafkaProducer

from processors.reason import KEY_VARIABLE
from store.errors import CliploomError, SettingsError
from store.kafka import KafkaSettings
from store.lock import hold
from store.records import utc_now
from streams.broker import EmbeddedBroker
from streams.logs import set_up_logs
from streams.metrics import StepMetrics
from streams.publish import Publisher
from streams.recovery import unfinished_work
from streams.runner import SESSION_S, Runner
from streams.steps import Workplace, open_road
from streams.topics import LONGEST_MESSAGE_BYTES, STEPS, TopicOptions, prepare_topics
from streams.traces import Tracer, open_tracing

log = logging.getLogger(__name__)

STOP_WITHIN_S = 3.2
"""Faust is given this long to leave its groups; an unfinished record stays uncommitted."""
LEAVE_AFTER_S = 3.6
"""Whatever is still starting or stopping then is left where it is."""
Clock = Callable[[], datetime]
WRITER = "persist"
"""The step that writes the tables: of its workers one writes, and the others wait for its end."""


@dataclass(frozen=True)
class AppOptions:
    """How a worker runs; read once, from the command line.

    broker: `embedded`, or the address of a Kafka cluster.
    steps: those of `STEPS` that this worker runs.
    grace_s: how long a busy step may take to finish the batch in hand when the worker is told to end.
    metrics_port: 0 for any free one, on the loopback interface only.
    """

    broker: str = "embedded"
    steps: tuple[str, ...] = STEPS
    topics: TopicOptions = TopicOptions()
    grace_s: float = 0.0
    session_s: float = SESSION_S
    metrics_port: int = 0


async def serve(place: Workplace, options: AppOptions, stop: asyncio.Event, clock: Clock = utc_now) -> None:
    """Run the steps until `stop` is set."""
    embedded = EmbeddedBroker() if options.broker == "embedded" else None
    kafka = KafkaSettings(embedded.address) if embedded else KafkaSettings.read(options.broker, os.environ)
    if embedded is None:
        await asyncio.to_thread(prepare_topics, kafka, options=options.topics)
    metrics = StepMetrics()
    tracing = open_tracing(os.environ, f"{socket.gethostname()}-{os.getpid()}")
    with ExitStack() as held:
        if WRITER in options.steps:
            await asyncio.to_thread(lambda: held.enter_context(hold(place.data / f".{WRITER}.lock")))
        store, steps = await open_road(place, clock, options.steps, metrics)
        again = await asyncio.to_thread(unfinished_work, store) if embedded is not None else []
        producer = AIOKafkaProducer(acks="all", max_request_size=LONGEST_MESSAGE_BYTES, **kafka.aiokafka())
        await producer.start()
        runners = []
        for step in steps:
            tracer = Tracer(step.name, tracing)
            runners.append(Runner(step, Publisher(producer, tracer.headers), clock, metrics, tracer))
        apps = [runner.create_app(kafka, place.unfinished, options.session_s) for runner in runners]
        try:
            await asyncio.gather(*(app.start() for app in apps))
            if embedded is not None:
                await Publisher(producer).publish(again)
                log.info("took up %d unfinished pieces of work from the store", len(again))
            ticks = [asyncio.create_task(runner.tick(app)) for runner, app in zip(runners, apps, strict=True)]
            _, scraped = metrics.serve(options.metrics_port)
            print(json.dumps({"event": "ready", "broker": kafka.address, "metrics": scraped}), flush=True)
            stopping = asyncio.create_task(stop.wait())
            ended, _ = await asyncio.wait([stopping, *ticks], return_when=asyncio.FIRST_COMPLETED)
            for tick in ended - {stopping}:
                tick.result()
            for tick in ticks:
                tick.cancel()
            if options.grace_s:
                await asyncio.wait([asyncio.create_task(r.drain()) for r in runners], timeout=options.grace_s)
        finally:
            for step in steps:
                step.stop()
            await asyncio.wait([asyncio.create_task(app.stop()) for app in apps], timeout=STOP_WITHIN_S)
            if tracing is not None:
                await asyncio.to_thread(tracing.shutdown)
        if not stop.is_set():
            raise SilentStep("a step fell silent; the worker ends, to be started again")


class SilentStep(CliploomError):
    """Records wait and a step takes none."""


def _stop_when_parent_leaves(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(stop.set)


async def _run(place: Workplace, options: AppOptions, stay: bool, clock: Clock) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if not stay:
        threading.Thread(target=_stop_when_parent_leaves, args=(loop, stop), daemon=True).start()
    serving = asyncio.create_task(serve(place, options, stop, clock))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait({serving}, timeout=LEAVE_AFTER_S + options.grace_s)
    if serving.done():
        serving.result()


def _steps(text: str) -> tuple[str, ...]:
    """Raises SettingsError: a name that is none."""
    names = STEPS if text == "all" else tuple(text.split(","))
    unknown = sorted(set(names) - set(STEPS))
    if unknown:
        raise SettingsError(f"--steps {text}: {', '.join(unknown)} is no step; the steps are {', '.join(STEPS)}")
    return names


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m streams.app", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the store")
    parser.add_argument("--media", help="object storage of the media (an fsspec URL); default: DATA/media")
    parser.add_argument("--broker", default="embedded", help="embedded, or host:port of a Kafka cluster")
    parser.add_argument("--steps", default="all", help="all, or names with commas between them")
    parser.add_argument("--profile", default="measured", help="name of a model profile, or a path to a TOML file")
    parser.add_argument("--device", default="auto", help="where models compute: auto, cpu, cuda or cuda:<number>")
    parser.add_argument("--concepts", type=Path, required=True, help="concepts.yaml")
    parser.add_argument("--gate", type=Path, help="TOML file of what holds clips back; default: gate.toml's numbers")
    parser.add_argument("--training", type=Path, help="TOML file of when to train; default: training.toml's numbers")
    parser.add_argument("--partitions", type=int, default=4, help="of every topic that is spread over the cluster")
    parser.add_argument("--copies", type=int, help="replication factor; default: 3, or as many brokers as there are")
    parser.add_argument("--session", type=float, default=SESSION_S, help="s until a silent worker's work is given away")
    parser.add_argument("--grace", type=float, default=0.0, help="s that a busy step may take to finish at a stop")
    parser.add_argument("--metrics-port", type=int, default=0, help="for Prometheus; 0: any free one")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--stay", action="store_true", help="go on when the standard input closes")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None, clock: Clock = utc_now) -> int:
    """The command line of the streaming service; returns the exit code."""
    parsed = _parsed(arguments)
    set_up_logs(parsed.log_format)
    # For the children: threads of torch that spin while they wait made training up to seven times slower on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    place = Workplace(
        parsed.data,
        parsed.profile,
        parsed.concepts,
        parsed.device,
        media=parsed.media,
        gate=parsed.gate,
        training=parsed.training,
        key=os.environ.get(KEY_VARIABLE, ""),
    )
    try:
        options = AppOptions(
            broker=parsed.broker,
            steps=_steps(parsed.steps),
            topics=TopicOptions(parsed.partitions, parsed.copies),
            grace_s=parsed.grace,
            session_s=parsed.session,
            metrics_port=parsed.metrics_port,
        )
        asyncio.run(_run(place, options, parsed.stay, clock))
    except CliploomError as error:
        print(json.dumps({"event": "failed", "reason": str(error)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
