"""The REST API: reads the store, publishes records, writes no table."""

from collections.abc import Callable
from datetime import datetime

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from api.metrics import add_metrics
from api.problems import add_error_answers
from api.routes import (
    adapters,
    annotations,
    clips,
    clusters,
    concepts,
    curation,
    dead,
    decisions,
    footage,
    identities,
    inspect,
    review,
    snapshots,
    status,
    training,
    why,
)
from api.service import ApiSettings, Service, Streams, Texts
from store.clusters.file import StateReader
from store.records import utc_now
from store.store import Store

_DESCRIPTION = """\
Footage in, diffusion datasets and LoRAs out.

A request that changes something publishes a record. The answer 201 means that the store holds its effect; 202
means that the broker has the record and the store does not show it yet. Every refusal has one shape:
`error`, `what`, `where` and `remedy`.
"""


def create_app(
    store: Store,
    streams: Streams,
    settings: ApiSettings,
    texts: Texts,
    clock: Callable[[], datetime] = utc_now,
) -> FastAPI:
    """The API over a store.

    Args:
        store: read only, but for the bytes of submitted footage, which must be durable before their record.
        streams: takes what is to be published, and tells how the steps fare.
        texts: compares texts with what clips show.
    """
    app = FastAPI(title="Cliploom", version="0.1.0", description=_DESCRIPTION)
    app.state.service = Service(store, streams, settings, clock, texts, StateReader(store.folder))
    settings.uploads_folder.mkdir(parents=True, exist_ok=True)
    add_error_answers(app)
    # `why` and `clusters` before `clips` and `footage`: the first route that matches answers.
    for module in (
        status,
        why,
        annotations,
        inspect,
        footage,
        clusters,
        clips,
        concepts,
        curation,
        training,
        adapters,
        snapshots,
        decisions,
        review,
        identities,
        dead,
    ):
        app.include_router(module.router)
    add_metrics(app, store)
    app.add_api_route("/", _to_docs, include_in_schema=False)
    return app


async def _to_docs() -> RedirectResponse:
    return RedirectResponse("/docs")
