"""Credentials in the form that Faust takes."""

from typing import Any

from store.kafka import KafkaSettings


def faust_credentials(kafka: KafkaSettings) -> Any:
    """None: the cluster asks for none."""
    return None
