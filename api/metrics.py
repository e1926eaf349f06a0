"""Prometheus metrics: gauges read from the store when they are scraped, and a counter of requests."""

from collections.abc import Iterable, Mapping

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.routes.status import status_of
from api.service import Given
from store.store import Store

router = APIRouter(tags=["status"])


class StoreGauges(Collector):
    """What the store holds, counted at the time of the scrape."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: registering must not read the store."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One gauge per table, one for the clips, two of the concepts."""
        status = status_of(self._store)
        for table in ("videos", "concepts", "runs", "snapshots", "removals", "dead_letters"):
            yield _gauge(f"cliploom_{table}", f"Number of {table.replace('_', ' ')}", "status", getattr(status, table))
        yield _gauge("cliploom_clips", "Number of clips by how far they are", "stage", status.clips.by_stage)
        yield _gauge("cliploom_clip_verdicts", "Number of annotated clips", "verdict", status.clips.by_verdict)
        yield _gauge("cliploom_in_flight", "What has not come to its end", "kind", status.in_flight)
        yield _gauge("cliploom_alarms", "Alarms of drift", "status", self._store.alarms.counts())
        concepts = self._store.concepts.all()
        eligible = {name: concept["n_eligible"] for name, concept in concepts.items()}
        purity = {name: concept["purity"] for name, concept in concepts.items() if concept["purity"] is not None}
        yield _gauge("cliploom_concept_eligible_clips", "Clips of a concept that are open to use", "concept", eligible)
        yield _gauge("cliploom_concept_purity_ratio", "Purity of a concept, 0 to 1", "concept", purity)


class RequestCounter:
    """Counts answers by method, route and status."""

    def __init__(self, app: ASGIApp, counter: Counter) -> None:
        self._app = app
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count what is answered; a failure without an answer counts as 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", "(none)")
            self._counter.labels(scope["method"], route, str(status)).inc()


def add_metrics(app: FastAPI, store: Store) -> None:
    """Count the app's requests and serve `/metrics`."""
    registry = CollectorRegistry()
    registry.register(StoreGauges(store))
    names = ("method", "route", "status")
    counter = Counter("cliploom_http_requests", "Requests answered", names, registry=registry)
    app.add_middleware(RequestCounter, counter=counter)
    app.state.metrics = registry
    app.include_router(router)


@router.get("/metrics", response_class=Response)
async def show_metrics(request: Request, service: Given) -> Response:
    """Prometheus' text format: what the store holds and what was asked, then the worker's own metrics."""
    own = await to_thread.run_sync(generate_latest, request.app.state.metrics)
    return Response(own + await service.streams.exposition(), media_type=CONTENT_TYPE_LATEST)


def _gauge(name: str, help_: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family
