"""The state in one file, written as a whole or not at all."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from store.clusters.folder import keep, kept
from store.clusters.hierarchy import Hierarchy
from store.clusters.model import Model
from store.clusters.options import ClusterOptions
from store.clusters.sample import Sample
from store.clusters.space import Space
from store.clusters.state import Clusters
from store.records import Json

_VERSION = 3
_NUMBERS = ("n_founded", "n_clips", "next_number", "settled", "unsettled")
_OF_SAMPLE = ("order", "threshold", "points", "cluster", "stratum")
_OF_MODEL = ("points", "masses", "core", "chosen")
_STATE = "state.npz"


def state_bytes(clusters: Clusters, notes: Json, facets: Mapping[str, Clusters] = MappingProxyType({})) -> bytes:
    """The state, those of single modalities, and what its keeper notes beside it, as an npz file; equal states are
    equal bytes."""
    told: Json = {name: getattr(clusters, name) for name in _NUMBERS}
    told |= {"version": _VERSION, "options": clusters.options.recipe, "apart": clusters.apart, "notes": notes}
    told |= {"thresholds": sorted(clusters.thresholds.items()), "numbers": clusters.numbers}
    told |= {"obeyed": clusters.obeyed, "ids": clusters.sample.ids, "model_ids": clusters.model_ids}
    arrays = {f"sample_{name}": getattr(clusters.sample, name) for name in _OF_SAMPLE}
    if clusters.space is not None:
        arrays["space"] = np.frombuffer(clusters.space.to_bytes(), np.uint8)
    if (model := clusters.model) is not None:
        told["dense"] = model.dense
        arrays |= {f"model_{name}": getattr(model, name) for name in _OF_MODEL}
        arrays |= {f"tree_{one.name}": getattr(model.tree, one.name) for one in fields(model.tree)}
    arrays |= {f"facet {name}": np.frombuffer(state_bytes(one, {}), np.uint8) for name, one in sorted(facets.items())}
    arrays["told"] = np.frombuffer(json.dumps(told, sort_keys=True).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def save_state(
    folder: Path, clusters: Clusters, notes: Json, facets: Mapping[str, Clusters] = MappingProxyType({})
) -> None:
    """Replace the file of the store under `folder`; durable on return."""
    keep(folder, _STATE, state_bytes(clusters, notes, facets))


@dataclass(frozen=True)
class Known:
    """What a file holds. facets: the states of single modalities."""

    clusters: Clusters
    notes: Json
    facets: Mapping[str, Clusters]


def load_state(folder: Path, options: ClusterOptions) -> Known | None:
    """What the file of the store under `folder` holds; None where there is none, or one of other options or of another
    version."""
    path = kept(folder, _STATE)
    return _read(path.read_bytes(), options) if path.is_file() else None


def _read(content: bytes, options: ClusterOptions) -> Known | None:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        told = json.loads(arrays["told"].tobytes())
        if (told["version"], told["options"]) != (_VERSION, options.recipe):
            return None
        sample = Sample(ids=tuple(told["ids"]), **{name: arrays[f"sample_{name}"] for name in _OF_SAMPLE})
        model = None
        if "model_points" in arrays:
            tree = Hierarchy(**{one.name: arrays[f"tree_{one.name}"] for one in fields(Hierarchy)})
            of_model = {name: arrays[f"model_{name}"] for name in _OF_MODEL}
            model = Model(dense=told["dense"], tree=tree, **of_model)
        clusters = Clusters(
            options=options,
            space=Space.from_bytes(arrays["space"].tobytes()) if "space" in arrays else None,
            sample=sample,
            thresholds={int(stratum): float(threshold) for stratum, threshold in told["thresholds"]},
            apart=tuple((said, a, b) for said, a, b in told["apart"]),
            obeyed=tuple(told["obeyed"]),
            model=model,
            numbers=tuple(told["numbers"]),
            model_ids=tuple(told["model_ids"]),
            **{name: told[name] for name in _NUMBERS},
        )
        parts = {
            one.partition(" ")[2]: _read(arrays[one].tobytes(), options) for one in arrays if one.startswith("facet ")
        }
    return Known(clusters, told["notes"], {name: one.clusters for name, one in parts.items() if one is not None})


def state_digest(clusters: Clusters) -> str:
    """Hash of all that decides how the state goes on; not of how often it was settled to come here."""
    return hashlib.sha256(state_bytes(replace(clusters, settled=0), {})).hexdigest()


class StateReader:
    """Reads the state of the store under a folder, and again when it has changed."""

    def __init__(self, folder: Path, options: ClusterOptions = ClusterOptions()) -> None:
        self._folder = folder
        self._options = options
        self._read: tuple[int, Clusters | None] = (0, None)

    def clusters(self) -> Clusters:
        """The state as it was last saved; an empty one while there is none."""
        path = kept(self._folder, _STATE)
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        if changed != self._read[0] or self._read[1] is None:
            known = load_state(self._folder, self._options)
            self._read = (changed, known.clusters if known is not None else Clusters(options=self._options))
        found = self._read[1]
        assert found is not None
        return found
