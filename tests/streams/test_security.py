"""Every kind of client on real Kafka that asks for TLS and a password, or for a certificate."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import faust
import pytest
import trustme
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from api.publish import Publisher as ApiPublisher
from store.codec import decode
from store.errors import Passing, SettingsError, Unavailable
from store.kafka import KafkaSettings
from store.records import ClipsStored, Record, utc_now
from streams.metrics import StepMetrics
from streams.publish import Publish, Publisher
from streams.runner import Failure, Runner, Step
from streams.security import open_admin
from streams.topics import prepare_topics
from streams.traces import Tracer
from tests.kafka import Kafka, running

USER, PASSWORD = "ada", "open-sesame-7"
RECORD = ClipsStored(clip_ids=("a",))


class Recorder(Step):
    """Notes the clip ids that it is given."""

    name: ClassVar[str] = "densify"
    reads: ClassVar[tuple[str, ...]] = (RECORD.topic,)

    def __init__(self) -> None:
        self.done: list[str] = []

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        self.done += [id_ for record in records if isinstance(record, ClipsStored) for id_ in record.clip_ids]
        return {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the node needs (ca.pem, server.pem, users.json), and our own certificate."""
    folder = tmp_path_factory.mktemp("security")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    theirs = authority.issue_cert("127.0.0.1", "localhost")
    key = load_pem_private_key(theirs.private_key_pem.bytes(), None)
    # Kafka reads PKCS#8 only.
    (folder / "server.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    theirs.cert_chain_pems[0].write_to_path(str(folder / "server.pem"), append=True)
    ours = authority.issue_cert("ada")
    ours.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    ours.private_key_pem.write_to_path(str(folder / "key.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "stranger.pem"))
    (folder / "users.json").write_text(json.dumps({USER: PASSWORD}))
    (folder / "password").write_text(PASSWORD + "\n")
    return folder


@pytest.fixture(scope="module")
def secured(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A node that asks for TLS and SASL, or for TLS and a certificate."""
    with running(tmp_path_factory.mktemp("secured"), security=folder) as kafka:
        yield kafka


def _environ(folder: Path, mechanism: str) -> dict[str, str]:
    return {
        "CLIPLOOM_KAFKA_PROTOCOL": "SASL_SSL",
        "CLIPLOOM_KAFKA_SASL_MECHANISM": mechanism,
        "CLIPLOOM_KAFKA_USERNAME": USER,
        "CLIPLOOM_KAFKA_PASSWORD_FILE": str(folder / "password"),
        "CLIPLOOM_KAFKA_CA_FILE": str(folder / "ca.pem"),
    }


@pytest.fixture(params=["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "certificate"])
def kafka_settings(request: pytest.FixtureRequest, secured: Kafka, folder: Path) -> KafkaSettings:
    """Settings that the node accepts, as the environment would give them; its topics are there and empty."""
    secured.wipe()
    if request.param != "certificate":
        settings = KafkaSettings.read(secured.address, _environ(folder, request.param))
    else:
        environ = {
            "CLIPLOOM_KAFKA_PROTOCOL": "SSL",
            "CLIPLOOM_KAFKA_CA_FILE": str(folder / "ca.pem"),
            "CLIPLOOM_KAFKA_CERT_FILE": str(folder / "cert.pem"),
            "CLIPLOOM_KAFKA_KEY_FILE": str(folder / "key.pem"),
        }
        settings = KafkaSettings.read(secured.certified, environ)
    prepare_topics(settings)
    return settings


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def _taken_by_a_step(kafka: KafkaSettings, folder: Path) -> list[str]:
    """Clip ids that a step of ours (Faust) took; the first arrived."""
    step = Recorder()
    producer = AIOKafkaProducer(acks="all", **kafka.aiokafka())
    await producer.start()
    runner = Runner(step, Publisher(producer), utc_now, StepMetrics(), Tracer(step.name, None))
    app: faust.App = runner.create_app(kafka, folder, session_s=10.0)
    await app.start()
    try:
        await _until(lambda: bool(step.done))
    finally:
        await asyncio.wait([asyncio.create_task(app.stop())], timeout=3.5)
        await producer.stop()
    return step.done


async def test_what_the_api_publishes_reaches_bare_consumers_and_steps(kafka_settings, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    publisher = ApiPublisher(lambda: kafka_settings)
    await publisher.publish(RECORD)
    assert await publisher.ready()

    consumer = AIOKafkaConsumer(RECORD.topic, auto_offset_reset="earliest", **kafka_settings.aiokafka())
    await consumer.start()
    try:
        message = await asyncio.wait_for(consumer.getone(), 30)
    finally:
        await consumer.stop()

    assert decode(message.value) == RECORD
    assert await _taken_by_a_step(kafka_settings, tmp_path) == ["a"]
    assert PASSWORD not in caplog.text


@pytest.fixture
def refused(secured: Kafka, folder: Path) -> KafkaSettings:
    """Settings with a wrong password."""
    return replace(KafkaSettings.read(secured.address, _environ(folder, "SCRAM-SHA-512")), password="open-barley-8")


async def test_a_wrong_password_is_told_as_such_and_never_shown(refused, caplog, capfd):
    caplog.set_level(logging.DEBUG)

    with pytest.raises(
        Passing,
        match=r"did not confirm a record on topic clips.stored: .*invalid credentials.* \(check the variables CLIPLOOM",
    ) as fault:
        await ApiPublisher(lambda: refused, timeout_s=3.0).publish(RECORD)
    with pytest.raises(KafkaConnectionError):
        await AIOKafkaProducer(**refused.aiokafka()).start()

    assert "Authentication failed during authentication due to invalid credentials" in caplog.text
    printed = capfd.readouterr()
    for told in (str(fault.value), caplog.text, printed.out, printed.err, repr(refused)):
        assert "open-barley-8" not in told


def test_a_wrong_password_ends_a_worker_with_the_reason(refused):
    with pytest.raises(
        SettingsError, match=r"broker 127\S+ and we do not agree: .*invalid credentials.*check the variables CLIPLOOM_"
    ) as fault:
        open_admin(refused)

    assert "open-barley-8" not in str(fault.value)


@pytest.mark.parametrize("authority", ["stranger.pem", None])
def test_a_broker_that_our_authority_did_not_sign_is_not_trusted(secured, folder, authority):
    settings = KafkaSettings.read(secured.address, _environ(folder, "PLAIN"))

    with pytest.raises(SettingsError, match="certificate verify failed"):
        open_admin(replace(settings, ca_file=authority and folder / authority))


def test_a_client_without_a_certificate_is_not_let_in(secured, folder):
    settings = KafkaSettings(secured.certified, "SSL", ca_file=folder / "ca.pem")

    with pytest.raises(Unavailable, match=r"broker 127\S+ gave no answer: .*is SSL what it speaks there"):
        open_admin(settings, timeout_s=3.0)


def test_a_client_without_tls_is_not_let_in(secured):
    with pytest.raises(Unavailable, match="is PLAINTEXT what it speaks there"):
        open_admin(KafkaSettings(secured.address), timeout_s=3.0)
