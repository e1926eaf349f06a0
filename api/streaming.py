"""The streaming side as the API reaches it: the broker, and the worker that this service started."""

from collections.abc import Callable

import httpx
from anyio import to_thread
from prometheus_client.parser import text_string_to_metric_families

from api.lag import GroupLags, in_order
from api.publish import Publisher
from api.service import StepHealth, Steps
from store.errors import Passing
from store.records import Json, Record

_SCRAPE_WITHIN_S = 1.0
_LAG, _DONE, _ABSENT = "cliploom_step_lag_records", "cliploom_step_records_total", "cliploom_processor_absent"


class KafkaStreams:
    """See `api.service.Streams`.

    Args:
        metrics: gives the address (`host:port`) at which the worker serves its metrics; None while there is none.
    """

    def __init__(self, publisher: Publisher, lags: GroupLags, metrics: Callable[[], str | None]) -> None:
        self._publisher = publisher
        self._lags = lags
        self._metrics = metrics
        self._http = httpx.AsyncClient(timeout=_SCRAPE_WITHIN_S, trust_env=False)

    async def publish(self, record: Record) -> None:
        """See `Publisher.publish`."""
        await self._publisher.publish(record)

    async def replay(self, dead_letter: Json) -> None:
        """See `Publisher.replay`."""
        await self._publisher.replay(dead_letter)

    async def ready(self) -> bool:
        """See `Publisher.ready`."""
        return await self._publisher.ready()

    async def steps(self) -> Steps:
        """By the broker, which knows every worker; by the worker's metrics where the broker cannot tell."""
        try:
            told = await to_thread.run_sync(self._lags.read)
        except Passing as error:
            return Steps((), str(error))
        if told is not None:
            return Steps(tuple(told), "told by the broker")
        scraped = steps_of(await self.exposition())
        if not scraped:
            return Steps((), "the embedded broker tells no lag, and the worker's metrics are not there")
        return Steps(tuple(scraped), "told by the worker")

    async def exposition(self) -> bytes:
        """The worker's metrics; empty while it is away."""
        address = self._metrics()
        if address is None:
            return b""
        try:
            answer = await self._http.get(f"http://{address}/metrics")
        except httpx.HTTPError:
            return b""
        return answer.content if answer.is_success else b""


def steps_of(exposition: bytes) -> list[StepHealth]:
    """The steps of a worker, by its metrics."""
    lag: dict[str, int] = {}
    done: dict[str, int] = {}
    for family in text_string_to_metric_families(exposition.decode()):
        for sample in family.samples:
            if sample.name == _LAG:
                lag[sample.labels["step"]] = int(sample.value)
            elif sample.name == _DONE:
                step = sample.labels["step"]
                done[step] = done.get(step, 0) + int(sample.value)
    return in_order(StepHealth(step, lag.get(step), done.get(step, 0), 1) for step in lag | done)


def absent_of(exposition: bytes) -> dict[str, str]:
    """Id of each processor that a worker leaves out for lack of its model, to the reason, by its metrics."""
    families = text_string_to_metric_families(exposition.decode())
    absent = [sample.labels for family in families for sample in family.samples if sample.name == _ABSENT]
    return {labels["processor"]: labels["reason"] for labels in absent}
