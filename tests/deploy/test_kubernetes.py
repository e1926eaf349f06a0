"""The manifests in deploy/k8s, held against the schemas of Kubernetes and KEDA and against the steps that there are."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication

import streams.steps  # its modules define the steps
from api.cli import app
from store.kafka import KafkaSettings
from streams.app import _parsed
from streams.runner import Step
from streams.topics import STEPS, TOPICS

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "k8s"
KUBERNETES = ("1.30", "1.37")
"""Oldest and newest that the manifests are for."""
WORKLOADS = ("Deployment", "StatefulSet")
KEDA = {"ScaledObject": ScaledObject, "TriggerAuthentication": TriggerAuthentication}
KAFKA_SCALER = {
    "bootstrapServersFromEnv",
    "consumerGroup",
    "topic",
    "lagThreshold",
    "offsetResetPolicy",
    "scaleToZeroOnInvalidOffset",
    "sasl",
    "tls",
}
"""Settings of KEDA's Apache Kafka scaler (keda.sh) that we use; its schema leaves them open."""

Manifest = dict[str, Any]


def _load(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def _merged(into: Any, patch: Any) -> Any:
    """Kubernetes' strategic merge, as far as our patches go: objects by key, lists of objects by name."""
    if isinstance(into, dict) and isinstance(patch, dict):
        return into | {key: _merged(into[key], value) if key in into else value for key, value in patch.items()}
    if isinstance(into, list) and all(isinstance(item, dict) and "name" in item for item in [*into, *patch]):
        named = {item["name"]: item for item in into}
        return list((named | {p["name"]: _merged(named.get(p["name"], {}), p) for p in patch}).values())
    return patch


def _built() -> list[Manifest]:
    """What `kubectl apply -k` would send, as far as the schemas and the tests below can tell."""
    kustomization = _load("kustomization.yaml")[0]
    manifests = [manifest for name in kustomization["resources"] for manifest in _load(name)]
    tag = {image["name"]: f"{image['newName']}:{image['newTag']}" for image in kustomization["images"]}
    built = []
    for manifest in manifests:
        component = manifest["metadata"].get("labels", {}).get("app.kubernetes.io/component")
        for patch in kustomization["patches"]:
            wanted = patch["target"]["labelSelector"].removeprefix("app.kubernetes.io/component").strip("= in()")
            if component in wanted.split(", "):
                manifest = _merged(manifest, {"spec": _load(patch["path"])[0]["spec"]})
        if manifest["kind"] in WORKLOADS:
            container = manifest["spec"]["template"]["spec"]["containers"][0]
            container["image"] = tag[container["image"]]
        built.append(manifest)
    return built


BUILT = _built()


def _named(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def _of(*kinds: str) -> list[Manifest]:
    return [manifest for manifest in BUILT if manifest["kind"] in kinds]


def _workers() -> dict[str, Manifest]:
    """By step."""
    found: dict[str, Manifest] = {}
    for manifest in _of(*WORKLOADS):
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        if "streams.app" in container["command"]:
            steps = _parsed(_arguments(container)).steps
            for step in steps.split(","):
                assert step not in found, f"{step} is deployed twice"
                found[step] = manifest
    return found


def _arguments(container: Manifest) -> list[str]:
    """What streams.app is given: with the variables of the config map in their places."""
    (config,) = _of("ConfigMap")
    words = [*container["command"][container["command"].index("streams.app") + 1 :], *container["args"]]
    for name, value in config["data"].items():
        words = [word.replace(f"$({name})", value) for word in words]
    return words


@pytest.mark.parametrize("manifest", BUILT, ids=_named)
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_every_manifest(manifest, version):
    if manifest["kind"] in KEDA:
        model = KEDA[manifest["kind"]]
        # What the schema does not know would be lost on the way through it.
        assert model.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_none=True) == manifest
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_what_is_not_in_the_schema_is_found():
    wrong = _merged(_workers()["persist"], {"spec": {"replica": 1}})
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


@pytest.mark.skipif(shutil.which("kustomize") is None, reason="kustomize is not on the PATH")
def test_kustomize_builds_the_same():
    told = subprocess.run(["kustomize", "build", str(FOLDER)], capture_output=True, text=True, check=True)

    real = {_named(manifest): manifest for manifest in yaml.safe_load_all(told.stdout)}

    assert real == {_named(manifest): manifest for manifest in BUILT}


def test_no_manifest_names_a_namespace():
    assert [_named(manifest) for manifest in BUILT if "namespace" in manifest["metadata"]] == []


def test_every_step_is_deployed_once():
    assert sorted(_workers()) == sorted(STEPS)


def test_workers_are_started_as_the_command_line_takes_it():
    for step, manifest in _workers().items():
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        told = _parsed(_arguments(container))

        assert (told.steps, told.stay, told.broker) == (step, True, "kafka:9093")
        assert told.metrics_port == container["ports"][0]["containerPort"] == 9464
        assert (told.partitions, told.concepts.name) == (12, "concepts.yaml")
        # Kubernetes kills after this; the worker needs 5 s beyond its grace.
        assert manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= told.grace + 5


def test_the_api_is_started_as_the_command_line_takes_it():
    (api,) = (manifest for manifest in _of("Deployment") if manifest["metadata"]["name"] == "api")
    program, name, *options = api["spec"]["template"]["spec"]["containers"][0]["command"]
    command = typer.main.get_command(app).commands[name]

    assert program == "cliploom"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {option.partition("=")[0] for option in options} <= known


def test_of_steps_that_must_be_alone_there_is_one_worker_at_most():
    for step in ("persist", "curate", "schedule", "snapshot", "train"):
        manifest = _workers()[step]
        # A Deployment would start the next worker before the last has ended.
        assert (manifest["kind"], manifest["spec"]["replicas"]) == ("StatefulSet", 1)
    scaled = {manifest["spec"]["scaleTargetRef"]["name"]: manifest["spec"] for manifest in _of("ScaledObject")}
    assert scaled["train"]["maxReplicaCount"] == 1


@pytest.mark.parametrize("manifest", _of("ScaledObject"), ids=_named)
def test_steps_are_scaled_by_the_lag_of_their_own_group_and_topics(manifest):
    assert streams.steps
    reads = {step.name: step.reads for step in Step.__subclasses__() if step.__module__.startswith("streams.")}
    target = manifest["spec"]["scaleTargetRef"]
    step = manifest["metadata"]["name"]
    triggers = [trigger["metadata"] for trigger in manifest["spec"]["triggers"]]

    assert (target["kind"], target["name"]) == (_workers()[step]["kind"], _workers()[step]["metadata"]["name"])
    assert {trigger["consumerGroup"] for trigger in triggers} == {f"cliploom-{step}"}
    assert {trigger["topic"] for trigger in triggers} == set(reads[step])
    assert {trigger["topic"] for trigger in triggers} <= {topic.name for topic in TOPICS}
    assert set().union(*triggers) <= KAFKA_SCALER
    (config,) = _of("ConfigMap")
    assert config["data"][triggers[0]["bootstrapServersFromEnv"]] == "kafka:9093"
    # More workers than partitions would have nothing to do.
    assert manifest["spec"]["maxReplicaCount"] <= int(config["data"]["CLIPLOOM_PARTITIONS"])


def test_model_steps_run_on_gpu_nodes():
    for step, manifest in _workers().items():
        pod = manifest["spec"]["template"]["spec"]
        gpus = pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0)
        assert gpus == (1 if step in ("embed", "train") else 0)
        assert bool(pod.get("tolerations")) == bool(gpus)


def test_the_pods_settings_are_ones_that_we_read(tmp_path):
    (config,) = _of("ConfigMap")
    (tmp_path / "password").write_text("open sesame")
    here = {"CLIPLOOM_KAFKA_PASSWORD_FILE": str(tmp_path / "password"), "CLIPLOOM_KAFKA_CA_FILE": ""}

    settings = KafkaSettings.read(
        config["data"]["CLIPLOOM_BROKER"], config["data"] | here | {"CLIPLOOM_KAFKA_USERNAME": "cliploom"}
    )

    assert (settings.protocol, settings.mechanism) == ("SASL_SSL", "SCRAM-SHA-512")


def test_secrets_are_mounted_where_the_settings_look_for_them_and_never_written_down():
    (config,) = _of("ConfigMap")
    for manifest in _of(*WORKLOADS):
        pod = manifest["spec"]["template"]["spec"]
        (volume,) = (volume for volume in pod["volumes"] if "secret" in volume)
        (mount,) = (m for m in pod["containers"][0]["volumeMounts"] if m["name"] == volume["name"])
        files = {f"{mount['mountPath']}/{item['path']}" for item in volume["secret"]["items"]}

        assert files == {config["data"]["CLIPLOOM_KAFKA_PASSWORD_FILE"], config["data"]["CLIPLOOM_KAFKA_CA_FILE"]}
    assert _of("Secret") == []


def test_every_pod_is_scraped_at_a_port_that_it_has():
    for manifest in _of(*WORKLOADS):
        told = manifest["spec"]["template"]["metadata"]["annotations"]
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        assert told["prometheus.io/scrape"] == "true"
        assert int(told["prometheus.io/port"]) in [port["containerPort"] for port in container["ports"]]


def test_what_refers_to_pods_finds_some():
    labels = [manifest["spec"]["template"]["metadata"]["labels"].items() for manifest in _of(*WORKLOADS)]
    for manifest in _of("Service", "PodDisruptionBudget"):
        selector = manifest["spec"]["selector"]
        assert any(selector.get("matchLabels", selector).items() <= pod for pod in labels), _named(manifest)
    services = {manifest["metadata"]["name"] for manifest in _of("Service")}
    assert {manifest["spec"]["serviceName"] for manifest in _of("StatefulSet")} <= services
