"""Runs on the tiny base that several processes share; each rank imports this."""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from store.errors import Passing
from store.records import Control
from streams.ranks import Link
from streams.together import work_together
from tests.trainer.made_discs import NOW, made_clip, made_request, silent
from trainer.bases import Base
from trainer.card import Lineage
from trainer.crew import Crew
from trainer.encoded import Kept
from trainer.joining import Call, join
from trainer.loop import Checkpoints
from trainer.lora import prepare, train_lora
from trainer.material import Material, RunClips, gather
from trainer.opening import open_base
from trainer.run import Workplace, run_training
from trainer.settings import LoraSettings

SETTINGS = LoraSettings(rank=4, alpha=2, steps=12, batch=4, accumulate=2, resolution_px=32, per_clip=3, lr=1e-2)
CLIPS = [
    replace(
        made_clip(number, "yellow"),
        control=Control(names=("arousal",), values=((number - 24) / 4,), present=(True,)),
    )
    for number in range(20, 29)
]
QUICK = {"resolution_px": 32, "per_clip": 3, "sweeps": 0, "steps": 6, "batch": 4, "sampling_steps": 2}


def gathered(base: Base, folder: Path) -> Material:
    """Nine clips, encoded below `folder`."""
    kept = Kept(folder / "kept", base.id)
    return gather(made_request(), RunClips(CLIPS, (), ()), (), open_base(base, "cpu"), SETTINGS, kept, silent)


def whole_run(base: Base, folder: Path, crew: Crew, **settings: Any) -> tuple[dict[str, Path], dict[str, Any]]:
    """A run from its request to its artefacts: their files, and its metrics."""
    place = Workplace(base.folder.parent, folder / "kept", folder / "run", folder / "out", crew=crew)
    request = made_request(settings=QUICK | {"base": str(base.folder)} | settings)
    lineage = Lineage(definition={}, recipe="", snapshot=None, parent=None, trained_at=NOW)
    result = run_training(request, RunClips(CLIPS, (), CLIPS), place, lineage, silent)
    return result.artefacts, result.metrics


def make_worker(size: int) -> Callable[[dict[str, Any], Callable[[Any], None]], Any]:
    """Launches ranks, again and again for as long as they die; gives their result and how often they died."""

    def work(request: dict[str, Any], emit: Callable[[Any], None]) -> Any:
        kills = list(request["kills"])
        for died in range(len(kills) + 1):
            kill_at = kills[died] if died < len(kills) else None
            try:
                return work_together(size, __name__, (kill_at,), request, emit), died
            except Passing:
                continue
        return None, len(kills) + 1

    return work


def make_rank(kill_at: int | None) -> Callable[[dict[str, Any], Link], Any]:
    """kill_at: how often rank 0 looks at the clock of its checkpoints until it dies."""

    def work(request: dict[str, Any], link: Link) -> Any:
        torch.set_num_threads(1)
        base, folder = Base.read(Path(request["base"])), Path(request["folder"])
        crew = Crew(link.rank, link.size, link.call)
        if link.rank > 0:
            join(link.called(), crew, "cpu")
            return None
        if "settings" in request:
            return whole_run(base, folder, crew, **request["settings"])
        return _trained(base, folder, crew, kill_at)

    return work


def _trained(base: Base, folder: Path, crew: Crew, kill_at: int | None) -> tuple[Sequence[torch.Tensor], list[float]]:
    """Parameters and losses."""
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        if looks == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(looks)

    material, path = gathered(base, folder), folder / "checkpoint.pt"
    student = prepare(open_base(base, "cpu"), SETTINGS, material.channels, None)
    material.encoded.write(folder / "encoded.pt")
    given = (folder / "encoded.pt", material.shares, path, "facts")
    crew.call(Call("run", base, SETTINGS, material.channels, None, *given))
    with crew.together(torch.device("cpu")):
        checkpoints = Checkpoints(path, "facts", 0.0, clock)
        losses = train_lora(student, material.encoded, material.shares, SETTINGS, silent, checkpoints, crew)
    return [parameter.detach().numpy() for parameter in student.parameters], losses
