"""`cliploom doctor`: what it finds, each check by itself."""

import importlib.metadata
import json
import os
import socket
import sys

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.commands import doctor


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
    (check,) = doctor.check_profile("nonsense")

    assert check.state == "missing"
    assert "measured" in check.found


def test_a_profile_whose_weights_are_missing_says_how_to_get_them(tmp_path):
    profile = tmp_path / "own.toml"
    profile.write_text('[[processor]]\nid = "vision.siglip"\nmodel = "no-such-owner/no-such-model"\n')

    (check,) = doctor.check_profile(str(profile))

    assert (check.name, check.state) == ("vision.siglip", "missing")
    assert check.remedy


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
