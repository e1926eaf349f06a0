"""The embedded broker: librdkafka's in-process Kafka, for one machine without one.

It speaks the real protocol to every client on this machine and keeps nothing on disk: at most 5 MiB or 100,000
messages per partition in memory, the oldest dropped silently. What must outlive it lies in the store, from
where `streams.recovery` takes up unfinished work.
"""

from confluent_kafka import Producer

from store.errors import Passing


class EmbeddedBroker:
    """Runs as long as the object lives; `address` is `host:port` on the loopback interface."""

    def __init__(self, timeout_s: float = 10.0) -> None:
        quiet = {"log_level": 3}
        self._cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused", **quiet})
        brokers = list(self._cluster.list_topics(timeout=timeout_s).brokers.values())
        if not brokers:
            raise Passing(f"the embedded broker did not start within {timeout_s:.0f} s; try again")
        self.address = f"{brokers[0].host}:{brokers[0].port}"
