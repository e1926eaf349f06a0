"""Prometheus metrics of a worker."""

from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from store.errors import SettingsError

_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
_RECORDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class StepMetrics:
    """The worker's metrics; one registry per process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        step = ["step"]
        self.records = Counter(
            "cliploom_step_records", "Records by what became of them", ["step", "outcome"], registry=registry
        )
        self.failures = Counter(
            "cliploom_step_failures", "Dead letters by kind of fault", ["step", "kind"], registry=registry
        )
        self.retries = Counter("cliploom_step_retries", "Tries after a passing fault", step, registry=registry)
        self.batch = Histogram(
            "cliploom_step_batch_records", "Records in a batch", step, buckets=_RECORDS, registry=registry
        )
        self.seconds = Histogram("cliploom_step_seconds", "Time of a batch", step, buckets=_SECONDS, registry=registry)
        self.lag = Gauge(
            "cliploom_step_lag_records", "Records that wait on this worker's partitions", step, registry=registry
        )
        self.absent = Gauge(
            "cliploom_processor_absent",
            "1 for each optional processor that is left out because its model is missing",
            ["processor", "reason"],
            registry=registry,
        )
        self.queryable = Histogram(
            "cliploom_arrival_to_queryable_seconds",
            "From a video's arrival until each of its clips can be queried",
            buckets=_SECONDS,
            registry=registry,
        )

    def serve(self, port: int) -> tuple[WSGIServer, str]:
        """Answer scrapes on a port of the loopback interface (0: any free one); the server and its `host:port`.

        Raises:
            SettingsError: the port is taken.
        """
        try:
            server, _ = start_http_server(port, "0.0.0.0" if port else "127.0.0.1", self.registry)
        except OSError as error:
            raise SettingsError(f"metrics port {port} cannot be used: {error.strerror}; choose another") from error
        return server, f"127.0.0.1:{server.server_port}"
