"""`cliploom doctor`: what it finds, each check by itself."""

import importlib.metadata
import json
import os
import re
import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.commands import doctor
from processors.tiny import build_tiny_models


def test_a_pin_that_is_not_met_is_named_with_the_remedy():
    version = importlib.metadata.version("httpx")
    requirements = [f"httpx=={version}", "numpy<1", "no-such-package", "pytest<0; python_version < '3'"]

    checks = {check.name: check for check in doctor.check_packages(requirements)}

    assert checks["numpy"].state == "warning"
    assert "wanted <1" in checks["numpy"].found
    assert checks["no-such-package"].state == "missing"
    assert checks["packages"].found == "1 as required"
    assert "pytest" not in checks
    assert checks["numpy"].remedy == "run `make env`"


def test_this_python_is_the_right_one():
    assert doctor.check_python().state == ("ok" if sys.version_info[:2] == (3, 11) else "missing")


def test_the_weights_inside_packages_are_there():
    assert [check.state for check in doctor.check_package_weights()] == ["ok"] * len(doctor.PACKAGE_WEIGHTS)


def test_the_encoders_of_clips_are_there():
    assert doctor.check_codecs().state == "ok"


def test_a_profile_that_is_not_known_is_told_with_those_that_are():
    (check,) = doctor.check_profile("nonsense", Path("models"))

    assert check.state == "missing"
    assert "measured" in check.found


def test_a_model_that_is_missing_says_how_to_get_it_and_may_be_missing_where_it_is_optional(tmp_path):
    lines = '[[processor]]\nid = "vision.siglip"\nmodel = "no-such-owner/no-such-model"\n'
    for optional, state in (("false", "missing"), ("true", "warning")):
        profile = tmp_path / "own.toml"
        profile.write_text(f'{lines}optional = {optional}\n[[processor]]\nid = "motion.flow"\n')

        lacking, whole = doctor.check_profile(str(profile), tmp_path / "models")

        assert (lacking.name, lacking.state) == ("vision.siglip", state)
        assert "'no-such-owner/no-such-model' is not on this machine" in lacking.found
        assert "cliploom models pull" in lacking.remedy
        assert (whole.state, whole.found) == ("ok", "1 of 2 load")


def test_a_model_that_is_there_is_shown_with_its_size_and_licence(tmp_path):
    build_tiny_models(tmp_path)
    profile = tmp_path / "own.toml"
    profile.write_text('[[processor]]\nid = "vision.siglip"\nmodel = "tiny/siglip"\nsize = 32\nlicence = "MIT"\n')

    model, whole = doctor.check_profile(str(profile), tmp_path)

    assert model.name == "model of vision.siglip"
    assert re.fullmatch(r"tiny/siglip, [0-9.]+ kB, licence MIT", model.found)
    assert whole.found == "1 of 1 load"


def test_a_taken_port_is_a_warning():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert doctor.check_port(taken.getsockname()[1]).state == "warning"
        port = taken.getsockname()[1]
    assert doctor.check_port(port).state == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_missing(tmp_path):
    tmp_path.chmod(0o500)

    assert doctor.check_writable(tmp_path / "data").state == "missing"


def test_a_data_folder_that_is_not_there_yet_is_judged_by_its_parent(tmp_path):
    check = doctor.check_writable(tmp_path / "not" / "yet")

    assert (check.state, check.found) == ("ok", f"{tmp_path} can be written")
    assert not (tmp_path / "not").exists()


def test_the_command_ends_with_1_when_something_is_missing():
    result = CliRunner().invoke(app, ["doctor", "--profile", "nonsense", "--json"])

    checks = json.loads(result.stdout)
    assert result.exit_code == 1
    assert {check["name"] for check in checks if check["state"] == "missing"} == {"profile nonsense"}
    assert {"python", "packages", "devices", "codecs", "disk", "data folder", "port"} <= {c["name"] for c in checks}
