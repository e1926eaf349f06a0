"""`cliploom models`: what it shows, fetches and checks."""

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from api.cli import app
from processors.tiny import build_tiny_models
from tests.processors.made_hub import Repository, running_hub

MODEL = "someone/siglip"


def cliploom(command: str, profile: Path | str, data: Path) -> tuple[int, Any]:
    result = CliRunner().invoke(app, ["models", command, "--profile", str(profile), "--data", str(data), "--json"])
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(f'[[processor]]\nid = "vision.siglip"\nmodel = "{MODEL}"\nsize = 32\noptional = true\n')
    return path


def test_a_model_is_listed_pulled_verified_and_its_damage_told(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (built, *_) = build_tiny_models(tmp_path / "built")
    code, (listed,) = cliploom("list", profile, tmp_path)
    assert (code, listed["state"], listed["optional"], listed["bytes"]) == (0, "missing", True, None)
    assert listed["remedy"] == f"run `cliploom models pull --profile {profile}`"
    assert cliploom("verify", profile, tmp_path)[0] == 1

    with running_hub() as hub:
        hub.repositories[MODEL] = Repository.of(built)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        code, (pulled,) = cliploom("pull", profile, tmp_path)
    assert (code, pulled["state"], pulled["licence"]) == (0, "present", "apache-2.0")
    assert pulled["where"] == str(tmp_path / "models" / MODEL)
    assert pulled["bytes"] == sum(path.stat().st_size for path in built.iterdir())

    assert cliploom("verify", profile, tmp_path) == (0, [pulled])
    (tmp_path / "models" / MODEL / "config.json").write_text("{}")
    code, (damaged,) = cliploom("verify", profile, tmp_path)
    assert (code, damaged["state"]) == (1, "corrupt")
    assert "config.json has 2 bytes, not" in damaged["problem"]


def test_a_pull_that_fails_names_each_model_and_ends_with_1(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, problem = cliploom("pull", profile, tmp_path)
    assert (code, problem["error"], problem["remedy"]) == (1, "ModelUnavailable", "0 of 1 models are there")
    assert "HF_HUB_OFFLINE forbids" in problem["what"]
    assert [model["model"] for model in problem["models"]] == [MODEL]


def test_tiny_models_are_built_instead_of_fetched(tmp_path: Path) -> None:
    code, models = cliploom("pull", "tiny", tmp_path)
    assert code == 0
    assert {model["state"] for model in models} == {"present"}


def test_people_are_shown_a_table_and_what_to_do(profile: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["models", "list", "--profile", str(profile), "--data", str(tmp_path)]).stdout
    assert "(optional)" in told
    assert f"run `cliploom models pull --profile {profile}`" in told


def test_a_profile_without_models_says_so(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["models", "list", "--profile", "measured", "--data", str(tmp_path)]).stdout
    assert told == "the profile loads no model\n"


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    code, problem = cliploom("list", "nonsense", tmp_path)
    assert (code, problem["error"]) == (1, "SettingsError")
