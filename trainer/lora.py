"""LoRA training: a frozen base, an adapter on its cross-attention, a loss that is measured on the same noise.

The base's latents and text states are computed once. Every run is a function of its clips, settings and seed
(on one kind of processor).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from store.errors import SettingsError
from trainer.dataset import FrameSet
from trainer.families.base import Family, Texts
from trainer.loop import Progress, fit

MEASURED_TIMES = 8
"""Times at which a fixed-noise loss is measured, spread evenly: chosen, the loss varies fivefold over them."""
MEASURED_FRAMES = 64
"""Frames it is measured on at most: chosen, a second on the small base."""
MEASURING_SEED = 20_240


@dataclass(frozen=True)
class LoraSettings:
    """What a run may choose. Defaults are for the small base; a pretrained base wants its resolution and lr 1e-4.

    base: folder or hub id of a pretrained base; None trains on a small base made from the footage.
    alpha: the adapter's output is scaled by alpha / rank.
    caption_dropout: share of steps with an empty text.
    """

    base: str | None = None
    rank: int = 8
    alpha: int = 8
    lr: float = 5e-3
    steps: int = 300
    batch: int = 8
    resolution_px: int = 64
    frames_per_clip: int = 8
    caption_dropout: float = 0.05
    guidance: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("rank", 1, 1024),
            ("alpha", 1, 4096),
            ("lr", 1e-8, 1),
            ("steps", 1, 1_000_000),
            ("batch", 1, 4096),
            ("resolution_px", 16, 4096),
            ("frames_per_clip", 1, 4096),
            ("caption_dropout", 0, 1),
            ("guidance", 0, 100),
        ):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
                raise SettingsError(f"LoRA setting {name} is {value!r}; expected a number from {low:g} to {high:g}")
        if self.resolution_px % 8:
            raise SettingsError(f"LoRA setting resolution_px is {self.resolution_px}; expected a multiple of 8")

    @staticmethod
    def of(given: Mapping[str, Any]) -> "LoraSettings":
        """Settings from the fields that differ from their defaults.

        Raises:
            SettingsError: a field is unknown, or a value out of range.
        """
        known = {f.name for f in fields(LoraSettings)}
        unknown = sorted(given.keys() - known)
        if unknown:
            raise SettingsError(f"LoRA settings {', '.join(unknown)} are not known; known: {', '.join(sorted(known))}")
        return LoraSettings(**given)


@dataclass(frozen=True)
class TrainedLora:
    """How the training went: the loss of every step, and losses on fixed noise before and after it."""

    losses: tuple[float, ...]
    held_out_before: float
    held_out_after: float
    fixed_before: float
    """On trained-on frames."""
    fixed_after: float
    n_parameters: int
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Encoded:
    """A frame set as the denoiser reads it.

    latents: float32 [N, ...]. texts: states of each clip's text, then of the empty text. text_of: int64 [N].
    """

    latents: Tensor
    texts: Texts
    text_of: Tensor

    def texts_at(self, rows: Tensor) -> Texts:
        """The denoiser's text arguments for `rows` of `texts`."""
        return {name: states[rows] for name, states in self.texts.items()}


def encode(family: Family, frames: FrameSet) -> Encoded:
    """Latents and text states of a frame set, computed once."""
    distinct = sorted(set(frames.texts))
    row_of_text = np.array([distinct.index(text) for text in frames.texts])
    return Encoded(
        latents=family.encode_frames(frames.frames_rgb),
        texts=family.encode_texts([*distinct, ""]),
        text_of=torch.from_numpy(row_of_text[frames.clip_of]),
    )


def train_lora(
    family: Family, frames: FrameSet, settings: LoraSettings, parent: Path | None, progress: Progress
) -> TrainedLora:
    """Add an adapter to `family` and train it on the frames that are not held out.

    Args:
        parent: adapter file to start from; None starts from an adapter that changes nothing.

    Raises:
        InputError: the parent does not fit, or the loss is not finite.
    """
    parameters = family.add_adapter(settings.rank, settings.alpha, settings.seed)
    if parent is not None:
        family.start_from(parent)
    encoded = encode(family, frames)
    held_out = _some(np.flatnonzero(frames.held_out))
    trained_on = _some(np.flatnonzero(~frames.held_out))
    before = [fixed_loss(family, encoded, rows) for rows in (held_out, trained_on)]
    losses = _fit(family, encoded, frames.draw_weights(), settings, progress, parameters)
    after = [fixed_loss(family, encoded, rows) for rows in (held_out, trained_on)]
    return TrainedLora(
        losses=tuple(losses),
        held_out_before=before[0],
        held_out_after=after[0],
        fixed_before=before[1],
        fixed_after=after[1],
        n_parameters=sum(parameter.numel() for parameter in parameters),
        modules=tuple(family.adapted_modules()),
    )


@torch.no_grad()
def fixed_loss(family: Family, encoded: Encoded, rows: Tensor) -> float:
    """Mean loss on `rows` at evenly spread times with noise of one seed: comparable before and after training."""
    generator = torch.Generator().manual_seed(MEASURING_SEED)
    latents, texts = encoded.latents[rows], encoded.texts_at(encoded.text_of[rows])
    losses = []
    for time in family.spread_times(MEASURED_TIMES):
        noise = torch.randn(latents.shape, generator=generator)
        losses.append(family.loss(latents, noise, time.expand(len(rows)), texts).mean().item())
    return float(np.mean(losses))


def reload_difference(trained: Family, reloaded: Family, frames: FrameSet) -> float:
    """Largest absolute difference of two models' pictures from the same latents, texts, times and noise.

    Zero where the adapter file says all that the trained adapter is.
    """
    frames_rgb, clips = frames.frames_rgb[:4], frames.clip_of[:4]
    texts = [frames.texts[clip] for clip in clips]
    latents = trained.encode_frames(frames_rgb)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(MEASURING_SEED))
    times = trained.spread_times(len(latents))
    with torch.no_grad():
        outputs = [family.predict(latents, noise, times, family.encode_texts(texts)) for family in (trained, reloaded)]
    return (outputs[0] - outputs[1]).abs().max().item()


def _fit(
    family: Family,
    encoded: Encoded,
    weights: Tensor,
    settings: LoraSettings,
    progress: Progress,
    parameters: list[torch.nn.Parameter],
) -> list[float]:
    generator = torch.Generator().manual_seed(settings.seed)
    empty = max(len(states) for states in encoded.texts.values()) - 1

    def loss_of_step() -> Tensor:
        rows = torch.multinomial(weights, settings.batch, replacement=True, generator=generator)
        dropped = torch.rand(settings.batch, generator=generator) < settings.caption_dropout
        texts = encoded.texts_at(encoded.text_of[rows].masked_fill(dropped, empty))
        noise = torch.randn(encoded.latents[rows].shape, generator=generator)
        return family.loss(encoded.latents[rows], noise, family.sample_times(len(rows), generator), texts).mean()

    def told(step: int, loss: float) -> None:
        progress("lora", step, settings.steps, loss)

    return fit(parameters, loss_of_step, settings.steps, settings.lr, told)


def _some(rows: np.ndarray) -> Tensor:
    """At most `MEASURED_FRAMES` of `rows`, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(MEASURED_FRAMES, len(rows))).round().astype(int))
    return torch.from_numpy(rows[chosen])
