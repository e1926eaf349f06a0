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
"""Modality to float [N, D]; a row with a NaN is missing. Where columns are known by name: [N], with a float field for
each, of which a clip may lack any (NaN)."""
Column = tuple[str, str]
"""Modality, and name of the column; of columns without names, all of which a clip has or lacks, there is one: ''."""


@dataclass(frozen=True)
class Block:
    """One modality: (rows - mean) * scale are its columns; both float64 [D].

    names: of the columns; None where they have none. What a vocabulary steers by comes and goes, so that the place of a
    column does not tell which one it is.
    """

    name: str
    mean: np.ndarray
    scale: np.ndarray
    names: tuple[str, ...] | None


@dataclass(frozen=True)
class Space:
    """A fitted space.

    asked: names of the modalities that it was to be of. counts: clips that each column was fitted to. blocks: the
    modalities that a clip had, by name. centre: float64 [W], mean of the blocks side by side. axes: float64 [W, S].
    """

    asked: tuple[str, ...]
    counts: Mapping[Column, int]
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
            InputError: a modality has another number of columns than it had, or names for them that it had not, or
                modalities differ in rows.
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
            "counted": np.array(list(self.counts), np.str_),
            "counts": np.array(list(self.counts.values()), np.int64),
        }
        for i, block in enumerate(self.blocks):
            arrays |= {f"mean_{i}": block.mean, f"scale_{i}": block.scale}
            if block.names is not None:
                arrays[f"names_{i}"] = np.array(block.names)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Space":
        """The inverse of `to_bytes`; a space of an older program counts no clips and knows no columns by name."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            blocks = [
                Block(
                    str(name),
                    arrays[f"mean_{i}"],
                    arrays[f"scale_{i}"],
                    tuple(arrays[f"names_{i}"].tolist()) if f"names_{i}" in arrays else None,
                )
                for i, name in enumerate(arrays["names"])
            ]
            asked = tuple(str(name) for name in arrays["asked"])
            counts: dict[Column, int] = {}
            if "counts" in arrays:
                columns = ((str(modality), str(name)) for modality, name in arrays["counted"])
                counts = dict(zip(columns, arrays["counts"].tolist(), strict=True))
            return cls(asked, counts, tuple(blocks), arrays["centre"], arrays["axes"])


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
        _counted(vectors),
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


def _counted(vectors: Vectors) -> dict[Column, int]:
    """Clips that have each column."""
    counts: dict[Column, int] = {}
    for modality, rows in sorted(vectors.items()):
        names, there = rows.dtype.names, np.isfinite(_columns(rows, rows.dtype.names))
        numbers = there.any(axis=1).sum(keepdims=True) if names is None else there.sum(axis=0)
        counts |= {(modality, one): n for one, n in zip(names or [""], numbers.tolist(), strict=False) if n}
    return counts


def _columns(rows: np.ndarray, names: Sequence[str] | None) -> np.ndarray:
    """A modality's columns, float64 [N, D], NaN where a clip lacks one; those of these names where they have names."""
    if names is None:
        whole = np.asarray(rows, np.float64)
        has = np.asarray(np.isfinite(whole).all(axis=1))
        return np.where(has[:, None], whole, np.nan)
    none = np.full(len(rows), np.nan)
    found = [rows[one] if one in (rows.dtype.names or ()) else none for one in names]
    return np.array(found, np.float64).reshape(len(names), len(rows)).T


def _block(name: str, rows: np.ndarray, weights: np.ndarray) -> Block | None:
    """A modality's standardisation, of each column over the clips that have it; None where no clip has any."""
    names = rows.dtype.names
    columns = _columns(rows, names)
    has = np.isfinite(columns)
    if not has.any():
        return None
    known, mass = np.where(has, columns, 0.0), np.where(has, weights[:, None], 0.0)
    mean = np.average(known, axis=0, weights=mass)
    spread = np.sqrt(np.average((known - mean) ** 2, axis=0, weights=mass))
    varies = np.asarray(spread > 1e-6 * np.maximum(1.0, np.abs(known).max(axis=0)))
    scale = np.where(varies, 1.0 / np.where(varies, spread, 1.0), 0.0) / np.sqrt(max(1, varies.sum()))
    return Block(name, mean, scale, names)


def _side_by_side(blocks: Sequence[Block], vectors: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """Standardised modalities, float64 [N, W] with zeros where one is missing, and how many each clip has."""
    n_clips = len(next(iter(vectors.values()))) if vectors else 0
    parts, n_present = [], np.zeros(n_clips)
    for block in blocks:
        rows = _rows(block, vectors, n_clips)
        has = np.isfinite(rows)
        n_present += has.any(axis=1)
        parts.append(np.where(has, (rows - block.mean) * block.scale, 0.0))
    return np.hstack(parts), n_present


def _rows(block: Block, vectors: Vectors, n_clips: int) -> np.ndarray:
    """The columns that a block is of, float64 [N, D]."""
    missing = np.full((n_clips, len(block.mean)), np.nan)
    found = vectors.get(block.name)
    if found is None:
        return missing
    if (found.dtype.names is None) == (block.names is None):
        columns = _columns(found, block.names)
        if not np.isfinite(columns).any():  # none of these clips has it, and nobody knows how many columns it has
            return missing
        if columns.shape == missing.shape:
            return columns
    raise InputError(
        f"vectors {block.name!r} have shape {found.shape}; the clusters were founded on"
        f" [{n_clips}, {len(block.mean)}]; found them anew"
    )
