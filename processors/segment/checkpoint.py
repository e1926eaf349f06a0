"""The state of a video's reading as bytes: numbers and arrays, spelt out, never pickled.

A state is a dict of JSON values, lists, further dicts and numpy arrays. In the bytes (safetensors) the arrays lie
under the paths at which they stood, and the rest is JSON in the header. Equal states are equal bytes.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from store.errors import CliploomError

State = dict[str, Any]
FORMAT = 1
"""Raised whenever a part's state changes its meaning: older checkpoints are refused then."""
_HEADER, _ARRAY = "checkpoint", "array"


class UnfitCheckpoint(CliploomError):
    """A checkpoint that this reading cannot go on from; the video is read from its start."""


def pack(video_id: str, recipe: str, state: State) -> bytes:
    """The state of this video's reading by the recipe of this hash."""
    arrays: dict[str, np.ndarray] = {}
    laid_out = _without_arrays(state, "", arrays)
    header = {"format": FORMAT, "video_id": video_id, "recipe": recipe, "state": laid_out}
    return save(arrays, {_HEADER: json.dumps(header, sort_keys=True)})


def unpack(data: bytes, video_id: str, recipe: str) -> State:
    """The state that was packed.

    Raises:
        UnfitCheckpoint: the bytes are none of ours, or of another format, video or recipe.
    """
    try:
        end = 8 + int.from_bytes(data[:8], "little")  # safetensors: length of the header, header, arrays
        header = json.loads(json.loads(data[8:end])["__metadata__"][_HEADER])
        arrays = load(data)
    except (ValueError, KeyError, SafetensorError) as error:
        raise UnfitCheckpoint(f"{len(data)} bytes are no checkpoint of a video ({error})") from error
    wanted = {"format": FORMAT, "video_id": video_id, "recipe": recipe}
    for name, value in wanted.items():
        if header.get(name) != value:
            raise UnfitCheckpoint(f"the checkpoint is of {name} {header.get(name)!r}, not {value!r}")
    state: State = _with_arrays(header["state"], arrays)
    return state


def _without_arrays(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """JSON in which every array is replaced by its path; the arrays are added to `arrays`."""
    if isinstance(value, np.ndarray):
        arrays[path] = np.ascontiguousarray(value)
        return {_ARRAY: path}
    if isinstance(value, dict):
        return {name: _without_arrays(part, f"{path}/{name}", arrays) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(part, f"{path}/{index}", arrays) for index, part in enumerate(value)]
    return value


def _with_arrays(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {name: _with_arrays(part, arrays) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_arrays(part, arrays) for part in value]
    return value
