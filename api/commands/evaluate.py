"""`cliploom eval`: figures of how well annotations hold."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from api.commands.output import AsJson, grid, local, show
from api.commands.workers import Data, Device
from processors.reason import KEY_VARIABLE
from store.errors import InputError
from store.records import Json

app = typer.Typer(help="Measure how well annotations hold.")


@app.command()
def annotation(
    clips: Annotated[int, typer.Option(min=1, help="How many clips of the store, an even sample of them.")] = 50,
    references: Annotated[
        Path | None, typer.Option(help="JSON lines of clip_id and caption, by people, to compare with.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Model profile: a name, or a path to a TOML file.")] = "measured",
    data: Data = Path("data"),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Describe clips again with nothing changed, with another seed, sampled at other moments and asked in other words,
    and tell how many strings change; with contradictions, coverage, lengths and entropy. Needs no service.
    """
    # Here, because they load torch: the other commands start without it.
    from processors.device import choose_device, half_precision
    from processors.engine import Engine
    from processors.evaluation import KeptHere, evaluate
    from processors.profile import build_if_tiny, load_profile
    from processors.reason.opening import open_reasoner
    from processors.reason.reasoner import Reasoner
    from store.store import Store

    models = data.resolve() / "models"
    with local("eval annotation", as_json):
        captions = _captions(references)
        if not (data / "lance").is_dir():
            raise InputError(f"{data} holds no store; give its folder with --data")
        store = Store.open(data)
        rows = store.clips.select(where="media_key IS NOT NULL", columns=["media_key"])[:clips]
        build_if_tiny(profile, models)
        on = choose_device(device)
        measuring = Engine(load_profile(profile, models), on, half_precision(on))
        measuring.load()
        key = os.environ.get(KEY_VARIABLE, "")
        first, line, absent = open_reasoner(profile, models, KeptHere(), key)
        first.engine.load(device)

        def opened(seed: int, paraphrase: int | None) -> Reasoner:
            reasoner, _, _ = open_reasoner(profile, models, KeptHere(), key, seed, paraphrase)
            reasoner.engine = first.engine
            return reasoner

        with Progress(console=Console(stderr=True), disable=as_json) as progress:
            task = progress.add_task("clips", total=len(rows))
            paths = {row["clip_id"]: store.media.local_file(row["media_key"]) for row in rows}
            found = evaluate(paths, measuring, opened, line.frames, lambda clip_id: progress.advance(task))
        show(found.report(captions) | {"absent": absent}, as_json, _print)


def _captions(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        captions = {line["clip_id"]: line["caption"] for line in lines}
        if not all(isinstance(told, str) for one in captions.items() for told in one):
            raise TypeError("clip_id and caption are text")
        return captions
    except OSError as error:
        raise InputError(f"references {path} cannot be read: {error.strerror}; give an existing file") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'references {path}: write lines such as {{"clip_id": "...", "caption": "..."}}') from error


def _print(console: Console, report: Json) -> None:
    console.print(f"{report['n_clips']} clips, engine {report['engine']}", highlight=False)
    if report["absent"]:
        console.print(f"the profile's engine is absent: {report['absent']}", highlight=False, markup=False)
    changed = [
        (name, share, ", ".join(f"{slot} {n}" for slot, n in report["changed_slots"][name].items()))
        for name, share in report["changed"].items()
    ]
    console.print(grid("Strings that change", ("when", "share of clips", "attributes"), changed))
    entropies, tokens = report["entropy_bits"], report["tokens"]
    figures = [
        ("clips without an answer of the engine", report["without_answer"]),
        ("mean contradiction", report["contradiction"]),
        ("clips with too many contradictions", report["contradicted"]),
        ("terms of the vocabulary in use", report["coverage"]["terms"]),
        ("different strings", report["unique_strings"]),
        ("tokens of a string: mean, 95 %, most", f"{tokens['mean']}, {tokens['p95']}, {tokens['max']}"),
        ("ambiguous clips", report["ambiguous"]),
        *((f"entropy of {name}, bits", bits) for name, bits in entropies.items()),
        *((f"asked: {name}", value) for name, value in report["usage"].items()),
        *((f"agreement: {name}", value) for name, value in (report["agreement"] or {}).items()),
    ]
    console.print(grid("", ("figure", "value"), figures))
    known = report["coverage"]["slots"]
    console.print(grid("How often each attribute is known", ("attribute", "share of clips"), list(known.items())))
