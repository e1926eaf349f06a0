"""deploy/compose.yaml, the image, and the settings of Prometheus and Grafana: that they fit each other and our code."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from api.cli import app
from store.kafka import KafkaSettings
from streams.topics import LONGEST_MESSAGE_BYTES

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Compose's own, out of a package that need not be imported for it."""
    found = find_spec("check_jsonschema")
    assert found is not None
    folder = Path((found.submodule_search_locations or [""])[0])
    loaded: dict[str, Any] = json.loads((folder / "builtin_schemas/vendor/compose-spec.json").read_bytes())
    return loaded


def _command(compose: dict[str, Any]) -> dict[str, str]:
    """Options of the service's command."""
    words = compose["services"]["cliploom"]["command"]
    assert words[:2] == ["cliploom", "up"]
    return dict(word.split("=", 1) for word in words[2:])


def test_compose_takes_the_file(compose, schema):
    jsonschema.validate(compose, schema)

    with pytest.raises(jsonschema.ValidationError, match="imag"):
        jsonschema.validate(compose | {"services": {"kafka": {"imag": "apache/kafka:4.0.0"}}}, schema)


def test_the_service_is_started_as_the_command_line_takes_it(compose):
    known = {option for parameter in typer.main.get_command(app).commands["up"].params for option in parameter.opts}

    assert set(_command(compose)) <= known


def test_the_service_finds_the_broker_where_it_says_it_is(compose):
    kafka = compose["services"]["kafka"]["environment"]
    broker = KafkaSettings.read(_command(compose)["--broker"], {}).address

    assert f"INNER://{broker}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert int(kafka["KAFKA_MESSAGE_MAX_BYTES"]) > LONGEST_MESSAGE_BYTES


def test_no_port_is_open_to_other_machines(compose):
    ports = [port for service in compose["services"].values() for port in service["ports"]]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_a_busy_service_is_given_its_grace(compose):
    assert int(compose["services"]["cliploom"]["stop_grace_period"].rstrip("s")) >= 5 + int(
        _command(compose)["--grace"]
    )


def test_folders_of_ours_that_are_mounted_are_there(compose):
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), source


def test_prometheus_asks_where_the_service_answers(compose):
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = [target for job in scraped for entry in job["static_configs"] for target in entry["targets"]]

    published = [port.rpartition(":")[2] for port in compose["services"]["cliploom"]["ports"]]
    assert targets == [f"cliploom:{published[0]}"]


def test_grafana_is_given_the_source_and_the_dashboards(compose):
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "cliploom.yaml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])

    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].startswith(
        provider["options"]["path"]
    )


def test_the_image_holds_every_package_and_runs_as_nobody_in_particular():
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()

    assert {"store", "processors", "trainer", "streams", "api", "pyproject.toml", "uv.lock"} <= copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert {f"!{name}/**" if (ROOT / name).is_dir() else f"!{name}" for name in copied} <= set(let_in)
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
