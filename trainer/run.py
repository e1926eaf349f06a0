"""One training run, from a request to its artefacts."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from store.errors import Conflict, InputError, NotFound
from store.records import Json, TrainingRequested
from trainer.bases import Base, find_base
from trainer.card import Lineage, write_card
from trainer.dataset import FrameSet, TrainingClip, gather_frames, run_texts
from trainer.families.base import Family, Generation, adapter_header
from trainer.loop import Progress
from trainer.lora import LoraSettings, TrainedLora, reload_difference, train_lora
from trainer.opening import open_base
from trainer.pictures import draw_grid, draw_losses
from trainer.smallbase import SmallBaseSettings, small_base

RELOAD_TOLERANCE = 1e-5
"""Largest difference of a reloaded adapter's output: chosen; 0 was measured on a CPU, a GPU may reorder sums."""
LEAST_OTHER_CLIPS = 8
"""Other clips that a small base needs; chosen. With fewer it is trained on the members too."""
GRID_COLUMNS = 6
GRID_SEED = 1000
SAMPLING_STEPS = 25
"""Chosen: more changed nothing that the eye sees on the small base."""


@dataclass(frozen=True)
class Workplace:
    """Where and how a run works.

    bases: folder of small bases, kept between runs. out: folder that the artefacts are written to. small_base: how a
    small base is made, where one is needed; its resolution is the run's.
    """

    bases: Path
    out: Path
    device: str = "cpu"
    small_base: SmallBaseSettings = SmallBaseSettings()


@dataclass(frozen=True)
class TrainingResult:
    """What a run made: files by name, and JSON-ready metrics."""

    artefacts: dict[str, Path]
    metrics: Json


def run_training(
    request: TrainingRequested,
    members: Sequence[TrainingClip],
    footage: Sequence[TrainingClip],
    place: Workplace,
    lineage: Lineage,
    progress: Progress,
) -> TrainingResult:
    """Train an adapter, check that a fresh pipeline gives the same with it, draw it and write its card.

    Args:
        members: the concept's clips; held clips are refused.
        footage: every clip that may be trained on, members or not. A small base is made of those that are no members,
            so that the adapter has something to teach it: on a base that had seen them, 300 steps left the held-out
            loss within 1%; on one that had not, they lowered it by 16% (30 members of 82 clips).

    Raises:
        Conflict: a clip is held, the parent was trained on another base, or a reloaded adapter gives something else.
        InputError: too few clips, broken frames, a parent that does not fit, a loss that is not finite.
        ModelUnavailable, NotFound: the base is not here.
        SettingsError: the request's settings are wrong.
    """
    _hush_progress_bars()
    settings = LoraSettings.of(request.settings)
    if (request.parent is None) != (lineage.parent_adapter is None):
        raise InputError(f"run {request.run_id}: parent run {request.parent!r} and its adapter file must come together")
    frames = gather_frames(members, settings.resolution_px, settings.frames_per_clip)
    base = _choose_base(settings, _others(members, footage), place, lineage.parent_adapter, progress)
    family = open_base(base, place.device)
    how = Generation(settings.resolution_px, SAMPLING_STEPS, settings.guidance)
    frames = replace(frames, texts=tuple(run_texts(members, family.text, request.token)))
    texts = _columns(frames.texts)
    seeds = [GRID_SEED + column for column in range(len(texts))]
    before = family.generate(texts, seeds, how)

    trained = train_lora(family, frames, settings, lineage.parent_adapter, progress)
    progress("evaluate", 1, 3, None)
    place.out.mkdir(parents=True, exist_ok=True)
    adapter = family.save_adapter(place.out, _header(request, base))
    difference = _check_reload(family, base, adapter, frames, place.device)
    progress("evaluate", 2, 3, None)
    after = family.generate(texts, seeds, how)
    metrics = _metrics(settings, base, members, frames, trained) | {"reload_max_abs_diff": difference}
    rows = {"footage": _real_frames(texts, frames), "base": before, "base + LoRA": after}
    artefacts = {
        adapter.name: adapter,
        "grid.png": draw_grid(place.out / "grid.png", texts, rows, f"run {request.run_id[:12]} on {base.label}"),
        "losses.png": draw_losses(place.out / "losses.png", trained, base.label),
        "losses.json": _write_losses(place.out / "losses.json", trained),
        "README.md": write_card(place.out / "README.md", request, lineage, members, metrics),
    }
    progress("evaluate", 3, 3, None)
    return TrainingResult(artefacts=artefacts, metrics=metrics)


def _hush_progress_bars() -> None:
    """The libraries' own bars would break up ours; `progress` tells how far a run is."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def _choose_base(
    settings: LoraSettings,
    footage: Sequence[TrainingClip],
    place: Workplace,
    parent_adapter: Path | None,
    progress: Progress,
) -> Base:
    """The base that the settings name, else the parent's, else a small one of the footage."""
    parents = adapter_header(parent_adapter).get("cliploom", {}).get("base") if parent_adapter else None
    if settings.base is not None:
        base = find_base(settings.base)
        if parents not in (None, base.id):
            raise Conflict(f"the parent adapter was trained on base {parents}, not on {base.id}; name the parent's")
        return base
    if parent_adapter is None:
        small = replace(place.small_base, resolution_px=settings.resolution_px)
        return small_base(footage, place.bases, small, progress)
    if not parents or not (place.bases / parents).is_dir():
        raise NotFound(
            f"base {parents or 'unknown'} of the parent adapter is gone from {place.bases.name}/; train a new stage A"
        )
    return Base.read(place.bases / parents)


def _others(members: Sequence[TrainingClip], footage: Sequence[TrainingClip]) -> Sequence[TrainingClip]:
    """The footage without the members, unless too little is left for a base."""
    member_ids = {clip.clip_id for clip in members}
    others = [clip for clip in footage if clip.clip_id not in member_ids]
    return others if len(others) >= LEAST_OTHER_CLIPS else footage


def _header(request: TrainingRequested, base: Base) -> dict[str, Any]:
    """What the adapter file says of itself."""
    return {
        "run_id": request.run_id,
        "concept": request.concept,
        "trigger_word": request.token,
        "stage": request.stage,
        "members_digest": request.members_digest,
        "parent": request.parent,
        "base": base.id,
        "base_label": base.label,
    }


def _check_reload(trained: Family, base: Base, adapter: Path, frames: FrameSet, device: str) -> float:
    """Load the adapter into a fresh pipeline and compare; returns the largest absolute difference."""
    reloaded = open_base(base, device)
    reloaded.load_adapter(adapter)
    difference = reload_difference(trained, reloaded, frames)
    if not difference <= RELOAD_TOLERANCE:
        raise Conflict(
            f"adapter {adapter.name}, loaded into a fresh pipeline, differs by {difference:g}, at most"
            f" {RELOAD_TOLERANCE:g} is accepted; it is not published; report the versions of diffusers and peft"
        )
    return difference


def _columns(texts: Sequence[str]) -> list[str]:
    """The members' commonest texts, ties in alphabetical order."""
    counts = Counter(texts)
    return sorted(counts, key=lambda text: (-counts[text], text))[:GRID_COLUMNS]


def _real_frames(texts: Sequence[str], frames: FrameSet) -> np.ndarray:
    """For each text the middle frame of the first clip that bears it: uint8 [N, R, R, 3]."""
    chosen = []
    for text in texts:
        rows = np.flatnonzero(frames.clip_of == frames.texts.index(text))
        chosen.append(frames.frames_rgb[rows[len(rows) // 2]])
    return np.stack(chosen)


def _metrics(
    settings: LoraSettings, base: Base, members: Sequence[TrainingClip], frames: FrameSet, trained: TrainedLora
) -> Json:
    return {
        "base": base.id,
        "base_label": base.label,
        "base_clip_ids": list(base.clip_ids),
        "settings": asdict(settings),
        "n_clips": len(members),
        "n_videos": len({clip.video_id for clip in members}),
        "n_frames": len(frames.frames_rgb),
        "n_held_out_frames": int(frames.held_out.sum()),
        "n_parameters": trained.n_parameters,
        "n_modules": len(trained.modules),
        "held_out_loss_before": trained.held_out_before,
        "held_out_loss_after": trained.held_out_after,
        "fixed_loss_before": trained.fixed_before,
        "fixed_loss_after": trained.fixed_after,
        "last_loss": trained.losses[-1],
    }


def _write_losses(path: Path, trained: TrainedLora) -> Path:
    path.write_text(json.dumps(asdict(trained), indent=1))
    return path
