"""How to reach the Kafka cluster; every client is configured from here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KafkaSettings:
    """address: `host:port`, or several with commas between them."""

    address: str

    @classmethod
    def read(cls, address: str, environ: Mapping[str, str]) -> "KafkaSettings":
        """Settings of the cluster at `address`, with what the environment says of security."""
        return cls(address)

    def librdkafka(self) -> dict[str, Any]:
        """Configuration of confluent-kafka's clients."""
        return {"bootstrap.servers": self.address}

    def aiokafka(self) -> dict[str, Any]:
        """Arguments of aiokafka's clients."""
        return {"bootstrap_servers": self.address.split(",")}
