"""How a student does at one moment: its losses on fixed noise, how it follows control, how it looks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from store.errors import InputError
from store.records import Json
from trainer.cutting import CutSettings, cut_clip, cut_one_of_each
from trainer.dataset import TrainingClip
from trainer.evaluation import Sweep, flicker, gain, likeness_gap, most_varied, sweep
from trainer.families.base import Family, Generation
from trainer.lora import Student, fixed_losses
from trainer.material import Material, RunClips
from trainer.measuring import Meter
from trainer.poses import poses_shown

_COMPARED_CLIPS = 24
"""Chosen: members, and others, that samples are compared with; a frame each."""


@dataclass(frozen=True)
class Standing:
    """held_out, trained_on: losses float64 [pieces, times] of members. sweeps: of control channels."""

    held_out: np.ndarray
    trained_on: np.ndarray
    sweeps: tuple[Sweep, ...]

    @property
    def fidelities(self) -> dict[str, float]:
        """Channel to rank correlation, of those that could be measured."""
        return {one.channel: one.fidelity for one in self.sweeps if one.fidelity is not None}

    @staticmethod
    def of(
        student: Student, material: Material, swept: Sequence[str], text: str, how: Generation, meter: Meter
    ) -> "Standing":
        """Measure a student, and how it follows the control channels that are to be swept."""
        sweeps = []
        if student.control is not None:
            sweeps = [sweep(student.family, student.control, one, text, how, meter) for one in swept]
        losses = [fixed_losses(student, material.encoded, rows) for rows in (material.held_out, material.trained_on)]
        return Standing(losses[0], losses[1], tuple(sweeps))


def worth_sweeping(material: Material, samples: np.ndarray, family: Family, n: int, meter: Meter) -> list[str]:
    """The `n` channels that vary most in the clips, of those that can be measured on what the family draws.

    Args:
        samples: some of that, as `Family` describes media.
    """
    told = meter.controls(samples, family)
    encoded, names = material.encoded, material.channels
    at = [i for i, name in enumerate(names) if 2 * sum(name in one for one in told) >= len(told)]
    return most_varied(encoded.values[:, at].numpy(), encoded.present[:, at].numpy(), [names[i] for i in at], n)


def worth_of_poses(student: Student, material: Material, after: Standing) -> Json:
    """How much lower the held-out loss is with the clips' own poses than without; None where none of them has one."""
    encoded = material.encoded
    at = [i for i, clip in enumerate(material.clips_of(material.held_out)) if encoded.posed[clip]]
    if not at:
        return {"pose_gain": None, "pose_gain_error": None}
    rows = [material.held_out[i] for i in at]
    improved = gain(after.held_out[at], fixed_losses(student, encoded, rows, with_poses=True), material.clips_of(rows))
    return {"pose_gain": improved.mean, "pose_gain_error": improved.error}


def draw_posed(
    student: Student,
    material: Material,
    members: Sequence[TrainingClip],
    how: Generation,
    cut: CutSettings,
    seeds: Sequence[int],
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Members' texts, and rows of media: poses of theirs, samples that these were asked of, and samples from the same
    text and seed that no pose was asked of; one for each seed at most. Those that were never trained on come first.

    Args:
        members: in the order of the material's texts.
    """
    family, control = student.family, student.control
    known = [(clip, text) for clip, text in zip(members, material.texts, strict=True) if clip.poses]
    known = sorted(known, key=lambda one: one[0].clip_id in material.learned_from)[: len(seeds)]
    if control is None or control.pose is None or not known:
        return [], {}
    texts, seeds = [text for _, text in known], seeds[: len(known)]
    frames_rgb = cut_one_of_each([poses_shown(clip) for clip, _ in known], family, cut)
    if family.media == "video":
        how = replace(how, n_frames=frames_rgb.shape[1])
    asked = control.pose.by_latent(torch.from_numpy(frames_rgb).view(len(known), -1, *frames_rgb.shape[-3:]))
    absent = torch.zeros(len(known), len(control.names))
    with control.steer_rows(absent, absent, poses=(asked, torch.ones(len(known)))):
        posed = family.generate(texts, seeds, how)
    return texts, {"pose": frames_rgb, "with it": posed, "without": family.generate(texts, seeds, how)}


def likeness(meter: Meter, family: Family, clips: RunClips, cut: CutSettings, rows: Mapping[str, np.ndarray]) -> Json:
    """Whether samples came nearer to the concept's clips than to the others, and how videos flicker against footage.

    Args:
        rows: samples by what drew them; `base` is among them, and the last is the adapter's.
    """
    own = [cut_clip(clip, family, cut)[:1] for clip in clips.members[:_COMPARED_CLIPS]]
    others = list(islice(_pieces(clips.others, family, cut), _COMPARED_CLIPS))
    vectors = [
        np.concatenate([meter.likeness(one, family) for one in some]) if some else np.zeros((0, 1))
        for some in (own, others)
    ]
    drawn = {name: rows[name] for name in ("base", list(rows)[-1])}
    gaps = [likeness_gap(meter.likeness(samples, family), *vectors) for samples in drawn.values()]
    told: Json = {"likeness_gap_before": gaps[0], "likeness_gap_after": gaps[1]}
    if family.media == "video":
        before, after = (flicker(samples) for samples in drawn.values())
        told |= {
            "flicker_before": before,
            "flicker_after": after,
            "flicker_footage": float(np.mean([flicker(one) for one in own])),
        }
    return told


def _pieces(clips: Sequence[TrainingClip], family: Family, cut: CutSettings) -> Iterator[np.ndarray]:
    """A piece of each of the clips that have what the family takes: of others than members not all need have sound."""
    for clip in clips:
        try:
            yield cut_clip(clip, family, cut)[:1]
        except InputError:
            continue
