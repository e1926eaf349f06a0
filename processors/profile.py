"""Profiles: which processors run, with which options. One TOML file each, one `[[processor]]` per processor.

    [[processor]]
    id = "audio.prosody"        # processors/audio/prosody.py
    pitch_max_hz = 800          # any other key is an option of that processor

Three keys are the profile's own: `optional = true` lets the service start without a processor whose model or package
is missing; `licence` and `sha256` tell of the `model`, which is a folder, an id of the model hub or an URL.

A profile may be another one but for some processors:

    extends = "pretrained"      # a name, or a path to a TOML file that extends none itself
    without = ["track.rtdetr"]

A table `[reason]` says what describes the clips (`processors.reason`): the engine and its options, `optional = true` to
fall back on the rules where its model is missing, `vocabulary` and `prompt` for files of one's own (from the profile's
folder), `frames` and `context`. Without it, the rules do.

The profiles that come with Cliploom lie in `processors/profiles`; a path to a TOML file is a profile too.
"""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processors.base import Processor, create_processor
from processors.decode import SAMPLE_AUDIO_RATE_HZ, SAMPLE_LONGEST_PX, SAMPLE_RATE_HZ
from processors.models.lock import model_place
from store.errors import SettingsError
from store.records import Column

PROFILES_FOLDER = Path(__file__).parent / "profiles"
_OWN_KEYS = frozenset({"id", "optional", "licence", "sha256"})
"""Of a line; all others are options of its processor."""
_MOST_SHOWN = 16
_REASON_KEYS: Mapping[str, tuple[type, str]] = {
    "engine": (str, "name one of measured, local and endpoint"),
    "optional": (bool, "write true or false"),
    "vocabulary": (str, "give a path to a TOML file"),
    "prompt": (str, "give a path to a TOML file"),
    "frames": (int, f"give a number of frames up to {_MOST_SHOWN}"),
    "context": (int, f"give a number of clips up to {_MOST_SHOWN}"),
}
"""Of `[reason]`; all others are options of its engine."""
_REASON_FILES = (*Processor.model_files, "*.jinja")
"""What the engine `local` needs of its model's repository: also the template of its chats."""


@dataclass(frozen=True)
class ModelLine:
    """What a profile line says of the model that its processor loads.

    model: a folder, a file, an id of the model hub, or an URL. sha256: of an URL's file.
    files: see `Processor.model_files`.
    """

    processor: str
    model: str
    revision: str | None
    licence: str | None
    sha256: str | None
    files: tuple[str, ...]
    optional: bool


@dataclass(frozen=True)
class ReasonLine:
    """What a profile says of the step that describes clips.

    engine: a module of `processors.reason`. options: the engine's. optional: the rules do without it.
    vocabulary, prompt: files; None: those beside the code. frames: most that are shown of a clip.
    context: clips before it in its video that the question tells of.
    """

    engine: str = "measured"
    options: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False
    vocabulary: Path | None = None
    prompt: Path | None = None
    frames: int = 8
    context: int = 0
    model: ModelLine | None = None


@dataclass(frozen=True)
class Profile:
    """Processors in an order in which each finds the columns that it reads; not loaded yet.

    optional: ids of those that may be absent. models: of those that load one, in running order.
    """

    name: str
    processors: tuple[Processor, ...]
    optional: frozenset[str] = frozenset()
    models: tuple[ModelLine, ...] = ()

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
        models_folder: a processor's `model` that lies in here is read from here; others are looked for in the
            Hugging Face cache when the processor loads.

    Raises:
        SettingsError: no such profile, a file that is no profile, an unknown processor or option, or what
            `create_profile` refuses.
    """
    path = _profile_path(name_or_path)
    lines = [_line(entry, path, models_folder) for entry in _entries(path)]
    models = [*(model for _, model, _ in lines), load_reason(path, models_folder).model]
    return create_profile(
        path.stem,
        [processor for processor, _, _ in lines],
        [processor.id for processor, _, optional in lines if optional],
        [model for model in models if model is not None],
    )


def load_reason(name_or_path: str | Path, models_folder: Path | None = None) -> ReasonLine:
    """What a profile says of the step that describes clips, without importing any processor.

    Raises:
        SettingsError: no such profile, a file that is no profile, or a `[reason]` that is none.
    """
    path = _profile_path(name_or_path)
    content = _content(path)
    if "reason" not in content and isinstance(content.get("extends"), str):
        return load_reason(_base(path, content["extends"]), models_folder)
    table = content.get("reason", {})
    if not isinstance(table, dict):
        raise SettingsError(f"profile {path}: write [reason] as a table, with the name of an engine")
    own = {name: table[name] for name in _REASON_KEYS if name in table}
    for name, value in own.items():
        wanted, told = _REASON_KEYS[name]
        if type(value) is not wanted or (isinstance(value, int) and not 0 <= value <= _MOST_SHOWN):
            raise SettingsError(f"profile {path}: [reason] has {name} = {value!r}; {told}")
    files = {name: path.parent / own[name] for name in ("vocabulary", "prompt") if name in own}
    for name, file in files.items():
        if not file.is_file():
            raise SettingsError(f"profile {path}: [reason] names {name} {file}, which is no file")
    options = {name: value for name, value in table.items() if name not in _REASON_KEYS and name not in _OWN_KEYS}
    engine = own.get("engine", "measured")
    named, model = options.get("model"), None
    if engine == "local" and isinstance(named, str):
        revision, licence, sha256 = (table.get(name) for name in ("revision", "licence", "sha256"))
        optional = own.get("optional", False)
        model = ModelLine("reason.local", named, revision, licence, sha256, _REASON_FILES, optional)
        options = _options({"id": "reason.local"} | options, models_folder)
    return ReasonLine(options=options, model=model, **own | files)


def build_if_tiny(name_or_path: str | Path, models_folder: Path) -> None:
    """Build the models of a tiny profile that are missing; those of others are pulled."""
    if str(name_or_path).startswith("tiny"):
        # Here, because it loads what every tiny model is built with: other profiles start without it.
        from processors.tiny import build_tiny_models

        build_tiny_models(models_folder, str(name_or_path))


def processor_options(
    name_or_path: str | Path, processor_id: str, models_folder: Path | None = None
) -> dict[str, Any] | None:
    """Options that a profile gives to one processor, unchecked and without importing any; None where it is not named.

    Raises:
        SettingsError: no such profile, or a file that is no profile.
    """
    entry = next((entry for entry in _entries(_profile_path(name_or_path)) if entry.get("id") == processor_id), None)
    return None if entry is None else _options(entry, models_folder)


def create_profile(
    name: str, processors: Sequence[Processor], optional: Collection[str] = (), models: Sequence[ModelLine] = ()
) -> Profile:
    """The profile of these processors, in running order.

    Raises:
        SettingsError: a processor or a column that is there twice, a column that is read and nobody gives,
            processors that wait for each other (also for optional columns), or one that reads more than clips hold.
    """
    _check_unique(name, processors)
    for processor in processors:
        _check_reads(name, processor)
    return Profile(name, _in_running_order(name, processors), frozenset(optional), tuple(models))


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
    content = _content(path)
    extended, without = content.pop("extends", None), content.pop("without", [])
    content.pop("reason", None)
    entries = content.pop("processor", None)
    if content:
        raise SettingsError(
            f"profile {path} has unknown keys {', '.join(content)};"
            " it holds only extends, without, [reason] and [[processor]]"
        )
    if entries is None and extended is not None:
        entries = []
    elif not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise SettingsError(f"profile {path} names no processor; write at least one [[processor]] with an id")
    return [*_kept(path, extended, without), *entries] if extended is not None or without else entries


def _kept(path: Path, extended: Any, without: Any) -> list[Mapping[str, Any]]:
    """Lines of the profile that `path` extends, without those that it names."""
    if not isinstance(extended, str) or not isinstance(without, list):
        raise SettingsError(f'profile {path}: write extends = "<profile>" and without = ["<processor id>", ...]')
    entries = _entries(_base(path, extended))
    if strange := set(without) - {entry.get("id") for entry in entries}:
        raise SettingsError(f"profile {path} goes without {', '.join(sorted(strange))}, which {extended} does not name")
    return [entry for entry in entries if entry.get("id") not in without]


def _base(path: Path, extended: str) -> Path:
    """The file of the profile that `path` extends, which extends none itself."""
    base = _profile_path(extended)
    if _content(base).keys() & {"extends", "without"}:
        raise SettingsError(f"profile {path} extends {extended}, which extends another itself; extend that one")
    return base


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"profile {path} is not TOML: {error}") from error


def _line(entry: Mapping[str, Any], path: Path, models_folder: Path | None) -> tuple[Processor, ModelLine | None, bool]:
    """A line's processor, its model if it loads one, and whether it is optional."""
    processor_id = entry.get("id")
    if not isinstance(processor_id, str):
        raise SettingsError(f'a [[processor]] of profile {path} has no id: {dict(entry)}; write id = "role.module"')
    optional = entry.get("optional", False)
    if not isinstance(optional, bool):
        raise SettingsError(f"profile {path}: {processor_id} has optional = {optional!r}; write true or false")
    try:
        processor = create_processor(processor_id, _options(entry, models_folder))
    except SettingsError as error:
        raise SettingsError(f"profile {path}: {error}") from error
    named = entry.get("model")
    if not isinstance(named, str):
        return processor, None, optional
    revision, licence, sha256 = (entry.get(name) for name in ("revision", "licence", "sha256"))
    line = ModelLine(processor_id, named, revision, licence, sha256, processor.model_files, optional)
    return processor, line, optional


def _options(entry: Mapping[str, Any], models_folder: Path | None) -> dict[str, Any]:
    """What a line says to its processor."""
    options = {name: value for name, value in entry.items() if name not in _OWN_KEYS}
    named = options.get("model")
    if isinstance(named, str) and models_folder is not None and (place := model_place(models_folder, named)).exists():
        options["model"] = str(place)
    return options


def _check_unique(name: str, processors: Sequence[Processor]) -> None:
    ids = [processor.id for processor in processors]
    if twice := {processor_id for processor_id in ids if ids.count(processor_id) > 1}:
        raise SettingsError(f"profile {name} names {', '.join(sorted(twice))} twice; keep one")
    givers: dict[str, str] = {}
    for processor in processors:
        for column in processor.columns:
            if column.name in givers:
                both = f"{givers[column.name]} and {processor.id}"
                raise SettingsError(f"profile {name}: column {column.name!r} is given by {both}; keep one")
            givers[column.name] = processor.id


def _check_reads(name: str, processor: Processor) -> None:
    reads = processor.reads
    for what, asked, held, unit in (
        ("frames", reads.frame_rate_hz, SAMPLE_RATE_HZ, "Hz"),
        ("frames", reads.longest_px, SAMPLE_LONGEST_PX, "px"),
        ("sound", reads.audio_rate_hz, SAMPLE_AUDIO_RATE_HZ, "Hz"),
    ):
        if asked is not None and asked > held:
            raise SettingsError(
                f"profile {name}: {processor.id} reads {what} at {asked:g} {unit}, but clips hold at most "
                f"{held:g} {unit}; ask for less"
            )


def _in_running_order(name: str, processors: Sequence[Processor]) -> tuple[Processor, ...]:
    """Processors after those whose columns they read; otherwise in the order given."""
    given = {column.name for processor in processors for column in processor.columns}
    for processor in processors:
        if missing := [column for column in processor.reads.columns if column not in given]:
            raise SettingsError(
                f"profile {name}: {processor.id} reads {', '.join(missing)}, which no processor of it gives; add one"
            )
    waiting, ready, order = list(processors), set[str](), list[Processor]()
    while waiting:
        runnable = [p for p in waiting if ready.issuperset(given.intersection(p.reads.inputs))]
        if not runnable:
            ids = ", ".join(processor.id for processor in waiting)
            raise SettingsError(f"profile {name}: {ids} wait for each other's columns; break the circle")
        order.append(runnable[0])
        waiting.remove(runnable[0])
        ready.update(column.name for column in runnable[0].columns)
    return tuple(order)
