"""LoRA training: a frozen base, an adapter on it, a control projector beside it, and losses on noise that is fixed.

Every run is a function of its clips, settings and seed (on one kind of processor).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trainer.adapters import Adapter, adapted_modules, add_adapter, start_from
from trainer.control import ControlProjector, read_control
from trainer.crew import Crew
from trainer.encoded import Encoded
from trainer.families.base import Family
from trainer.loop import Checkpoints, Progress, drawn, fit
from trainer.settings import LoraSettings

MEASURED_TIMES = 8
"""Times at which a fixed-noise loss is measured, spread evenly: chosen, the loss varies fivefold over them."""
MEASURED_PIECES = 64
"""Pieces it is measured on at most: chosen, a second on the small base."""
MEASURED_AT_ONCE = 16
MEASURING_SEED = 20_240


@dataclass(frozen=True)
class Parent:
    """What a run starts from: files of an adapter and, where it has one, of its control projector."""

    adapter: Path
    control: Path | None


@dataclass(frozen=True)
class Student:
    """A family with the adapter that is trained, what that lies on top of, and the projector, attached."""

    family: Family
    parameters: tuple[nn.Parameter, ...]
    beneath: Adapter | None
    control: ControlProjector | None

    @property
    def n_parameters(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self.parameters)

    @property
    def modules(self) -> list[str]:
        """Names of the modules with an adapter."""
        return adapted_modules(self.family)


def prepare(family: Family, settings: LoraSettings, channels: Sequence[str], parent: Parent | None) -> Student:
    """Add what is to be trained: it changes nothing yet, or does what the parent does.

    Args:
        channels: names of the control channels; none: no control is trained.

    Raises:
        InputError: the parent does not fit.
    """
    parameters = add_adapter(family, settings.rank, settings.alpha, settings.targets, settings.seed)
    beneath = start_from(family, parent.adapter, settings.start) if parent else None
    control = None
    if channels or settings.pose:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            pose = family.pose_projector() if settings.pose else None
            control = ControlProjector(channels, family.control_width, family.control_at, pose=pose)
        if parent and parent.control:
            control.take_over(read_control(parent.control))
        control.to(family.denoiser.device).attach(family.denoiser)
        parameters = [*parameters, *control.parameters()]
    if settings.save_memory:
        family.denoiser.enable_gradient_checkpointing()
        family.denoiser.train()
    return Student(family, tuple(parameters), beneath, control)


def train_lora(
    student: Student,
    encoded: Encoded,
    shares: np.ndarray,
    settings: LoraSettings,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    crew: Crew = Crew(),
) -> list[float]:
    """Train on pieces drawn by their shares, float64 [N]; returns the loss of every step.

    Every process of a crew draws the same batch, and computes its own part of it.

    Raises:
        InputError: the loss is not finite.
    """
    family, device, n_pieces = student.family, student.family.denoiser.device, len(encoded.latents)
    sizes = [torch.tensor(rows) for rows in encoded.batches(range(n_pieces), n_pieces)]
    often = torch.from_numpy(shares)
    of_sizes = torch.stack([often[rows].sum() for rows in sizes])
    clip_of = torch.from_numpy(encoded.clip_of)
    own = crew.part(settings.batch)

    def loss_of_step(part: int) -> Tensor:
        numbers = drawn(settings.seed, part)
        size = sizes[int(torch.multinomial(of_sizes, 1, generator=numbers))]
        rows = size[torch.multinomial(often[size], settings.batch, replacement=True, generator=numbers)]
        clips = clip_of[rows]
        column = torch.multinomial(encoded.text_shares[clips], 1, generator=numbers)
        texts = encoded.text_rows[clips].gather(1, column)[:, 0]
        dropped = torch.rand(settings.batch, generator=numbers) < settings.caption_dropout
        states = encoded.texts_at(texts.masked_fill(dropped, encoded.empty_text)[own], device)
        latents = torch.stack([encoded.latents[row] for row in rows[own].tolist()])
        weights = None
        if encoded.weights:
            weights = torch.stack([encoded.weights[row] for row in rows[own].tolist()]).to(device)
        noise = torch.randn(settings.batch, *latents.shape[1:], generator=numbers)
        times = family.objective.sample_times(noise, numbers)
        given = (latents.to(device), noise[own].to(device), times[own].to(device), states)
        present, poses = encoded.present[clips], encoded.poses_at(rows[own].tolist())
        if student.control is not None:
            # Poses, where there are any, count as one channel more.
            like = present if poses is None else torch.cat([present, present.new_ones(settings.batch, 1)], dim=1)
            stays = _kept_channels(like, settings.control_dropout, numbers)
            present = present * stays[:, : present.shape[1]]
            poses = None if poses is None else (poses[0], poses[1] * stays[own, -1])
        with steering(student.control, encoded.values[clips][own], present[own], poses):
            return family.loss(*given, settings.temporal, weights).mean()

    def told(step: int, loss: float) -> None:
        progress("lora", step, settings.steps, loss)

    lr = settings.lr * settings.lr_share
    return fit(student.parameters, loss_of_step, settings.steps, lr, told, settings.accumulate, checkpoints, crew)


def steering(
    control: ControlProjector | None, values: Tensor, present: Tensor, poses: tuple[Tensor, Tensor] | None = None
) -> AbstractContextManager[None]:
    """Each sample of a batch is steered by its row, where there is a projector."""
    return nullcontext() if control is None else control.steer_rows(values, present, poses=poses)


def _kept_channels(like: Tensor, dropout: float, numbers: torch.Generator) -> Tensor:
    """1 where a channel of [N, C] stays: each is dropped alone, and all of a sample together, so often."""
    alone = torch.rand(like.shape, generator=numbers) >= dropout
    together = torch.rand(len(like), 1, generator=numbers) >= dropout
    return (alone & together).float()


@torch.no_grad()
def fixed_losses(student: Student, encoded: Encoded, rows: list[int], with_poses: bool = False) -> np.ndarray:
    """float64 [len(rows), T]: the loss of each piece, by its likeliest text and its channels, at evenly spread times.

    The noise is always the same: comparable before and after training, and between adapters of a base. Poses are left
    out unless asked for: they tell so much of a picture that it would pass for what the adapter has learned.
    """
    family, device = student.family, student.family.denoiser.device
    losses = np.empty((len(rows), MEASURED_TIMES))
    for wanted in encoded.batches(rows, MEASURED_AT_ONCE):
        at = [rows.index(row) for row in wanted]
        latents = torch.stack([encoded.latents[row] for row in wanted])
        noises = [
            torch.randn(MEASURED_TIMES, *latents.shape[1:], generator=drawn(MEASURING_SEED, row)) for row in wanted
        ]
        clips = torch.from_numpy(encoded.clip_of[wanted])
        states = encoded.texts_at(encoded.text_rows[clips, 0], device)
        poses = encoded.poses_at(wanted) if with_poses else None
        with steering(student.control, encoded.values[clips], encoded.present[clips], poses):
            for column, time in enumerate(family.objective.spread_times(latents, MEASURED_TIMES)):
                noise = torch.stack([one[column] for one in noises]).to(device)
                times = time.expand(len(wanted)).to(device)
                losses[at, column] = family.loss(latents.to(device), noise, times, states).cpu().numpy()
    return losses
