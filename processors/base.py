"""What a processor is: a role's folder, a module's name as its id, one class, one profile line.

A processor is given batches of decoded clips and returns, for each in order, a row or `Failed(reason)`. It
does no input or output and changes nothing that it is given.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from store.errors import SettingsError
from store.records import Column, digest

NOT_IN_RECIPE: Mapping[str, bool] = {"in_recipe": False}
"""Metadata of an option that does not change values, such as the folder of weights that `weights` digests."""

Row = dict[str, Any]
"""Column name to value: float, int, str, list of floats (vector, curve), JSON value, or None."""


@dataclass(frozen=True)
class Failed:
    """A clip that could not be measured, and why (for a person)."""

    reason: str


@dataclass(frozen=True)
class Curve:
    """A scalar over a clip: `values` float32 [N], sample i at `i / rate_hz` seconds from the clip's start."""

    rate_hz: float
    values: np.ndarray


@dataclass(frozen=True)
class DecodedClip:
    """A clip as processors see it; made by the one decode pass, read back from its sample pack.

    frames_rgb: uint8 [T, H, W, 3], sRGB, T >= 1, longest side `processors.decode.SAMPLE_LONGEST_PX` at most.
    frame_times_s: float64 [T], seconds from the clip's start, ascending.
    audio: float32 [N] mono in [-1, 1] at `audio_rate_hz`, as long as the clip; None where there is no sound track.
    curves: measured while decoding: `motion_energy` (mean optical-flow magnitude, frame heights per second),
        `luma` (mean luma, 0 to 1), both at `processors.decode.CURVE_RATE_HZ`.
    """

    clip_id: str
    duration_s: float
    frames_rgb: np.ndarray
    frame_times_s: np.ndarray
    audio: np.ndarray | None
    audio_rate_hz: int
    curves: Mapping[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True)
class Reads:
    """What a processor wants of a clip.

    frame_rate_hz: frames are thinned to at most this rate (None: it reads no frames).
    longest_px: frames are shrunk to this longest side at most.
    audio_rate_hz: sound is resampled to this rate (None: it reads no sound).
    columns: columns of other processors that must be computed first.
    optional: columns that are read where another processor of the profile gives them, and are None elsewhere.
    """

    frame_rate_hz: float | None = None
    longest_px: int | None = None
    audio_rate_hz: int | None = None
    columns: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all columns that `Processor.process` is handed."""
        return self.columns + self.optional


class Processor(ABC):
    """One implementation of one role.

    Subclasses set the class attributes and take their options (a frozen dataclass beside them, named
    `Options`) in `__init__`, where `columns` may also be set if an option decides a size. Loading happens
    in `load`, never in `__init__` or at import. An option marked `metadata=NOT_IN_RECIPE` says where
    something lies, not what is computed, and leaves the recipe alone.
    """

    version: ClassVar[int]
    reads: ClassVar[Reads]
    columns: tuple[Column, ...]
    max_batch: ClassVar[int] = 16
    model_files: ClassVar[tuple[str, ...]] = ("*.json", "*.txt", "*.model", "*.safetensors", "pytorch_model*.bin")
    """What loading needs of the repository that the option `model` names, if there is one: patterns of names."""
    half_on_gpu: ClassVar[bool] = False
    """Whether a GPU computes it under autocast in half precision (`processors.device.half_precision`)."""
    Options: ClassVar[type]

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    def id(self) -> str:
        """`role.module`, such as `audio.prosody`."""
        return ".".join(type(self).__module__.split(".")[-2:])

    def load(self, device: str) -> None:
        """Load models onto `device`; nothing to do for signal processing.

        Raises:
            ModelUnavailable: weights are missing; the message says how to get them.
        """

    def weights(self) -> dict[str, str]:
        """Model name (with revision) to SHA-256 of its weights; known after `load`."""
        return {}

    @property
    def recipe(self) -> str:
        """Hash of all that determines this processor's values; known after `load`."""
        told = [f.name for f in fields(self.options) if f.metadata.get("in_recipe", True)]
        options = {name: getattr(self.options, name) for name in told}
        # The engine adds the recipes of the optional columns that are there.
        reads = {name: value for name, value in asdict(self.reads).items() if name != "optional"}
        return digest([self.id, self.version, options, reads, self.weights()])[:16]

    @abstractmethod
    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        """Measure each clip.

        Args:
            clips: at most `max_batch`, with frames and sound as `reads` asked.
            inputs: for each clip, the columns named in `reads.inputs` (None where missing).

        Returns:
            For each clip, in order: a row with exactly the declared columns, or `Failed`.
        """


def create_processor(processor_id: str, options: Mapping[str, Any]) -> Processor:
    """The processor of module `processors.<role>.<name>`, with its options checked.

    Raises:
        SettingsError: no such module, no processor in it, or an option that it does not have.
    """
    module_name = f"processors.{processor_id}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and not module_name.startswith(error.name):
            raise
        raise SettingsError(
            f"processor {processor_id!r} is not known: no file processors/{processor_id.replace('.', '/')}.py"
        ) from error
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Processor) and value.__module__ == module_name
    ]
    if len(classes) != 1:
        raise SettingsError(
            f"processors/{processor_id.replace('.', '/')}.py must define one Processor, has {len(classes)}"
        )
    try:
        return classes[0](classes[0].Options(**options))
    except TypeError as error:
        raise SettingsError(f"options of processor {processor_id!r} are wrong: {error}") from error
