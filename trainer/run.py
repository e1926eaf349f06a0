"""One training run, from a request to its artefacts."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers.utils import logging as transformers_logging

from store.errors import Conflict, InputError, NotFound
from store.records import Json, TrainingRequested, digest
from trainer import control as control_module
from trainer import skeletons as skeletons_module
from trainer.adapters import adapter_header, load_adapter, save_adapter, unload_adapter
from trainer.bases import Base, find_base
from trainer.card import Lineage, write_card
from trainer.control import ControlProjector, load_control, read_control
from trainer.crew import Crew
from trainer.cutting import cut_one_of_each, size_of
from trainer.dataset import refuse_unfit
from trainer.encoded import Kept
from trainer.evaluation import drift, gain, judge, neutral_samples
from trainer.exports import Export, export_adapter
from trainer.families.base import Family, Generation
from trainer.joining import Call, telling_of_memory
from trainer.leftovers import note_clips
from trainer.loop import Checkpoints, Progress
from trainer.lora import Student, prepare, steering, train_lora
from trainer.material import Material, RunClips, gather
from trainer.measuring import Meter
from trainer.opening import family_of, open_base
from trainer.pictures import draw_grid, draw_losses, draw_sweeps
from trainer.report import write_report
from trainer.settings import LoraSettings
from trainer.smallbase import SmallBaseSettings, small_base
from trainer.standing import Standing, draw_posed, likeness, worth_of_poses, worth_sweeping

TOLERANCES = {"float32": 1e-4, "bfloat16": 0.1}
"""Largest difference of a reloaded adapter's output, of about 1, by the base's precision. Chosen: 0 was measured on a
CPU; a GPU may reorder sums, and what was fused into the base is rounded."""
LEAST_OTHER_CLIPS = 8
"""Other clips that a small base needs; chosen. With fewer it is trained on the members too."""
GRID_COLUMNS = 6
GRID_SEED = 1000
CHECKED_PIECES = 4


@dataclass(frozen=True)
class Workplace:
    """Where and how a run works.

    bases: folder of small bases. kept: folder of encoded clips. run: folder of this run's state, where a killed run
    goes on; deleted by whoever has put the result away. out: folder that the artefacts are written to. small_base: how
    a small base is made, where one is needed; its resolution is the run's. meter: measures what the model draws. crew:
    of this process, the main one, and those that it calls to train along.
    """

    bases: Path
    kept: Path
    run: Path
    out: Path
    device: str = "cpu"
    small_base: SmallBaseSettings = SmallBaseSettings()
    meter: Meter = field(default_factory=Meter)
    crew: Crew = Crew()


@dataclass(frozen=True)
class TrainingResult:
    """What a run made: files by name, JSON-ready metrics, and the ids of the clips that it drew, and that its base was
    made of here."""

    artefacts: dict[str, Path]
    metrics: Json
    learned_from: tuple[str, ...]
    base_clip_ids: tuple[str, ...]


def run_training(
    request: TrainingRequested, clips: RunClips, place: Workplace, lineage: Lineage, progress: Progress
) -> TrainingResult:
    """Train an adapter, judge it against what it came from, check that a fresh pipeline gives the same with it.

    A run that was killed goes on from its last checkpoint when it is run again, to the same result. A small base is
    made of footage that is no member, so that the adapter has something to teach it: on a base that had seen them, 300
    steps left the held-out loss within 1%; on one that had not, they lowered it by 16% (30 members of 82 clips).

    Raises:
        Conflict: a clip is held, the parent was trained on another base, or a reloaded adapter, or what a file for
            another program holds, is something else.
        InputError: too few clips, broken media, a parent that does not fit, a loss that is not finite, too little
            memory.
        ModelUnavailable, NotFound: the base is not here.
        SettingsError: the request's settings are wrong.
    """
    # The libraries' own bars would break up ours; `progress` tells how far a run is.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    if (request.parent is None) != (lineage.parent is None):
        raise InputError(f"run {request.run_id}: parent run {request.parent!r} and its adapter file must come together")
    refuse_unfit(clips.members)
    base, settings = _choose_base(request, clips, place, lineage, progress)
    with telling_of_memory(request.run_id, settings):
        return _Run(request, clips, place, lineage, base, settings, progress).result()


@dataclass
class _Run:
    """A run with its base chosen."""

    request: TrainingRequested
    clips: RunClips
    place: Workplace
    lineage: Lineage
    base: Base
    settings: LoraSettings
    progress: Progress

    def result(self) -> TrainingResult:
        """Train, judge, check, write."""
        family = open_base(self.base, self.place.device, getattr(torch, self.settings.precision))
        how, parent = generation(family, self.settings), self.lineage.parent
        channels = read_control(parent.control).names if parent and parent.control else ()
        kept = Kept(self.place.kept, self.base.id, self.settings.precision)
        material = gather(self.request, self.clips, channels, family, self.settings, kept, self.progress)
        texts = material.commonest_texts[:GRID_COLUMNS]
        seeds = [GRID_SEED + column for column in range(len(texts))]
        neutral = neutral_samples(family, how)
        rows = {"footage": self._footage(family, material, texts), "base": family.generate(texts, seeds, how)}
        swept = worth_sweeping(material, rows["base"], family, self.settings.sweeps, self.place.meter)

        student = self._student(family, material)
        if parent:
            rows["parent"] = family.generate(texts, seeds, how)
        before = Standing.of(student, material, swept if parent else (), texts[0], how, self.place.meter)
        losses = self._train(student, material)

        self.progress("evaluate", 1, 4, None)
        self.place.out.mkdir(parents=True, exist_ok=True)
        adapter = save_adapter(family, student.beneath, self.place.out, self._header())
        control = self._save_control(student)
        difference = self._check_reload(student, material, adapter)
        exports = self._export(family, adapter)
        self.progress("evaluate", 2, 4, None)
        after = Standing.of(student, material, swept, texts[0], how, self.place.meter)
        rows["base + LoRA"] = family.generate(texts, seeds, how)
        self.progress("evaluate", 3, 4, None)
        improved = gain(before.held_out, after.held_out, material.clips_of(material.held_out))
        moved = drift(neutral, neutral_samples(family, how))
        verdict = judge(improved, "its parent" if parent else "the base", after.fidelities, before.fidelities, moved)
        metrics = self._metrics(student, material, before, after, losses)
        metrics |= likeness(self.place.meter, family, self.clips, self.settings.cut, rows)
        metrics |= {"reload_max_abs_diff": difference, "drift": moved, "held_out_gain_error": improved.error}
        metrics |= {"exports": {export.path.name: export.difference for export in exports}}
        metrics |= worth_of_poses(student, material, after) if self.settings.pose else {}
        metrics |= {"promoted": verdict.is_promoted, "verdict": list(verdict.reasons)}
        steered = self._draw_steered(student, material, after, texts[0], how)
        artefacts = self._write(family, texts, rows, steered, losses, metrics)
        artefacts |= {path.name: path for path in (adapter, *control, *(export.path for export in exports))}
        self.progress("evaluate", 4, 4, None)
        return TrainingResult(artefacts, metrics, material.learned_from, self.base.clip_ids)

    def _student(self, family: Family, material: Material) -> Student:
        """What is to be trained. With a parent, it is checked to begin where the parent ended."""
        parent = self.lineage.parent
        if parent is None:
            return prepare(family, self.settings, material.channels, None)
        load_adapter(family, parent.adapter)
        control = load_control(parent.control.parent, family.pipeline) if parent.control else None
        wanted = _outputs(family, control, material)
        unload_adapter(family)
        if control:
            control.detach()
        student = prepare(family, self.settings, material.channels, parent)
        self._same_output("the parent's adapter, taken over,", _outputs(family, student.control, material), wanted)
        return student

    def _train(self, student: Student, material: Material) -> list[float]:
        facts = digest([self.request.run_id, asdict(self.settings), self.base.id, material.facts])
        note_clips(self.place.run, {*material.clip_ids, *self.base.clip_ids})
        checkpoints = Checkpoints(self.place.run / "checkpoint.pt", facts)
        crew, given = self.place.crew, (student, material.encoded, material.shares, self.settings, self.progress)
        if crew.size > 1:
            crew.call(self._call(material, checkpoints))
        with crew.together(student.family.denoiser.device):
            return train_lora(*given, checkpoints, crew)

    def _call(self, material: Material, checkpoints: Checkpoints) -> Call:
        """What the other processes need, with a file beside the checkpoint that goes with it."""
        encoded = self.place.run / "encoded.pt"
        material.encoded.write(encoded)
        return Call(
            run_id=self.request.run_id,
            base=self.base,
            settings=self.settings,
            channels=material.channels,
            parent=self.lineage.parent,
            encoded=encoded,
            shares=material.shares,
            checkpoint=checkpoints.path,
            facts=checkpoints.facts,
        )

    def _save_control(self, student: Student) -> tuple[Path, ...]:
        """The projector, and the files that put it to use."""
        if student.control is None:
            return ()
        scripts = [shutil.copyfile(control_module.__file__, self.place.out / "cliploom_control.py")]
        if student.control.pose is not None:
            scripts.append(shutil.copyfile(skeletons_module.__file__, self.place.out / "cliploom_skeletons.py"))
        return student.control.save(self.place.out), *scripts

    def _check_reload(self, student: Student, material: Material, adapter: Path) -> float:
        """Load what was saved into a fresh pipeline and compare; returns the largest absolute difference."""
        reloaded = open_base(self.base, self.place.device, getattr(torch, self.settings.precision))
        load_adapter(reloaded, adapter)
        control = load_control(adapter.parent, reloaded.pipeline) if student.control else None
        outputs = [_outputs(student.family, student.control, material), _outputs(reloaded, control, material)]
        return self._same_output(f"adapter {adapter.name}, loaded into a fresh pipeline,", *outputs)

    def _export(self, family: Family, adapter: Path) -> list[Export]:
        """The adapter in the layouts of other programs that have such a model, each read back and compared."""
        return [] if family.comfy is None else [export_adapter(family.comfy, adapter)]

    def _same_output(self, what: str, given: Tensor, wanted: Tensor) -> float:
        """The largest difference.

        Raises:
            Conflict: it is more than rounding.
        """
        difference, accepted = (given - wanted).abs().max().item(), TOLERANCES[self.settings.precision]
        if not difference <= accepted:
            raise Conflict(
                f"{what} differs by {difference:g}, at most {accepted:g} is accepted; nothing is published; report the"
                " versions of diffusers and peft"
            )
        return difference

    def _footage(self, family: Family, material: Material, texts: Sequence[str]) -> np.ndarray:
        """A piece of the first member that bears each text, of the size of what is drawn."""
        members = [self.clips.members[material.texts.index(text)] for text in texts]
        return cut_one_of_each(members, family, self.settings.cut)

    def _header(self) -> dict[str, Any]:
        """What the adapter file says of itself."""
        return {
            "run_id": self.request.run_id,
            "concept": self.request.concept,
            "trigger_word": self.request.token,
            "stage": self.request.stage,
            "members_digest": self.request.members_digest,
            "parent": self.request.parent,
            "base": self.base.id,
            "base_label": self.base.label,
        }

    def _metrics(
        self, student: Student, material: Material, before: Standing, after: Standing, losses: Sequence[float]
    ) -> Json:
        members = self.clips.members
        return {
            "base": self.base.id,
            "base_label": self.base.label,
            "base_revision": self.base.revision,
            "pipeline": student.family.pipeline_class.__name__,
            "denoiser": student.family.denoiser_name,
            "settings": asdict(self.settings),
            "definition": self.lineage.definition,
            "recipe": self.lineage.recipe,
            "dataset_digest": self.request.members_digest,
            "snapshot": self.lineage.snapshot,
            "parent": self.request.parent,
            "n_clips": len(members),
            "n_videos": len({clip.video_id for clip in members}),
            "n_learned_from": len(material.learned_from),
            "n_pieces": len(material.encoded.latents),
            "n_held_out_pieces": len(material.held_out),
            "n_parameters": student.n_parameters,
            "n_processes": self.place.crew.size,
            "n_modules": len(student.modules),
            "channels": list(material.channels),
            "pose": self.settings.pose,
            "held_out_loss_before": float(before.held_out.mean()),
            "held_out_loss_after": float(after.held_out.mean()),
            "fixed_loss_before": float(before.trained_on.mean()),
            "fixed_loss_after": float(after.trained_on.mean()),
            "last_loss": losses[-1],
            "control_fidelity": after.fidelities,
            "control_fidelity_before": before.fidelities,
        }

    def _draw_steered(
        self, student: Student, material: Material, after: Standing, text: str, how: Generation
    ) -> dict[str, Path]:
        """Pictures of what control alone and poses do, by heading."""
        out, family, pictures = self.place.out, student.family, {}
        if after.sweeps:
            pictures["Control alone"] = draw_sweeps(out / "sweeps.png", after.sweeps, family, text)
        seeds = [GRID_SEED + column for column in range(GRID_COLUMNS)]
        texts, rows = draw_posed(student, material, self.clips.members, how, self.settings.cut, seeds)
        if texts:
            title = "poses that were asked for; of clips that it never saw, as far as there are such"
            pictures["Poses"] = draw_grid(out / "poses.png", texts, rows, family, title)
        return pictures

    def _write(
        self,
        family: Family,
        texts: Sequence[str],
        rows: Mapping[str, np.ndarray],
        steered: Mapping[str, Path],
        losses: Sequence[float],
        metrics: Json,
    ) -> dict[str, Path]:
        """The pictures, the losses and the card."""
        out = self.place.out
        title = f"run {self.request.run_id[:12]} on {self.base.label}"
        pictures = {"Samples from the same seeds": draw_grid(out / "grid.png", texts, rows, family, title)}
        pictures |= steered
        pictures["Loss"] = draw_losses(out / "losses.png", losses, metrics)
        files = [
            *pictures.values(),
            write_report(out / "report.html", self.request, metrics, pictures, texts, rows, family),
            write_card(out / "README.md", self.request, self.lineage, self.clips.members, metrics),
        ]
        (out / "losses.json").write_text(json.dumps({"losses": list(losses)}))
        return {path.name: path for path in (*files, out / "losses.json")}


def generation(family: Family, settings: LoraSettings) -> Generation:
    """How the samples that a run is judged by are drawn: square, of the area that it trains on."""
    rules, side = family.rules, settings.resolution_px
    width, height = (0, 0) if family.media == "sound" else size_of(side, side, rules.side_px, settings.cut)
    n_frames = (settings.frames - 1) // rules.frame_step * rules.frame_step + 1
    return Generation(settings.sampling_steps, settings.guidance, width, height, n_frames, settings.duration_s)


def _choose_base(
    request: TrainingRequested, clips: RunClips, place: Workplace, lineage: Lineage, progress: Progress
) -> tuple[Base, LoraSettings]:
    """The base that the settings name, else the parent's, else a small one of the footage; with the run's settings,
    which for a full-size base begin with what its family recommends."""
    settings = LoraSettings.of(request.settings)
    adapter = lineage.parent.adapter if lineage.parent else None
    parents = adapter_header(adapter).get("cliploom", {}).get("base") if adapter else None
    if settings.base is not None:
        base = find_base(settings.base)
        if parents not in (None, base.id):
            raise Conflict(f"the parent adapter was trained on base {parents}, not on {base.id}; name the parent's")
        recommended = {} if base.is_small else family_of(base).recommended
        settings = LoraSettings.of({**recommended, **request.settings})
        place.crew.refuse_uneven(settings.batch)
        return base, settings
    place.crew.refuse_uneven(settings.batch)
    if adapter is None:
        small = replace(place.small_base, resolution_px=settings.resolution_px)
        enough = len(clips.others) >= LEAST_OTHER_CLIPS
        return small_base(clips.others if enough else clips.footage, place.bases, small, progress), settings
    if not parents or not (place.bases / parents).is_dir():
        raise NotFound(
            f"base {parents or 'unknown'} of the parent adapter is gone from {place.bases.name}/; train a new stage A"
        )
    return Base.read(place.bases / parents), settings


@torch.no_grad()
def _outputs(family: Family, control: ControlProjector | None, material: Material) -> Tensor:
    """What a model says of some held-out pieces, steered by their channels and poses: to be compared between models."""
    encoded, device = material.encoded, family.denoiser.device
    rows = next(encoded.batches(material.held_out, CHECKED_PIECES))
    latents = torch.stack([encoded.latents[row] for row in rows])
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    times = family.objective.spread_times(latents, len(rows))
    clips = torch.from_numpy(encoded.clip_of[rows])
    noised = family.objective.noised(latents, noise, times).to(device)
    given = (noised, times.to(device), encoded.texts_at(encoded.text_rows[clips, 0], device))
    at = [material.channels.index(name) for name in control.names] if control else []
    with steering(control, encoded.values[clips][:, at], encoded.present[clips][:, at], encoded.poses_at(rows)):
        return family.predict(*given).cpu()
