"""What the environment says of Kafka's security: read whole, or refused with the variable, the value and the remedy."""

import ssl
from pathlib import Path

import pytest
import trustme

from store.errors import SettingsError
from store.kafka import KafkaSettings

SECRET = "open sesame"
SASL = {
    "CLIPLOOM_KAFKA_PROTOCOL": "SASL_SSL",
    "CLIPLOOM_KAFKA_SASL_MECHANISM": "PLAIN",
    "CLIPLOOM_KAFKA_USERNAME": "ada",
    "CLIPLOOM_KAFKA_PASSWORD": SECRET,
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: ca.pem, cert.pem with key.pem, other.pem of another key."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    ours, others = authority.issue_cert("us"), authority.issue_cert("them")
    ours.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    ours.private_key_pem.write_to_path(str(folder / "key.pem"))
    others.private_key_pem.write_to_path(str(folder / "other.pem"))
    return folder


def _tls(folder: Path, **names: str) -> dict[str, str]:
    files = {f"CLIPLOOM_KAFKA_{variable}": str(folder / name) for variable, name in names.items()}
    return {"CLIPLOOM_KAFKA_PROTOCOL": "SSL"} | files


def test_without_variables_nothing_is_secured():
    settings = KafkaSettings.read("a:1,b:2", {"CLIPLOOM_KAFKA_USERNAME": ""})

    assert settings == KafkaSettings("a:1,b:2")
    assert settings.librdkafka() == {"bootstrap.servers": "a:1,b:2", "security.protocol": "PLAINTEXT"}
    assert settings.aiokafka() == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }


def test_name_and_password_reach_both_clients():
    settings = KafkaSettings.read("a:1", SASL)

    assert settings.librdkafka() == {
        "bootstrap.servers": "a:1",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "ada",
        "sasl.password": SECRET,
    }
    told = settings.aiokafka()
    assert told["ssl_context"].verify_mode == ssl.CERT_REQUIRED
    assert told["ssl_context"].check_hostname
    assert (told["security_protocol"], told["sasl_mechanism"]) == ("SASL_SSL", "PLAIN")
    assert (told["sasl_plain_username"], told["sasl_plain_password"]) == ("ada", SECRET)


def test_the_strongest_mechanism_is_the_default():
    environ = {name: value for name, value in SASL.items() if "MECHANISM" not in name}

    assert KafkaSettings.read("a:1", environ).mechanism == "SCRAM-SHA-512"


def test_a_password_is_read_from_a_file_without_its_line_end(tmp_path):
    (tmp_path / "password").write_text(" open sesame\n")
    environ = SASL | {"CLIPLOOM_KAFKA_PASSWORD": "", "CLIPLOOM_KAFKA_PASSWORD_FILE": str(tmp_path / "password")}

    assert KafkaSettings.read("a:1", environ).password == " open sesame"


def test_no_repr_holds_the_password():
    assert SECRET not in repr(KafkaSettings.read("a:1", SASL))


def test_certificates_reach_both_clients(certificates):
    settings = KafkaSettings.read("a:1", _tls(certificates, CA_FILE="ca.pem", CERT_FILE="cert.pem", KEY_FILE="key.pem"))

    assert settings.librdkafka() == {
        "bootstrap.servers": "a:1",
        "security.protocol": "SSL",
        "ssl.ca.location": f"{certificates}/ca.pem",
        "ssl.certificate.location": f"{certificates}/cert.pem",
        "ssl.key.location": f"{certificates}/key.pem",
    }
    context = settings.aiokafka()["ssl_context"]
    assert [dict(name[0] for name in ca["subject"])["organizationName"] for ca in context.get_ca_certs()] == [
        "trustme v" + trustme.__version__
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"PROTOCOL": "TLS"}, "CLIPLOOM_KAFKA_PROTOCOL=TLS is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ({"SASL_MECHANISM": "GSSAPI"}, "CLIPLOOM_KAFKA_SASL_MECHANISM=GSSAPI is none of PLAIN, SCRAM-SHA-256, SCRAM"),
        ({"USERNAME": ""}, "CLIPLOOM_KAFKA_USERNAME is not set, and SASL_SSL needs it"),
        ({"PASSWORD": ""}, "neither CLIPLOOM_KAFKA_PASSWORD nor CLIPLOOM_KAFKA_PASSWORD_FILE is set: set one"),
        ({"PASSWORD_FILE": "/p"}, "CLIPLOOM_KAFKA_PASSWORD and CLIPLOOM_KAFKA_PASSWORD_FILE are both set: unset one"),
        (
            {"PASSWORD": "", "PASSWORD_FILE": "/none/p"},
            "CLIPLOOM_KAFKA_PASSWORD_FILE=/none/p cannot be read: No such file or directory",
        ),
        ({"PASSWORD": "", "PASSWORD_FILE": "/dev/null"}, "CLIPLOOM_KAFKA_PASSWORD_FILE=/dev/null is empty: write"),
        ({"CA_FILE": "/none/ca"}, "CLIPLOOM_KAFKA_CA_FILE=/none/ca cannot be read: No such file or directory"),
        ({"CA_FILE": __file__}, r"CLIPLOOM_KAFKA_CA_FILE=\S+ holds no certificates in PEM"),
        ({"CERT_FILE": __file__}, "CLIPLOOM_KAFKA_CERT_FILE and CLIPLOOM_KAFKA_KEY_FILE need each other"),
        (
            {"PROTOCOL": "SASL_PLAINTEXT", "CA_FILE": __file__},
            "CLIPLOOM_KAFKA_CA_FILE would not be used with CLIPLOOM_KAFKA_PROTOCOL=SASL_PLAINTEXT: set the protocol to"
            " SSL or SASL_SSL, or unset",
        ),
        (
            {"PROTOCOL": "", "SASL_MECHANISM": "", "USERNAME": ""},
            "CLIPLOOM_KAFKA_PASSWORD would not be used with CLIPLOOM_KAFKA_PROTOCOL=PLAINTEXT: set the protocol to",
        ),
    ],
)
def test_what_cannot_work_is_refused(change, told):
    environ = SASL | {f"CLIPLOOM_KAFKA_{name}": value for name, value in change.items()}

    with pytest.raises(SettingsError, match=told) as refused:
        KafkaSettings.read("a:1", environ)

    assert SECRET not in str(refused.value)


def test_a_key_of_another_certificate_is_refused(certificates):
    environ = _tls(certificates, CERT_FILE="cert.pem", KEY_FILE="other.pem")

    with pytest.raises(SettingsError, match=r"CLIPLOOM_KAFKA_CERT_FILE=\S+cert.pem and .*other.pem cannot be used: .*"):
        KafkaSettings.read("a:1", environ)


@pytest.mark.parametrize("address", ["kafka", "kafka:", ":9092", "kafka:port", "kafka:70000", "a:1,", ""])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(SettingsError, match=f"broker '{address}': expected host:port, or several with commas"):
        KafkaSettings.read(address, {})
