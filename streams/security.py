"""Security of the clients of the steps."""

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from faust.auth import SASLCredentials, SSLCredentials

from store.errors import SettingsError, Unavailable
from store.kafka import KafkaSettings, Refusal

_LOOK_EVERY_S = 1.0


def faust_credentials(kafka: KafkaSettings) -> SASLCredentials | SSLCredentials | None:
    """For a Faust app's `broker_credentials`; None: the cluster asks for none.

    Faust hands them on to aiokafka, SCRAM's mechanisms as well.
    """
    told = kafka.aiokafka()
    if kafka.mechanism:
        return SASLCredentials(
            username=told["sasl_plain_username"],
            password=told["sasl_plain_password"],
            ssl_context=told["ssl_context"],
            mechanism=told["sasl_mechanism"],
        )
    return SSLCredentials(told["ssl_context"]) if told["ssl_context"] else None


def open_admin(kafka: KafkaSettings, timeout_s: float = 30.0) -> AdminClient:
    """A client that the cluster has let in.

    Raises:
        SettingsError: the cluster refused us, or we did not trust it; said within seconds.
        Unavailable: nothing answered.
    """
    refusal = Refusal()
    admin = AdminClient(kafka.librdkafka() | {"error_cb": refusal, "log_level": 2})
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            admin.list_topics(timeout=_LOOK_EVERY_S)
            return admin
        except KafkaException as error:
            admin.poll(0)
            if refusal.reason:
                raise SettingsError(f"broker {kafka.address} and we do not agree: {refusal.reason}") from error
            if time.monotonic() > deadline_s:
                # A broker that wants a certificate, or TLS, closes the connection without a word.
                raise Unavailable(
                    f"broker {kafka.address} gave no answer: {error}; is it up, and is {kafka.protocol} what it speaks"
                    " there?"
                ) from error
