"""Profiles: which processors run, with which options. One TOML file each, one `[[processor]]` per processor.

    [[processor]]
    id = "audio.prosody"        # processors/audio/prosody.py
    pitch_max_hz = 800          # any other key is an option of that processor

The profiles that come with Cliploom lie in `processors/profiles`; a path to a TOML file is a profile too.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processors.base import Processor, create_processor
from processors.decode import SAMPLE_AUDIO_RATE_HZ, SAMPLE_LONGEST_PX, SAMPLE_RATE_HZ
from store.errors import SettingsError
from store.records import Column

PROFILES_FOLDER = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Profile:
    """Processors in an order in which each finds the columns that it reads; not loaded yet."""

    name: str
    processors: tuple[Processor, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns that the profile gives, in running order; their names are unique."""
        return tuple(column for processor in self.processors for column in processor.columns)


def profile_names() -> list[str]:
    """Names of the profiles that come with Cliploom."""
    return sorted(path.stem for path in PROFILES_FOLDER.glob("*.toml"))


def load_profile(name_or_path: str | Path, models_folder: Path | None = None) -> Profile:
    """The profile of that name, or in that TOML file, checked.

    Args:
        models_folder: a processor's `model` that is a folder in here is read from it; others are looked for
            in the Hugging Face cache when the processor loads.

    Raises:
        SettingsError: no such profile, a file that is no profile, an unknown processor or option, two
            processors that give one column, a column that nobody gives, a cycle, or more than clips hold.
    """
    path = _profile_path(name_or_path)
    processors = [_processor(entry, path, models_folder) for entry in _entries(path)]
    _check_ids(processors, path)
    _check_reads(processors, path)
    return Profile(path.stem, _in_running_order(processors, path))


def _profile_path(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = PROFILES_FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        raise SettingsError(
            f"profile {str(name_or_path)!r} is not known; choose {', '.join(profile_names())}, "
            "or give a path to a .toml file"
        )
    return path


def _entries(path: Path) -> list[Mapping[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"profile {path} is not TOML: {error}") from error
    entries = content.pop("processor", None)
    if content:
        raise SettingsError(f"profile {path} has unknown keys {', '.join(content)}; it holds only [[processor]]")
    if not isinstance(entries, list) or not entries:
        raise SettingsError(f"profile {path} names no processor; write at least one [[processor]] with an id")
    return entries


def _processor(entry: Mapping[str, Any], path: Path, models_folder: Path | None) -> Processor:
    options = dict(entry)
    processor_id = options.pop("id", None)
    if not isinstance(processor_id, str):
        raise SettingsError(f'a [[processor]] of profile {path} has no id: {dict(entry)}; write id = "role.module"')
    if models_folder is not None and (folder := models_folder / str(options.get("model"))).is_dir():
        options["model"] = str(folder)
    try:
        return create_processor(processor_id, options)
    except SettingsError as error:
        raise SettingsError(f"profile {path}: {error}") from error


def _check_ids(processors: Iterable[Processor], path: Path) -> None:
    givers: dict[str, str] = {}
    ids = [processor.id for processor in processors]
    for processor_id in ids:
        if ids.count(processor_id) > 1:
            raise SettingsError(f"profile {path} names processor {processor_id!r} twice; keep one")
    for processor in processors:
        for column in processor.columns:
            if column.name in givers:
                both = f"{givers[column.name]} and {processor.id}"
                raise SettingsError(f"profile {path}: column {column.name!r} is given by {both}; keep one")
            givers[column.name] = processor.id


def _check_reads(processors: Iterable[Processor], path: Path) -> None:
    """Raises SettingsError where a processor asks for more than the sample pack of a clip holds."""
    for processor in processors:
        reads = processor.reads
        for what, asked, held, unit in (
            ("frames", reads.frame_rate_hz, SAMPLE_RATE_HZ, "Hz"),
            ("frames", reads.longest_px, SAMPLE_LONGEST_PX, "px"),
            ("sound", reads.audio_rate_hz, SAMPLE_AUDIO_RATE_HZ, "Hz"),
        ):
            if asked is not None and asked > held:
                raise SettingsError(
                    f"profile {path}: {processor.id} reads {what} at {asked:g} {unit}, "
                    f"but clips hold at most {held:g} {unit}; ask for less"
                )


def _in_running_order(processors: list[Processor], path: Path) -> tuple[Processor, ...]:
    """Processors after those whose columns they read; otherwise in the order of the file."""
    given = {column.name for processor in processors for column in processor.columns}
    for processor in processors:
        if missing := [name for name in processor.reads.columns if name not in given]:
            raise SettingsError(
                f"profile {path}: {processor.id} reads {', '.join(missing)}, which no processor of it gives; add one"
            )
    waiting, ready, order = list(processors), set[str](), list[Processor]()
    while waiting:
        runnable = [processor for processor in waiting if ready.issuperset(processor.reads.columns)]
        if not runnable:
            ids = ", ".join(processor.id for processor in waiting)
            raise SettingsError(f"profile {path}: {ids} wait for each other's columns; break the circle")
        first = runnable[0]
        order.append(first)
        waiting.remove(first)
        ready.update(column.name for column in first.columns)
    return tuple(order)
