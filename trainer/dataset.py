"""The clips of a run: what they bring, which of them are measured on and never trained on, how often each is drawn."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from store.errors import Conflict, InputError
from store.records import Control

HELD_OUT_ONE_IN = 8
"""Share of clips kept out of training: chosen, 12 of 100 clips."""
TEMPER = 0.5
"""A source or identity with n times the clips is drawn n ** TEMPER times as often: chosen, as for languages of unequal
size by Arivazhagan et al., arXiv 1907.05019 (temperature 2)."""


@dataclass(frozen=True)
class PersonTrack:
    """Where a person is seen: boxes in 0..1 of width and height, (left, top, right, bottom), at ascending seconds from
    the clip's start; at least one."""

    times_s: tuple[float, ...]
    boxes_xyxy: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class PoseTrack:
    """How a person holds themselves: at ascending seconds from the clip's start, at least one, COCO's 17 key points
    (x, y, score); x and y in 0..1 of width and height, beyond it where a joint is outside."""

    times_s: tuple[float, ...]
    keypoints: tuple[tuple[tuple[float, float, float], ...], ...]


def _no_times() -> np.ndarray:
    return np.zeros(0)


@dataclass(frozen=True)
class TrainingClip:
    """A clip as the trainer takes it.

    load_frames: sampled frames uint8 [T, H, W, 3] RGB, T >= 1. load_video: all frames at a rate (frames a second), of
        the same form. load_sound: float32 [C, S] in [-1, 1] at (rate_hz, channels); S is 0 where the clip is silent.
        Each is called once, unless the clip's latents are kept from before, and once more for the weights of people
        and for poses.
    load_times: float64 [T], seconds from the clip's start of what `load_frames` gives; asked for where `people` or
        `poses` are.
    media: digest of the bytes that they read.
    held_for: rules that keep the clip out; only a clip with none may be trained on.
    caption: sentences for the families that read such; None where nobody wrote any.
    alternatives: other conditioning strings that fit the clip, with their probability.
    identities: who is seen in it. people: where; none where nobody is, or where nobody looked. poses: how they hold
        themselves; None where nobody looked.
    """

    clip_id: str
    video_id: str
    source: str
    licence: str | None
    conditioning: str
    control: Control
    load_frames: Callable[[], np.ndarray] = field(repr=False, compare=False)
    load_video: Callable[[float], np.ndarray] = field(repr=False, compare=False)
    load_sound: Callable[[int, int], np.ndarray] = field(repr=False, compare=False)
    media: str = ""
    held_for: tuple[str, ...] = ()
    caption: str | None = None
    alternatives: tuple[tuple[str, float], ...] = ()
    identities: tuple[str, ...] = ()
    people: tuple[PersonTrack, ...] = ()
    poses: tuple[PoseTrack, ...] | None = None
    load_times: Callable[[], np.ndarray] = field(default=_no_times, repr=False, compare=False)


def refuse_unfit(clips: Sequence[TrainingClip]) -> None:
    """Refuse clips that wait for an answer or were dropped, clips that come twice, and too few.

    Raises:
        Conflict: at least one is held.
        InputError: fewer than two clips, or a clip twice.
    """
    held = [clip for clip in clips if clip.held_for]
    if held:
        raise Conflict(
            f"{len(held)} of {len(clips)} clips may not be trained on: clip {held[0].clip_id} of source"
            f" {held[0].source!r} is held for {', '.join(held[0].held_for)}; release it on record or leave it out"
        )
    twice = [clip_id for clip_id, n in Counter(clip.clip_id for clip in clips).items() if n > 1]
    if len(clips) < 2 or twice:
        found = f"clip {twice[0]} comes twice" if twice else f"{len(clips)} clips"
        raise InputError(f"{found}; training takes at least 2 different clips: one to train on and one to measure on")


def held_out_ids(clip_ids: Sequence[str]) -> frozenset[str]:
    """Clips to measure on: one in `HELD_OUT_ONE_IN`, by the hash of the id alone.

    A clip so stays on its side of the split while the set grows, in the base as in every adapter. A set in which
    none falls out gives the clip with the lowest hash; one in which all do gives all but the highest.
    """
    ordered = sorted(clip_ids, key=_rank)
    chosen = [clip_id for clip_id in ordered if falls_out(clip_id)] or ordered[:1]
    return frozenset(chosen if len(chosen) < len(ordered) else chosen[:-1])


def falls_out(clip_id: str) -> bool:
    """Whether the clip is one of those that are measured on, by its id alone."""
    return _rank(clip_id) % HELD_OUT_ONE_IN == 0


def _rank(clip_id: str) -> int:
    return int(hashlib.sha256(clip_id.encode()).hexdigest(), 16)


def split_replay(
    members: Sequence[TrainingClip], earlier: Sequence[TrainingClip], stage: Literal["A", "B"]
) -> tuple[list[TrainingClip], list[TrainingClip]]:
    """(a run's own clips, clips to be replayed beside them).

    Stage A with a parent learns what is new among the members; stage B learns its members. All else that the parent
    learned from is replayed, so that it is not forgotten.
    """
    known = {clip.clip_id for clip in earlier}
    fresh = [clip for clip in members if clip.clip_id not in known] if stage == "A" else list(members)
    fresh = fresh or list(members)
    own = {clip.clip_id for clip in fresh}
    return fresh, [clip for clip in earlier if clip.clip_id not in own]


def clip_texts(
    clip: TrainingClip, reads: Literal["conditioning", "caption"], token: str | None
) -> list[tuple[str, float]]:
    """What a clip is described by in a run, with weights that sum to 1: its conditioning string and the alternatives
    to it or, for a family that reads captions, its caption where it has one; behind the run's trigger token, if any."""
    if reads == "caption" and clip.caption:
        texts = [(clip.caption, 1.0)]
    else:
        others = [(text, weight) for text, weight in clip.alternatives if text != clip.conditioning and weight > 0.0]
        own = max(1e-3, 1.0 - sum(weight for _, weight in others))
        texts = [(clip.conditioning, own), *others]
    total = sum(weight for _, weight in texts)
    return [(", ".join(part for part in (token, text) if part), weight / total) for text, weight in texts]


def draw_shares(clips: Sequence[TrainingClip]) -> np.ndarray:
    """float64 [N]: how often each clip is drawn, summing to 1.

    Every video counts the same within its source; sources, and the identities seen, by the `TEMPER`th power of their
    size. So neither one long video nor one face that is everywhere makes a concept.
    """
    in_video = Counter(clip.video_id for clip in clips)
    videos_of: dict[str, set[str]] = {}
    for clip in clips:
        videos_of.setdefault(clip.source, set()).add(clip.video_id)
    seen = Counter(identity for clip in clips for identity in set(clip.identities))
    shares = np.array(
        [
            len(videos_of[clip.source]) ** (TEMPER - 1.0)
            / in_video[clip.video_id]
            * max((seen[identity] for identity in clip.identities), default=1) ** (TEMPER - 1.0)
            for clip in clips
        ]
    )
    return shares / shares.sum()


def control_rows(clips: Sequence[TrainingClip], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(values, present), float32 [N, C] each, of the named channels; where a clip has none, both are 0."""
    values, present = np.zeros((2, len(clips), len(names)), np.float32)
    for row, clip in enumerate(clips):
        known = dict(zip(clip.control.names, zip(clip.control.values, clip.control.present, strict=True), strict=True))
        for column, name in enumerate(names):
            value, is_present = known.get(name, (0.0, False))
            if is_present:
                values[row, column], present[row, column] = value, 1.0
    return values, present
