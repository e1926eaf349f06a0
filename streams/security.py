"""Credentials in the form that Faust takes."""

from faust.auth import SASLCredentials, SSLCredentials

from store.kafka import KafkaSettings


def faust_credentials(kafka: KafkaSettings) -> SASLCredentials | SSLCredentials | None:
    """For a Faust app's `broker_credentials`; None: the cluster asks for none.

    Faust hands them on to aiokafka, SCRAM's mechanisms as well.
    """
    context = kafka.ssl_context()
    if kafka.mechanism:
        return SASLCredentials(
            username=kafka.username, password=kafka.password, ssl_context=context, mechanism=kafka.mechanism
        )
    return SSLCredentials(context) if context else None
