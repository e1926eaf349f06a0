"""How to reach the Kafka cluster, and who we are to it; every client is configured from here."""

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from confluent_kafka import KafkaError

from store.errors import SettingsError

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_VARIABLE = "CLIPLOOM_KAFKA_"
_SASL = ("SASL_MECHANISM", "USERNAME", "PASSWORD", "PASSWORD_FILE")
_TLS = ("CA_FILE", "CERT_FILE", "KEY_FILE")


@dataclass(frozen=True)
class KafkaSettings:
    """A cluster, and how to speak to it.

    address: `host:port`, or several with commas between them.
    mechanism, username, password: with a SASL protocol. The password is in no `repr`.
    ca_file: of the authority that signed the brokers' certificates, PEM; None: those that the system trusts.
    cert_file, key_file: our own certificate and its key, PEM and not encrypted, where the brokers ask for one.
    """

    address: str
    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def read(cls, address: str, environ: Mapping[str, str]) -> "KafkaSettings":
        """Settings of the cluster at `address`, with what the environment says of security.

        The variables are CLIPLOOM_KAFKA_PROTOCOL, _SASL_MECHANISM, _USERNAME, _PASSWORD or _PASSWORD_FILE, _CA_FILE,
        _CERT_FILE and _KEY_FILE; an empty one is as none.

        Raises:
            SettingsError: they cannot work together, or a file cannot be used.
        """
        _check_address(address)
        given = {
            name: environ[_VARIABLE + name]
            for name in ("PROTOCOL", *_SASL, *_TLS)
            if environ.get(_VARIABLE + name, "") != ""
        }
        protocol: Any = _one_of("PROTOCOL", given.get("PROTOCOL", "PLAINTEXT"), get_args(Protocol))
        _refuse_idle(given, protocol)
        mechanism: Any = None
        if protocol.startswith("SASL"):
            mechanism = _one_of("SASL_MECHANISM", given.get("SASL_MECHANISM", "SCRAM-SHA-512"), get_args(Mechanism))
            if "USERNAME" not in given:
                raise SettingsError(f"{_VARIABLE}USERNAME is not set, and {protocol} needs it and a password")
        files = {name: _file(name, given[name]) for name in _TLS if name in given}
        settings = cls(
            address,
            protocol,
            mechanism,
            given.get("USERNAME"),
            _password(given) if mechanism else None,
            files.get("CA_FILE"),
            files.get("CERT_FILE"),
            files.get("KEY_FILE"),
        )
        settings.ssl_context()
        return settings

    def ssl_context(self) -> ssl.SSLContext | None:
        """For clients that are Python all through; None without TLS.

        Raises:
            SettingsError: a file is no PEM of its kind, or key and certificate do not belong together.
        """
        if not self.protocol.endswith("SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise SettingsError(f"{_VARIABLE}CA_FILE={self.ca_file} holds no certificates in PEM: {error}") from error
        if self.cert_file and self.key_file:
            try:
                # A password is given so that none is asked for on the terminal.
                context.load_cert_chain(self.cert_file, self.key_file, password="")
            except ssl.SSLError as error:
                raise SettingsError(
                    f"{_VARIABLE}CERT_FILE={self.cert_file} and {_VARIABLE}KEY_FILE={self.key_file} cannot be used:"
                    f" {error}; give a certificate and its own key, both PEM, the key not encrypted"
                ) from error
        return context

    def librdkafka(self) -> dict[str, Any]:
        """Configuration of confluent-kafka's clients."""
        settings = {
            "security.protocol": self.protocol,
            "sasl.mechanism": self.mechanism,
            "sasl.username": self.username,
            "sasl.password": self.password,
            "ssl.ca.location": self.ca_file and str(self.ca_file),
            "ssl.certificate.location": self.cert_file and str(self.cert_file),
            "ssl.key.location": self.key_file and str(self.key_file),
        }
        given = {name: value for name, value in settings.items() if value is not None}
        return {"bootstrap.servers": self.address, **given}

    def aiokafka(self) -> dict[str, Any]:
        """Arguments of aiokafka's clients."""
        logging.getLogger("aiokafka.conn").addFilter(_hides_passwords)
        settings: dict[str, Any] = {
            "bootstrap_servers": self.address.split(","),
            "security_protocol": self.protocol,
            "ssl_context": self.ssl_context(),
        }
        if self.mechanism:
            settings["sasl_mechanism"] = self.mechanism
            settings["sasl_plain_username"] = self.username
            settings["sasl_plain_password"] = self.password
        return settings


class Refusal:
    """Hears (as its `error_cb`) that a librdkafka client is refused: its time-outs do not say why.

    reason: what was wrong with TLS or SASL, None while nothing was.
    """

    def __init__(self) -> None:
        self.reason: str | None = None

    def __call__(self, error: KafkaError) -> None:
        """Note the error if it is about security."""
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
            self.reason = f"{error.str()} (check the variables {_VARIABLE}*)"


def _hides_passwords(record: logging.LogRecord) -> bool:
    """False for what aiokafka says, at level DEBUG, of its requests when they hold a password."""
    return "SaslAuthenticate" not in record.getMessage()


def _check_address(address: str) -> None:
    for one in address.split(","):
        host, _, port = one.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise SettingsError(f"broker {address!r}: expected host:port, or several with commas between them")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise SettingsError(f"{_VARIABLE}{name}={value} is none of {', '.join(allowed)}")
    return value


def _refuse_idle(given: Mapping[str, str], protocol: str) -> None:
    """What the protocol would leave unused was meant for another one."""
    for names, part, fitting in (
        (_SASL, "SASL", "SASL_SSL or SASL_PLAINTEXT"),
        (_TLS, "SSL", "SSL or SASL_SSL"),
    ):
        idle = [_VARIABLE + name for name in names if name in given]
        used = protocol.startswith(part) if part == "SASL" else protocol.endswith(part)
        if idle and not used:
            raise SettingsError(
                f"{', '.join(idle)} would not be used with {_VARIABLE}PROTOCOL={protocol}: set the protocol to"
                f" {fitting}, or unset the variable"
            )
    if ("CERT_FILE" in given) != ("KEY_FILE" in given):
        raise SettingsError(f"{_VARIABLE}CERT_FILE and {_VARIABLE}KEY_FILE need each other: set both or none")


def _file(name: str, value: str) -> Path:
    path = Path(value)
    try:
        path.open("rb").close()
    except OSError as error:
        raise SettingsError(f"{_VARIABLE}{name}={value} cannot be read: {error.strerror}") from error
    return path


def _password(given: Mapping[str, str]) -> str:
    if "PASSWORD" in given and "PASSWORD_FILE" in given:
        raise SettingsError(f"{_VARIABLE}PASSWORD and {_VARIABLE}PASSWORD_FILE are both set: unset one of them")
    if "PASSWORD" in given:
        return given["PASSWORD"]
    if "PASSWORD_FILE" not in given:
        raise SettingsError(f"neither {_VARIABLE}PASSWORD nor {_VARIABLE}PASSWORD_FILE is set: set one of them")
    path = _file("PASSWORD_FILE", given["PASSWORD_FILE"])
    try:
        password = path.read_text(encoding="utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError(f"{_VARIABLE}PASSWORD_FILE={path} is no UTF-8 text") from None  # the error holds it
    if not password:
        raise SettingsError(f"{_VARIABLE}PASSWORD_FILE={path} is empty: write the password into it")
    return password
