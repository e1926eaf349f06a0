"""Concepts: named subsets of the clips, declared in concepts.yaml, and how sure we are of each.

A concept is a SQL condition over the clip table. Its purity says how well its clips hang together in the joint
space of the vectors (`store.clustering`) apart from the clips that it contrasts with; it is ready to be trained on
when enough clips from enough source videos are open to use and the purity's lower bound reaches the threshold.

Purity. Take a member with A fellows and B contrasting clips. Let r be the distance to its k-th nearest fellow and b
the number of contrasting clips within r. Its agreement is the share that fellows have of the local density,

    (k / A) / (k / A + b / B),   k = s A / min(A, B),   s = min(10, floor(sqrt(min(A, B)))),

the k-nearest-neighbour estimate (Loftsgaarden and Quesenberry 1965) of the probability that a clip here is of the
concept if concept and contrast were equally frequent; k is such that s clips of the smaller side are to be expected
within r where both are mixed. So 1 means that no contrasting clip is as near as the nearest fellows and 1/2 is
chance, however many clips either side has. Neither side counts clips of the member's own video while it has clips
of other videos: shots of one video resemble each other whatever the concept. The purity is the mean agreement of
the members that are open to use.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import yaml
from pydantic import Field, ValidationError

from store.errors import SettingsError
from store.records import ConceptChanged, Json, Value, digest

_VERSION = 1
_MOST_NEIGHBOURS = 10
"""Chosen: with more than a hundred clips on the smaller side the neighbourhood stays local."""
_Z = 1.959964
"""Normal quantile of a two-sided 95% interval."""


class Concept(Value):
    """One entry of concepts.yaml."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    description: str = Field(min_length=1)
    query: str = Field(min_length=1)
    """SQL condition over the clip table's columns."""
    contrasts: tuple[str, ...] = ()
    """Concepts that this one must be told apart from; none: all other clips."""
    purity: float = Field(default=0.7, gt=0.0, lt=1.0)
    """What the purity's lower bound must reach. Chance is 0.5."""
    min_clips: int = Field(default=12, ge=2)
    min_videos: int = Field(default=3, ge=2)


class ConceptsFile(Value):
    """concepts.yaml."""

    concepts: tuple[Concept, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Member:
    """A clip as concepts see it; `held_for` names the rules that keep it out of use, empty when it is open."""

    clip_id: str
    video_id: str
    held_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConceptState:
    """What is known of a concept's subset.

    agreements: clip id to agreement of every member, in clip id order; None where it cannot be told.
    purity_low: lower end of the 95% interval of `purity`.
    """

    concept: Concept
    members: tuple[Member, ...]
    agreements: Mapping[str, float | None]
    purity: float | None
    purity_low: float | None
    reasons: tuple[str, ...]
    recipe: str

    @property
    def eligible(self) -> tuple[Member, ...]:
        """Members that are open to use."""
        return tuple(member for member in self.members if not member.held_for)

    @property
    def manifest(self) -> list[Json]:
        """JSON of the members, as it lies in media storage."""
        return [
            {
                "clip_id": member.clip_id,
                "probability": self.agreements[member.clip_id],
                "eligible": not member.held_for,
                "held_for": list(member.held_for),
            }
            for member in self.members
        ]

    def record(self, members_key: str) -> ConceptChanged:
        """The record that announces this state; `members_key` is where `manifest` was stored."""
        return ConceptChanged(
            concept=self.concept.name,
            definition=self.concept.model_dump(mode="json"),
            members_key=members_key,
            members_digest=digest(self.manifest),
            n_members=len(self.members),
            n_eligible=len(self.eligible),
            n_videos=_n_videos(self.eligible),
            purity=self.purity,
            purity_low=self.purity_low,
            ready=not self.reasons,
            reasons=self.reasons,
            recipe=self.recipe,
        )


def load_concepts(path: Path) -> tuple[Concept, ...]:
    """The concepts that a YAML file declares, in its order.

    Raises:
        SettingsError: no file, no YAML, a missing, unknown or wrong field, a name that is taken twice, or a
            contrast that is not declared; the message names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"concepts file {path} cannot be read: {error.strerror}; give an existing file") from error
    return parse_concepts(text, str(path))


def parse_concepts(text: str, name: str) -> tuple[Concept, ...]:
    """The concepts that YAML text declares; `name` says in errors where it came from.

    Raises:
        SettingsError: see `load_concepts`.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    try:
        concepts = ConceptsFile.model_validate(content).concepts
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SettingsError(
            f"{name} line {_line(tree, first['loc'])}: {where}: {first['msg']}, got {first['input']!r:.60}; expected"
            f" `concepts:` and a list of entries with {', '.join(Concept.model_fields)}"
        ) from error
    _check_names(concepts, tree, name)
    return concepts


def _check_names(concepts: Sequence[Concept], tree: yaml.Node | None, name: str) -> None:
    names = [concept.name for concept in concepts]
    for i, taken in enumerate(names):
        if taken in names[:i]:
            line = _line(tree, ("concepts", i, "name"))
            raise SettingsError(f"{name} line {line}: concept {taken!r} is declared twice; give one another name")
    for i, concept in enumerate(concepts):
        others = [other for other in names if other != concept.name]
        for j, contrast in enumerate(concept.contrasts):
            if contrast not in others:
                line = _line(tree, ("concepts", i, "contrasts", j))
                raise SettingsError(
                    f"{name} line {line}: concept {concept.name!r} contrasts with {contrast!r}; expected another of"
                    f" {', '.join(others) or 'this file, which has none'}"
                )


def _line(tree: yaml.Node | None, loc: Iterable[int | str]) -> int:
    """1-based line of the deepest part of `loc` that the file has."""
    node = tree
    for part in loc:
        inner = None
        if isinstance(node, yaml.MappingNode):
            inner = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            inner = node.value[part]
        if inner is None:
            break
        node = inner
    return node.start_mark.line + 1 if node is not None else 1


def contrasts_of(
    concept: Concept, members: Mapping[str, Sequence[Member]], clips: Iterable[Member]
) -> tuple[Member, ...]:
    """The clips that a concept is told apart from: the members of its contrasts, or else every other clip.

    Args:
        members: concept name to its members.
        clips: all clips.
    """
    if concept.contrasts:
        found = {clip.clip_id: clip for name in concept.contrasts for clip in members[name]}
    else:
        own = {member.clip_id for member in members[concept.name]}
        found = {clip.clip_id: clip for clip in clips if clip.clip_id not in own}
    return tuple(found[clip_id] for clip_id in sorted(found))


def concept_state(
    concept: Concept,
    members: Iterable[Member],
    contrasts: Iterable[Member],
    points: Mapping[str, np.ndarray],
    space_recipe: str,
) -> ConceptState:
    """What is known of a concept's subset; the order of the clips does not matter.

    A member that is also a contrasting clip is not told apart: it counts as a neighbour on the contrast's side only.

    Args:
        members: all clips that the query holds for.
        contrasts: see `contrasts_of`.
        points: clip id to float [D], the joint space; a clip that is missing or has a NaN is no one's neighbour.
        space_recipe: recipe of the joint space.
    """
    ordered = tuple(sorted(members, key=lambda member: member.clip_id))
    others = sorted(contrasts, key=lambda clip: clip.clip_id)
    in_contrast = {clip.clip_id for clip in others}
    fellows = _Side([m for m in ordered if not m.held_for and m.clip_id not in in_contrast], points)
    contrast = _Side(others, points)
    agreements = {member.clip_id: _agreement(member, fellows, contrast, points) for member in ordered}
    by_video: dict[str, list[float]] = defaultdict(list)
    for member in ordered:
        agreement = agreements[member.clip_id]
        if not member.held_for and agreement is not None:
            by_video[member.video_id].append(agreement)
    purity = fmean(a for group in by_video.values() for a in group) if by_video else None
    purity_low = lower_bound(list(by_video.values()))
    return ConceptState(
        concept=concept,
        members=ordered,
        agreements=agreements,
        purity=purity,
        purity_low=purity_low,
        reasons=_reasons(concept, [member for member in ordered if not member.held_for], purity, purity_low),
        recipe=digest(["concept", _VERSION, concept.model_dump(mode="json"), space_recipe])[:16],
    )


def lower_bound(by_video: Sequence[Sequence[float]]) -> float | None:
    """Lower end of the 95% interval of the mean agreement, clips of one video not being independent.

    Wilson's interval with the effective sample size of Korn and Graubard (1998): p (1 - p) over the variance of
    the mean between videos, at most the number of clips.

    Args:
        by_video: for each source video its clips' agreements, in [0, 1].

    Returns:
        None with fewer than two videos: how much videos differ is then unknown.
    """
    if len(by_video) < 2:
        return None
    n_videos, n_clips = len(by_video), sum(len(group) for group in by_video)
    mean = min(1.0, sum(sum(group) for group in by_video) / n_clips)
    variance = sum((sum(group) - len(group) * mean) ** 2 for group in by_video) / n_clips**2
    variance *= n_videos / (n_videos - 1)
    size = min(n_clips, mean * (1.0 - mean) / variance) if variance > 1e-12 else n_clips
    centre = mean + _Z**2 / (2.0 * size)
    spread = _Z * math.sqrt(mean * (1.0 - mean) / size + _Z**2 / (4.0 * size**2))
    return max(0.0, (centre - spread) / (1.0 + _Z**2 / size))


class _Side:
    """Clips with a place in the joint space, on one side of the comparison."""

    def __init__(self, clips: Iterable[Member], points: Mapping[str, np.ndarray]) -> None:
        placed = [clip for clip in clips if _has_point(clip, points)]
        self.ids = np.array([clip.clip_id for clip in placed], dtype=object)
        self.videos = np.array([clip.video_id for clip in placed], dtype=object)
        self.points = np.array([points[clip.clip_id] for clip in placed], np.float64)

    def distances(self, member: Member, point: np.ndarray) -> np.ndarray:
        """Distances float64 [M] to the clips of other videos, or of its own while there are no others."""
        if not len(self.ids):
            return np.empty(0)
        elsewhere = self.videos != member.video_id
        counted = elsewhere if elsewhere.any() else self.ids != member.clip_id
        return np.linalg.norm(self.points[counted] - point, axis=1)


def _has_point(clip: Member, points: Mapping[str, np.ndarray]) -> bool:
    return clip.clip_id in points and bool(np.isfinite(points[clip.clip_id]).all())


def _agreement(member: Member, fellows: _Side, contrast: _Side, points: Mapping[str, np.ndarray]) -> float | None:
    """Share of the concept in the density around a member; None without a fellow or a contrasting clip."""
    if not _has_point(member, points):
        return None
    near = fellows.distances(member, points[member.clip_id])
    against = contrast.distances(member, points[member.clip_id])
    if not len(near) or not len(against):
        return None
    smaller = min(len(near), len(against))
    k = min(_MOST_NEIGHBOURS, math.isqrt(smaller)) * len(near) // smaller
    radius = np.partition(near, k - 1)[k - 1]
    own = k / len(near)
    # `<=`: where a contrasting clip is as near as the fellow, the doubt counts against the concept.
    return own / (own + float(np.count_nonzero(against <= radius)) / len(against))


def _reasons(concept: Concept, eligible: Sequence[Member], purity: float | None, low: float | None) -> tuple[str, ...]:
    """Why the concept is not ready, for a person."""
    reasons = []
    if len(eligible) < concept.min_clips:
        reasons.append(f"too few clips: {len(eligible)} of {concept.min_clips}")
    if _n_videos(eligible) < concept.min_videos:
        reasons.append(f"too few source videos: {_n_videos(eligible)} of {concept.min_videos}")
    if purity is None:
        reasons.append("purity unknown: it takes two clips of the concept and one to tell them from")
    elif low is None:
        reasons.append("purity bound unknown: all its clips are of one video")
    elif low < concept.purity:
        reasons.append(f"purity bound {low:.2f} < {concept.purity:.2f}")
    return tuple(reasons)


def _n_videos(members: Iterable[Member]) -> int:
    return len({member.video_id for member in members})
