"""`cliploom up`: the whole service on one machine, or the API of a cluster."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.commands.output import AsJson, local
from api.commands.workers import (
    Concepts,
    Data,
    Device,
    Gate,
    Grace,
    LogFormat,
    Logs,
    Media,
    Profile,
    Training,
    streams_command,
    texts_command,
)
from store.records import Json


def up(
    data: Data = Path("data"),
    broker: Annotated[str, typer.Option(help="embedded, or host:port of a Kafka cluster.")] = "embedded",
    profile: Profile = "measured",
    concepts: Concepts = Path("concepts.yaml"),
    gate: Gate = None,
    training: Training = None,
    media: Media = None,
    device: Device = "auto",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8420,
    host: Annotated[str, typer.Option(help="Address to listen on; there is no authentication.")] = "127.0.0.1",
    allow: Annotated[list[Path] | None, typer.Option(help="Folder whose videos may be submitted by path.")] = None,
    no_work: Annotated[
        bool, typer.Option("--no-work", help="The API alone; the workers (`cliploom work`) run elsewhere.")
    ] = False,
    grace: Grace = 0.0,
    log_format: Logs = LogFormat.TEXT,
    as_json: AsJson = False,
) -> None:
    """Run the service: broker, workers and REST API. Ctrl-C ends it; what is unfinished goes on at the next start."""
    if no_work and broker == "embedded":
        raise typer.BadParameter("--no-work goes with --broker host:port: the embedded broker lives in the worker")
    # Here, because it loads the store and the API: the other commands start without them.
    from api.serve import ServeSettings, serve
    from store.kafka import KafkaSettings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    folder = data.resolve()
    told: Json = {
        "gate": gate and gate.resolve(),
        "training": training and training.resolve(),
        "media": media,
        "device": device,
        "grace": grace,
        "log_format": log_format.value,
    }
    command = None if no_work else streams_command(folder, broker, profile, concepts, **told)
    texts = texts_command(folder, profile)
    allowed = tuple(path.resolve() for path in allow or ())

    def announce(url: str, address: str) -> None:
        if as_json:
            print(json.dumps({"event": "ready", "url": url, "broker": address, "data": str(folder)}), flush=True)
        else:
            console = Console(highlight=False, soft_wrap=True)
            console.print(f"[bold green]Cliploom is up[/] at {url} (documentation: {url}/docs)")
            console.print(f"store {folder}, broker {address}{' (in memory)' if broker == 'embedded' else ''}")

    with local("up", as_json):
        kafka = None if broker == "embedded" else KafkaSettings.read(broker, os.environ)
        settings = ServeSettings(
            folder, host, port, allowed, command, texts, told["gate"], told["training"], kafka, grace
        )
        serve(settings, announce)
