"""The README tells the truth: its commands, options, tree, topics, profiles and make targets exist."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from api.cli import app
from processors.evaluation import KeptHere
from processors.profile import load_profile, profile_names
from processors.reason.opening import open_reasoner
from streams.topics import STEPS, TOPICS, dead_topic

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"(?:bin/|`)cliploom ([a-z]+\b[^`#\n]*)", README)))


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_in_the_readme_exists_with_its_options(line: str) -> None:
    words = line.split()
    command: Any = get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("--"):
        name = words.pop(0)
        assert name in command.commands, f"`cliploom {line}`: no command {name!r}"
        command = command.commands[name]
    assert not hasattr(command, "commands") or command.invoke_without_command, f"`cliploom {line}`: no command"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_readme_shows_every_kind_of_command() -> None:
    shown = {line.split()[0] for line in COMMANDS}
    assert {"up", "ingest", "status", "search", "why", "concepts", "train", "snapshot", "doctor"} <= shown


def test_the_tree_in_the_readme_is_the_tree() -> None:
    tree = re.findall(r"^([a-z]+)/ {2,}", README, flags=re.M)
    there = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert set(tree) == {name for name in there if not name.startswith(".") and name != "build"}


def test_every_topic_in_the_readme_exists() -> None:
    names = {topic.name for topic in TOPICS}
    shown = set(
        re.findall(
            r"\b(?:footage|clips|annotations|calibrations|identities|concepts|tokens|training|adapters|reviews|removals|snapshots|dead)\.(?!yaml|toml)[a-z]+",
            README,
        )
    )
    assert shown
    assert shown <= names
    assert {dead_topic(step) for step in STEPS} <= names


def test_every_profile_is_in_the_readme() -> None:
    for name in profile_names():
        assert f"| `{name}`" in README


def test_the_profile_in_the_readme_can_be_used_as_it_stands(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", README, flags=re.S)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    load_profile(path)
    reasoner, _, absent = open_reasoner(str(path), tmp_path, KeptHere())
    assert (reasoner.engine.id.split(":")[0], absent) == ("endpoint", None)


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= targets


def test_the_changelog_names_this_version() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.M)
    assert version is not None
    assert f"## {version.group(1)}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
