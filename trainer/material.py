"""What a run trains and measures on, gathered from its clips."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from store.errors import InputError, SettingsError
from store.records import TrainingRequested, digest
from trainer.dataset import (
    TrainingClip,
    clip_texts,
    control_rows,
    draw_shares,
    falls_out,
    held_out_ids,
    refuse_unfit,
    split_replay,
)
from trainer.encoded import Encoded, Kept, encode
from trainer.families.base import Family
from trainer.loop import Progress
from trainer.lora import MEASURED_PIECES
from trainer.settings import LoraSettings

LEAST_STEERED = 4
"""Chosen: a channel that is known of fewer of the clips, or is the same in all, is not trained."""


@dataclass(frozen=True)
class RunClips:
    """The clips of a run: the concept's members; those that the parent's adapter, and its parents, were trained on;
    all that may be trained on."""

    members: Sequence[TrainingClip]
    earlier: Sequence[TrainingClip]
    footage: Sequence[TrainingClip]

    @property
    def others(self) -> list[TrainingClip]:
        """The footage without the members."""
        own = {clip.clip_id for clip in self.members}
        return [clip for clip in self.footage if clip.clip_id not in own]


@dataclass(frozen=True)
class Material:
    """The clips of a run, encoded.

    shares: float64 [pieces], how often each piece is drawn. held_out, trained_on: pieces that are measured, of members.
    learned_from: ids of the clips that may be drawn. clip_ids: of all that are encoded. channels: of control. texts:
    the likeliest of each member. facts: digest of all that the training depends on, beside base and settings.
    """

    encoded: Encoded
    shares: np.ndarray
    held_out: list[int]
    trained_on: list[int]
    learned_from: tuple[str, ...]
    clip_ids: tuple[str, ...]
    channels: tuple[str, ...]
    texts: tuple[str, ...]
    facts: str

    def clips_of(self, rows: Sequence[int]) -> list[int]:
        """The clip of each piece."""
        return self.encoded.clip_of[list(rows)].tolist()

    @property
    def commonest_texts(self) -> list[str]:
        """The members' texts, the commonest first, ties in alphabetical order."""
        counts = Counter(self.texts)
        return sorted(counts, key=lambda text: (-counts[text], text))


def gather(
    request: TrainingRequested,
    clips: RunClips,
    parents_channels: Sequence[str],
    family: Family,
    settings: LoraSettings,
    kept: Kept,
    progress: Progress,
) -> Material:
    """Encode a run's clips and set how often each is drawn.

    The run's own clips (of stage A with a parent those that are new, else all members) share what `settings.replay`
    leaves; the parent's others share the rest. Held-out clips, told by their id, are never drawn in any run.

    Raises:
        Conflict: a clip is held.
        InputError: no clip is left to train on, or media are broken.
        SettingsError: people are to weigh more or to be posed, and the family's media show none; or poses are to steer,
            and none is known.
    """
    _refuse_people_in_sound(settings, family)
    fresh, replayed = split_replay(clips.members, clips.earlier, request.stage)
    used = {clip.clip_id: clip for clip in (*clips.members, *(replayed if settings.replay > 0.0 else ()))}
    every = list(used.values())
    refuse_unfit(every)
    if settings.pose and not any(clip.poses for clip in every):
        raise SettingsError(
            f"LoRA setting pose is true, and of the {len(every)} clips of run {request.run_id} none has a pose;"
            " annotate them with a profile that has a model of poses, or leave pose out"
        )
    held_out = held_out_ids([clip.clip_id for clip in clips.members])
    held_out |= {clip.clip_id for clip in replayed if falls_out(clip.clip_id)}
    groups = [
        (1.0 - settings.replay if replayed else 1.0, [clip for clip in fresh if clip.clip_id not in held_out]),
        (settings.replay, [clip for clip in replayed if clip.clip_id not in held_out]),
    ]
    share_of: dict[str, float] = {}
    for share, group in groups:
        if group and share > 0.0:
            share_of |= dict(zip((clip.clip_id for clip in group), share * draw_shares(group), strict=True))
    if not share_of:
        raise InputError(
            f"run {request.run_id}: none of its {len(every)} clips is left to train on beside those that are measured"
            " on; wait for more footage"
        )
    texts_of = [clip_texts(clip, family.text, request.token) for clip in every]
    channels = _channels(request, every, settings, parents_channels)
    also = (settings.mask == "people", settings.pose)
    encoded = encode(every, texts_of, channels, family, settings.cut, kept, progress, *also)
    ids = [every[clip].clip_id for clip in encoded.clip_of]
    pieces = Counter(ids)
    shares = np.array([share_of.get(clip_id, 0.0) / pieces[clip_id] for clip_id in ids])
    members = {clip.clip_id for clip in clips.members}
    own = np.array([clip_id in members for clip_id in ids])
    held = np.array([clip_id in held_out for clip_id in ids])
    return Material(
        encoded=encoded,
        shares=shares / shares.sum(),
        held_out=_some(np.flatnonzero(own & held)),
        trained_on=_some(np.flatnonzero(own & ~held)),
        learned_from=tuple(sorted(share_of)),
        clip_ids=tuple(used),
        channels=channels,
        texts=tuple(texts[0][0] for clip, texts in zip(every, texts_of, strict=True) if clip.clip_id in members),
        facts=digest([_told(every), texts_of, channels, shares.tolist()]),
    )


def _told(clips: Sequence[TrainingClip]) -> list[list[Any]]:
    """Of each clip, what a run takes from it beside its texts, as JSON."""
    return [
        [
            *(clip.clip_id, clip.media, clip.control.model_dump(), [asdict(track) for track in clip.people]),
            None if clip.poses is None else [asdict(track) for track in clip.poses],
        ]
        for clip in clips
    ]


def _refuse_people_in_sound(settings: LoraSettings, family: Family) -> None:
    """Raises SettingsError: people are to weigh more or to be posed, and the family's media show none."""
    for name, asked, is_unfit in (
        ("mask", "'people'", settings.mask == "people" and family.media == "sound"),
        ("pose", "true", settings.pose and family.pose_at is None),
    ):
        if is_unfit:
            raise SettingsError(
                f"LoRA setting {name} is {asked}, and a {family.pipeline_class.__name__} makes sound, which shows"
                f" nobody; leave {name} out, or name a base of pictures or videos"
            )


def _channels(
    request: TrainingRequested, clips: Sequence[TrainingClip], settings: LoraSettings, parents: Sequence[str]
) -> tuple[str, ...]:
    """The control channels to train: those that tell clips apart, and those that the parent has.

    Raises:
        SettingsError: none is to be trained, and the parent has some.
    """
    if not settings.control:
        if parents:
            raise SettingsError(
                f"LoRA setting control is false, and the adapter that run {request.run_id} goes on from is steered by"
                f" {', '.join(parents)}; leave control as it is, or retire that adapter to start without it"
            )
        return ()
    names = list(dict.fromkeys(name for clip in clips for name in clip.control.names))
    values, present = control_rows(clips, names)
    known = [present[:, i] > 0 for i in range(len(names))]
    telling = [
        name
        for i, name in enumerate(names)
        if known[i].sum() >= LEAST_STEERED and float(np.ptp(values[known[i], i])) > 0.0
    ]
    return tuple(dict.fromkeys((*parents, *telling)))


def _some(rows: np.ndarray) -> list[int]:
    """At most `MEASURED_PIECES` of rows, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(MEASURED_PIECES, len(rows))).round().astype(int))
    return rows[chosen].tolist()
