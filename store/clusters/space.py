"""One space for several modalities, in which each weighs the same; fitted once, then fixed.

Columns are standardised over the clips that have the modality; each modality is scaled to a mean squared length of 1
(as in multiple factor analysis, Escofier and Pages 1994, but by total instead of first-axis inertia); principal
components keep at most 64. A missing modality adds nothing, and the clip's other modalities are scaled up by
sqrt(all / present), so that clips that lack the same modality keep the distances that Gower's coefficient (1971) gives
them. What is kept are means, spreads and components: aggregates, none of which tells of one clip.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from store.errors import InputError

Vectors = Mapping[str, np.ndarray]
"""Modality to float [N, D]; a row with a NaN is missing."""


@dataclass(frozen=True)
class Block:
    """One modality: (rows - mean) * scale are its columns; both float64 [D]."""

    name: str
    mean: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Space:
    """A fitted space.

    asked: names of the modalities that it was to be of. blocks: those that a clip had, by name. centre: float64 [W],
    mean of the blocks side by side. axes: float64 [W, S].
    """

    asked: tuple[str, ...]
    blocks: tuple[Block, ...]
    centre: np.ndarray
    axes: np.ndarray

    @property
    def size(self) -> int:
        """Dimensions."""
        return self.axes.shape[1]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(block.name for block in self.blocks)

    def project(self, vectors: Vectors) -> np.ndarray:
        """Where clips lie: float32 [N, S]; a row of NaN where every modality is missing.

        Raises:
            InputError: a modality has another number of columns than it had, or modalities differ in rows.
        """
        wide, n_present = _side_by_side(self.blocks, vectors)
        known = n_present > 0
        points = np.full((len(wide), self.size), np.nan, np.float32)
        boost = np.sqrt(len(self.blocks) / n_present[known])[:, None]
        points[known] = (wide[known] * boost - self.centre) @ self.axes
        return points

    @cached_property
    def digest(self) -> str:
        """Hash of all of it."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """As an npz file."""
        arrays = {
            "centre": self.centre,
            "axes": self.axes,
            "names": np.array(self.modalities),
            "asked": np.array(self.asked),
        }
        for i, block in enumerate(self.blocks):
            arrays |= {f"mean_{i}": block.mean, f"scale_{i}": block.scale}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Space":
        """The inverse of `to_bytes`."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            blocks = [
                Block(str(name), arrays[f"mean_{i}"], arrays[f"scale_{i}"]) for i, name in enumerate(arrays["names"])
            ]
            asked = tuple(str(name) for name in arrays["asked"])
            return cls(asked, tuple(blocks), arrays["centre"], arrays["axes"])


def fit_space(vectors: Vectors, weights: np.ndarray, dimensions: int) -> Space:
    """The space of some clips.

    Args:
        weights: float64 [N], clips that each row stands for.
        dimensions: most of them.

    Raises:
        InputError: no clip has any vector.
    """
    blocks = [block for name in sorted(vectors) if (block := _block(name, vectors[name], weights)) is not None]
    if not blocks:
        raise InputError("no clip has a vector to be clustered by; does the profile measure looks or sound?")
    wide, n_present = _side_by_side(blocks, vectors)
    known = n_present > 0
    wide, mass = wide[known] * np.sqrt(len(blocks) / n_present[known])[:, None], weights[known]
    centre = np.average(wide, axis=0, weights=mass)
    size = min(dimensions, *wide.shape)
    return Space(
        tuple(sorted(vectors)),
        tuple(blocks),
        centre,
        _signed(_principal((wide - centre) * np.sqrt(mass)[:, None])[:, :size]),
    )


def _principal(rows: np.ndarray) -> np.ndarray:
    """Principal axes of centred rows, float64 [W, min(N, W)], the longest first."""
    if len(rows) > rows.shape[1]:
        return np.linalg.eigh(rows.T @ rows)[1][:, ::-1]
    return np.linalg.svd(rows, full_matrices=False)[2].T


def _signed(axes: np.ndarray) -> np.ndarray:
    """Axes with the sign that makes their largest entry positive: a decomposition leaves it open."""
    largest = np.abs(axes).argmax(axis=0)
    signs = np.sign(axes[largest, np.arange(axes.shape[1])])
    return axes * np.where(signs == 0, 1.0, signs)


def _block(name: str, rows: np.ndarray, weights: np.ndarray) -> Block | None:
    """A modality's standardisation; None where no clip has it or it never varies."""
    has = np.isfinite(rows).all(axis=1)
    if not has.any():
        return None
    there, mass = np.compress(has, rows, axis=0).astype(np.float64), np.compress(has, weights)
    mean = np.average(there, axis=0, weights=mass)
    spread = np.sqrt(np.average((there - mean) ** 2, axis=0, weights=mass))
    varies = np.asarray(spread > 1e-6 * np.maximum(1.0, np.abs(there).max(axis=0)))
    scale = np.where(varies, 1.0 / np.where(varies, spread, 1.0), 0.0) / np.sqrt(max(1, varies.sum()))
    return Block(name, mean, scale)


def _side_by_side(blocks: Sequence[Block], vectors: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """Standardised modalities, float64 [N, W] with zeros where one is missing, and how many each clip has."""
    n_clips = len(next(iter(vectors.values()))) if vectors else 0
    parts, n_present = [], np.zeros(n_clips)
    for block in blocks:
        rows = np.asarray(vectors.get(block.name, np.empty((n_clips, 0))), np.float64)
        if not np.isfinite(rows).any():  # none of these clips has it, and nobody knows how many columns it has
            rows = np.full((n_clips, len(block.mean)), np.nan)
        if rows.shape != (n_clips, len(block.mean)):
            raise InputError(
                f"vectors {block.name!r} have shape {rows.shape}; the clusters were founded on"
                f" [{n_clips}, {len(block.mean)}]; found them anew"
            )
        has = np.asarray(np.isfinite(rows).all(axis=1))
        n_present += has
        parts.append(np.where(has[:, None], (rows - block.mean) * block.scale, 0.0))
    return np.hstack(parts), n_present
