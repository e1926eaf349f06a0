"""When to train, and how much: what an operator sets in a TOML file (training.toml holds the defaults)."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from store.errors import SettingsError
from store.records import Json

Stage = Literal["A", "B"]

_NUMBERS: dict[str, tuple[type, float, float]] = {
    "devices": (int, 1, 64),
    "devices_per_run": (int, 1, 64),
    "runs_per_day": (int, 1, 1000),
    "device_hours_per_day": (float, 0.1, 64 * 24),
    "cool_down_s": (float, 0, 7 * 86_400),
    "least_growth": (float, 0.01, 10),
    "stage_b_purity": (float, 0, 1),
}
"""Kind and closed range of each number."""
_TABLES = ("lora", "stage_a", "stage_a_again", "stage_b")
_GENTLE = {"lr_share": 0.25, "steps": 200, "start": "continue", "replay": 0.25}
"""Chosen: a quarter of the rate and fewer steps, so that an adapter that goes on refines and does not overwrite, and a
quarter of what it sees is what it has learned before."""


@dataclass(frozen=True)
class SchedulerSettings:
    """When to train; all chosen, to be replaced by what operators find.

    devices: that runs may hold at once.
    devices_per_run: that each run holds; its processes, one to a device, share every step. So many runs as
        `runs_at_once` are under way, for as many workers of the step `train`.
    runs_per_day: runs of one concept that the scheduler may bring a UTC day to, those asked for by hand counted too.
    device_hours_per_day: hours of a UTC day that runs may hold devices, those of each device; None: all. No run is
        asked for once they are used, and none is stopped.
    cool_down_s: least time between the end of a concept's last run and its next.
    least_growth: a subset that was trained on before must have grown by this share of its clips.
    stage_b_purity: `purity_low` from which stage B refines stage A's adapter.
    lora: fields of `trainer.settings.LoraSettings` for every run; what the tables of the stages say comes before it.
    stage_a: for a concept's first adapter, which starts from nothing.
    stage_a_again: for a subset that grew: the run goes on from the adapter of stage A that is in use.
    stage_b: goes on from the adapter of stage A that is in use as well, once the subset is purer.
    """

    devices: int = 1
    devices_per_run: int = 1
    runs_per_day: int = 8
    device_hours_per_day: float | None = None
    cool_down_s: float = 600.0
    least_growth: float = 0.25
    stage_b_purity: float = 0.9
    lora: Json = field(default_factory=dict)
    stage_a: Json = field(default_factory=dict)
    stage_a_again: Json = field(default_factory=lambda: dict(_GENTLE))
    stage_b: Json = field(default_factory=lambda: dict(_GENTLE))

    def __post_init__(self) -> None:
        for name, (kind, low, high) in _NUMBERS.items():
            value = getattr(self, name)
            if name == "device_hours_per_day" and value is None:
                continue
            fits = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
            if not fits or not math.isfinite(value) or not low <= value <= high:
                told = "a whole number" if kind is int else "a number"
                raise SettingsError(f"{name} is {value!r}; expected {told} from {low:g} to {high:g}")
        if self.devices_per_run > self.devices:
            raise SettingsError(
                f"devices_per_run is {self.devices_per_run}, and devices is {self.devices}: no run could ever start;"
                f" expected at most {self.devices}, or more devices"
            )
        for name in _TABLES:
            value = getattr(self, name)
            if not isinstance(value, dict) or any(isinstance(one, dict | list) for one in value.values()):
                raise SettingsError(f"{name} is {value!r:.60}; expected a table [{name}] of fields of LoraSettings")

    @property
    def runs_at_once(self) -> int:
        """How many runs may be under way."""
        return self.devices // self.devices_per_run

    def of_run(self, stage: Stage, goes_on: bool) -> Json:
        """Fields of `trainer.settings.LoraSettings` for a run. goes_on: from the adapter of an earlier one."""
        own = self.stage_b if stage == "B" else self.stage_a_again if goes_on else self.stage_a
        return self.lora | own


def load_training(path: Path | None) -> SchedulerSettings:
    """The settings of a TOML file (training.toml tells of each); the others, and all without a file, as they are.

    What the tables say of a run is checked when a run starts (`trainer.settings.LoraSettings`).

    Raises:
        SettingsError: no file, no TOML, or a setting that is not known or out of its bounds.
    """
    if path is None:
        return SchedulerSettings()
    try:
        content: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"training file {path} cannot be read: {error.strerror}; give an existing file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"training file {path} is not TOML: {error}") from error
    known = [one.name for one in fields(SchedulerSettings)]
    for name, value in content.items():
        if name not in known:
            raise SettingsError(
                f"training file {path}: {name} = {value!r:.60} is not known; there are {', '.join(known)}"
            )
    try:
        return SchedulerSettings(**content)
    except SettingsError as error:
        raise SettingsError(f"training file {path}: {error}; training.toml tells of each setting") from error
