"""`cliploom models`: the pretrained models of a profile, on this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from api.commands.output import REFUSED, AsJson, fail, grid, local, show, size
from api.commands.workers import Data
from store.errors import ModelUnavailable
from store.records import Json

app = typer.Typer(help="The pretrained models of a profile: what is there, fetching it, checking it.")
Profile = Annotated[str, typer.Option(help="Model profile: a name, or a path to a TOML file.")]


@app.command("list")
def list_(profile: Profile = "pretrained", data: Data = Path("data"), as_json: AsJson = False) -> None:
    """Which models the profile loads, where they lie, and whether they are there."""
    show(_states(profile, data, as_json, read=False), as_json, _print)


@app.command()
def verify(profile: Profile = "pretrained", data: Data = Path("data"), as_json: AsJson = False) -> None:
    """Read every file and compare it with what was pulled. Needs no network; ends with 1 if a model is not right."""
    told = _states(profile, data, as_json, read=True)
    show(told, as_json, _print)
    if any(model["state"] != "present" for model in told):
        raise typer.Exit(REFUSED)


@app.command()
def pull(profile: Profile = "pretrained", data: Data = Path("data"), as_json: AsJson = False) -> None:
    """Fetch what is missing, once, into the store's folder of models; the service itself never asks a network."""
    # Here, because they load torch: the other commands start without them.
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars

    from processors.models.pull import pull_model
    from processors.profile import load_profile
    from processors.tiny import build_tiny_models

    folder = data.resolve() / "models"
    if as_json:
        disable_progress_bars()
    problems: dict[str, str] = {}
    with local("models pull", as_json):
        lines = load_profile(profile, folder).models
        if any(line.model.startswith("tiny/") for line in lines):
            build_tiny_models(folder)
        for line in lines:
            try:
                if not line.model.startswith("tiny/"):
                    pull_model(line, folder, constants.HF_HUB_OFFLINE, tell=_nothing if as_json else _tell)
            except ModelUnavailable as error:
                problems[line.model] = f"{line.model}: {error}"
    told = _states(profile, data, as_json, read=False)
    if problems:
        n_models = len({line.model for line in lines})
        there = f"{n_models - len(problems)} of {n_models} models are there"
        what = "\n".join(problems.values())
        problem = {"error": "ModelUnavailable", "what": what, "where": "models pull", "remedy": there}
        raise fail(problem | {"models": told}, as_json)
    show(told, as_json, _print)


def _states(profile: str, data: Path, as_json: bool, read: bool) -> list[Json]:
    """Each model of the profile as the commands tell it; bytes and sha256 are of its files together."""
    from processors.models.catalogue import model_states
    from processors.models.lock import combined_digest
    from processors.profile import load_profile

    folder = data.resolve() / "models"
    with local("models", as_json):
        states = model_states(load_profile(profile, folder), folder, read)
    return [
        {
            "processor": state.line.processor,
            "model": state.line.model,
            "revision": state.found.revision or state.line.revision,
            "licence": state.licence,
            "optional": state.line.optional,
            "state": state.found.state,
            "where": str(state.found.place) if state.found.place else None,
            "bytes": sum(state.size_bytes.values()) or None,
            "sha256": combined_digest(state.sha256) if state.sha256 else None,
            "files": state.sha256,
            "problem": state.found.problem,
            "remedy": f"run `cliploom models pull --profile {profile}`" if state.found.problem else "",
        }
        for state in states
    ]


def _tell(line: str) -> None:
    Console(stderr=True).print(line, soft_wrap=True, highlight=False)


def _nothing(line: str) -> None:
    return


def _print(console: Console, told: list[dict[str, Any]]) -> None:
    if not told:
        console.print("the profile loads no model")
        return
    rows = [
        (
            model["model"],
            model["processor"],
            (model["revision"] or "any")[:12],
            model["licence"] or "not told",
            size(model["bytes"]),
            (model["sha256"] or "–")[:12],
            model["state"] + (" (optional)" if model["optional"] else ""),
        )
        for model in told
    ]
    console.print(grid("", ("model", "for", "revision", "licence", "size", "sha256", "state"), rows))
    for model in told:
        if model["problem"]:
            console.print(f"{model['problem']}: {model['remedy']}", soft_wrap=True, highlight=False, markup=False)
