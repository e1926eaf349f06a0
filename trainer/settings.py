"""What a run may choose."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from store.errors import SettingsError
from trainer.adapters import WarmStart
from trainer.cutting import CutSettings
from trainer.families.base import Targets

_RANGES: dict[str, tuple[float, float]] = {
    "rank": (1, 1024),
    "alpha": (1, 4096),
    "lr": (1e-8, 1),
    "lr_share": (1e-3, 1),
    "steps": (1, 1_000_000),
    "batch": (1, 4096),
    "accumulate": (1, 4096),
    "resolution_px": (16, 4096),
    "per_clip": (1, 4096),
    "frames": (1, 4096),
    "duration_s": (0.1, 600),
    "caption_dropout": (0, 1),
    "control_dropout": (0, 1),
    "temporal": (0, 100),
    "replay": (0, 1),
    "guidance": (0, 100),
    "sampling_steps": (1, 1000),
    "sweeps": (0, 100),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True)
class LoraSettings:
    """Defaults are for the small base; for a full-size one a family's `recommended` come first.

    base: folder or hub id of a pretrained base; None trains on a small base made from the footage.
    alpha: the adapter's output is scaled by alpha / rank.
    lr: peak rate of AdamW, of which `lr_share` is used: refinements go gently. steps: of `batch` times `accumulate`
        samples.
    targets: cross-attention alone, or the conditioning pathway too.
    start: how a run with a parent begins, see `trainer.adapters`. replay: share of its samples that come from the
        parent's clips and are not of this run's own.
    resolution_px, crop, per_clip, frames, duration_s: how clips are cut, see `trainer.cutting.CutSettings`.
    caption_dropout: share of samples with an empty text. control: train a control projector. control_dropout: share of
        its channels that are absent, and of samples in which all are.
    temporal: weight of the loss of motion of video families. Chosen (`tests.bench.temporal`): at equal held-out loss or
        better 1 takes 32% of the flicker and 0.3 takes 17%; 3 takes 42% but costs 7% of held-out loss.
    mask: `people` weights the loss of pictures and videos by where people are tracked, see `trainer.masks`. Clips
        without tracks weigh the same everywhere, and so do the losses that a run is judged by.
    pose: steer by people's skeletons too, drawn where they are, see `trainer.poses`; dropped as often as a channel. Off
        by default: only a profile with a model of poses finds any, a run without any is refused, and what it is worth
        on a full-size base was never measured. A run without it leaves behind what its parent has of poses.
    precision: of the base's frozen weights; the adapter's are float32. save_memory: compute activations twice.
    guidance, sampling_steps: of the samples that a run is judged by; more steps changed nothing that the eye sees on
        the small base. sweeps: how many control channels are tried on samples, twenty for each.
    """

    base: str | None = None
    rank: int = 8
    alpha: float = 8
    lr: float = 5e-3
    lr_share: float = 1.0
    steps: int = 300
    batch: int = 8
    accumulate: int = 1
    targets: Targets = "cross_attention"
    start: WarmStart = "continue"
    replay: float = 0.0
    resolution_px: int = 64
    crop: Literal["square", "aspect"] = "square"
    per_clip: int = 8
    frames: int = 17
    duration_s: float = 4.0
    caption_dropout: float = 0.05
    control: bool = True
    control_dropout: float = 0.15
    temporal: float = 1.0
    mask: Literal["none", "people"] = "none"
    pose: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    save_memory: bool = False
    guidance: float = 2.0
    sampling_steps: int = 25
    sweeps: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
                raise SettingsError(f"LoRA setting {name} is {value!r}; expected a number from {low:g} to {high:g}")
            if _KINDS[name] is int and not isinstance(value, int):
                raise SettingsError(f"LoRA setting {name} is {value!r}; expected a whole number")
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if get_origin(kind) is Literal and value not in get_args(kind):
                raise SettingsError(f"LoRA setting {name} is {value!r}; expected one of {', '.join(get_args(kind))}")
            if kind is bool and not isinstance(value, bool):
                raise SettingsError(f"LoRA setting {name} is {value!r}; expected true or false")

    @staticmethod
    def of(given: Mapping[str, Any]) -> "LoraSettings":
        """Settings from the fields that differ from their defaults.

        Raises:
            SettingsError: a field is unknown, or a value out of range.
        """
        known = {f.name for f in fields(LoraSettings)}
        unknown = sorted(given.keys() - known)
        if unknown:
            raise SettingsError(f"LoRA settings {', '.join(unknown)} are not known; known: {', '.join(sorted(known))}")
        return LoraSettings(**given)

    @property
    def cut(self) -> CutSettings:
        """How clips are cut."""
        return CutSettings(self.resolution_px, self.crop, self.per_clip, self.frames, self.duration_s)


_KINDS: dict[str, Any] = get_type_hints(LoraSettings)
