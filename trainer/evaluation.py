"""Whether an adapter is better than what it came from: measured on clips that it never saw and on what it draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from scipy.stats import rankdata

from trainer.control import ControlProjector
from trainer.families.base import Family, Generation
from trainer.measuring import Meter

LEVELS = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Of a control channel in a sweep."""
SWEEP_SEEDS = (11, 12, 13, 14)
NEUTRAL_TEXTS = ("", "a landscape", "a street at noon", "an empty room")
"""Prompts that have nothing to do with any concept; for sound they are as good as any."""
DRIFT_SEEDS = (21, 22)


@dataclass(frozen=True)
class Sweep:
    """A channel requested at some levels from the same seeds and text, everything else absent.

    requested, measured: [levels x seeds], a level's samples together; measured in the channel's own unit, NaN where
    nothing could be measured. fidelity: Spearman's rank correlation over the samples that could; None where fewer than
    half could. samples: media of the first seed, one for each level.
    """

    channel: str
    requested: tuple[float, ...]
    measured: tuple[float, ...]
    fidelity: float | None
    samples: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class Gain:
    """How much lower a loss is: mean of the differences by clip, and its standard error over clips."""

    mean: float
    error: float

    @property
    def is_sure(self) -> bool:
        """Lower by more than its error."""
        return self.mean > self.error


def gain(before: np.ndarray, after: np.ndarray, clip_of: Sequence[int]) -> Gain:
    """From losses [N, T] of the same pieces at the same noise, and the clip of each.

    With one clip there is no error to be told: it is taken for as large as the gain.
    """
    off = (before - after).mean(axis=1)
    by_clip = np.array([off[np.asarray(clip_of) == clip].mean() for clip in sorted(set(clip_of))])
    mean = float(by_clip.mean())
    error = float(by_clip.std(ddof=1) / len(by_clip) ** 0.5) if len(by_clip) > 1 else abs(mean)
    return Gain(mean, error)


def sweep(family: Family, control: ControlProjector, channel: str, text: str, how: Generation, meter: Meter) -> Sweep:
    """Ask for a channel at `LEVELS` from `SWEEP_SEEDS`, and measure what comes."""
    drawn = []
    for level in LEVELS:
        with control.steer(**{channel: level}):
            drawn.append(family.generate([text] * len(SWEEP_SEEDS), SWEEP_SEEDS, how))
    told = meter.controls(np.concatenate(drawn), family)
    requested = tuple(level for level, _ in product(LEVELS, SWEEP_SEEDS))
    measured = tuple(one.get(channel, float("nan")) for one in told)
    return Sweep(channel, requested, measured, fidelity(requested, measured), np.stack([one[0] for one in drawn]))


def fidelity(requested: Sequence[float], measured: Sequence[float]) -> float | None:
    """Spearman's rank correlation of what was measured with what was asked for; None where fewer than half could be
    measured; 0 where all came out the same."""
    known = np.isfinite(measured)
    if known.sum() * 2 < len(known):
        return None
    ranks = [rankdata(np.asarray(values)[known]) for values in (requested, measured)]
    if any(one.std() == 0.0 for one in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def most_varied(values: np.ndarray, present: np.ndarray, names: Sequence[str], n: int) -> list[str]:
    """The `n` channels that vary most, of values and present [clips, C]."""
    spreads = {name: float(values[present[:, i] > 0, i].std()) for i, name in enumerate(names) if present[:, i].any()}
    return sorted(spreads, key=lambda name: (-spreads[name], name))[:n]


def likeness_gap(drawn: np.ndarray, own: np.ndarray, others: np.ndarray) -> float | None:
    """How much nearer samples lie to the concept's clips than to contrasting ones: mean cosine to the five nearest of
    `own` less that to the five nearest of `others`; unit vectors [N, D]. None where there is nothing to contrast."""
    if not len(own) or not len(others):
        return None
    near = [np.sort(drawn @ clips.T, axis=1)[:, -5:].mean() for clips in (own, others)]
    return float(near[0] - near[1])


def neutral_samples(family: Family, how: Generation) -> np.ndarray:
    """What the model draws for prompts that no concept is about."""
    texts = [text for text in NEUTRAL_TEXTS for _ in DRIFT_SEEDS]
    return family.generate(texts, DRIFT_SEEDS * len(NEUTRAL_TEXTS), how)


def drift(base: np.ndarray, adapted: np.ndarray) -> float:
    """How far an adapter moved what it should leave alone: mean absolute difference of samples from the same seeds, as
    a share of the difference between the base's own samples of two seeds. 0: not at all; 1: as much as another seed."""
    was, now = base.astype(np.float64), adapted.astype(np.float64)
    of_seeds = np.abs(was[0::2] - was[1::2]).mean()
    return float(np.abs(was - now).mean() / max(of_seeds, 1e-9))


def flicker(videos: np.ndarray) -> float:
    """Mean absolute second difference in time of uint8 [N, T, H, W, 3], as a share of the range; 0 for T < 3. Steady
    motion of a soft edge has little, what jumps to and fro has much."""
    if videos.shape[1] < 3:
        return 0.0
    return float(np.abs(np.diff(videos.astype(np.float32) / 255.0, n=2, axis=1)).mean())


@dataclass(frozen=True)
class Verdict:
    """Whether an adapter goes into use, and why."""

    is_promoted: bool
    reasons: tuple[str, ...]


LEAST_FIDELITY_KEPT = 0.1
"""Chosen: a sweep of twenty samples wobbles by so much from seed to seed."""
MOST_DRIFT = 1.0
"""Chosen: neutral prompts then give pictures as different as from another seed; the prior is gone."""


def judge(
    improved: Gain, parent: str, fidelities: Mapping[str, float], before: Mapping[str, float], moved: float
) -> Verdict:
    """An adapter goes into use where it is surely better on held-out clips than its parent (or the base, for a first
    one), follows control no worse, and has left the base's prior in place.

    Args:
        improved: of the held-out loss. parent: what it is compared with, for a person.
        fidelities, before: of each channel, of this adapter and of its parent.
        moved: see `drift`.
    """
    told = f"held-out loss is {'lower' if improved.mean > 0 else 'not lower'} than that of {parent}: by"
    reasons = [f"{told} {improved.mean:.4f} with an error of {improved.error:.4f}"]
    lost = {name: value for name, value in before.items() if fidelities.get(name, value) < value - LEAST_FIDELITY_KEPT}
    reasons += [f"control of {name} fell from {value:.2f} to {fidelities[name]:.2f}" for name, value in lost.items()]
    if moved > MOST_DRIFT:
        reasons.append(f"neutral prompts moved by {moved:.2f} of the difference between seeds, at most {MOST_DRIFT:g}")
    return Verdict(improved.is_sure and not lost and moved <= MOST_DRIFT, tuple(reasons))
