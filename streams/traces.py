"""OpenTelemetry traces across the topics: one trace per video, from its arrival to its rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from store.records import Record, video_and_clip

Headers = list[tuple[str, bytes]]

_PROPAGATOR = TraceContextTextMapPropagator()


def open_tracing(environ: Mapping[str, str], worker: str) -> TracerProvider | None:
    """Export spans by OTLP over HTTP where OTEL_EXPORTER_OTLP_ENDPOINT is set; else None: spans cost nothing then."""
    if not environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": "cliploom", "service.instance.id": worker}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracer:
    """Spans of one step; every record's span is a child of the span that published it.

    Args:
        provider: None traces nothing, and passes on what came in.
    """

    def __init__(self, step: str, provider: TracerProvider | None) -> None:
        self._step = step
        self._tracer = provider.get_tracer("cliploom") if provider is not None else trace.NoOpTracer()
        self._contexts: dict[str, otel_context.Context] = {}

    @contextmanager
    def batch(self, records: Sequence[tuple[Record, Mapping[str, bytes]]]) -> Iterator[None]:
        """A span for every record of a batch, with the headers that it came with, for the time of the block."""
        spans = []
        for record, headers in records:
            carrier = {name: value.decode(errors="replace") for name, value in headers.items()}
            parent = _PROPAGATOR.extract(carrier, otel_context.Context())
            video, clip = video_and_clip(record)
            attributes = {"cliploom.topic": record.topic, "cliploom.key": record.key, "cliploom.video_id": video or ""}
            span = self._tracer.start_span(f"cliploom.{self._step}", parent, attributes=attributes)
            spans.append(span)
            for id_ in (video, clip, record.key):
                if id_ is not None:
                    self._contexts[id_] = trace.set_span_in_context(span, parent)
        try:
            yield
        finally:
            for span in spans:
                span.end()
            self._contexts.clear()

    def headers(self, record: Record) -> Headers:
        """Headers by which the record's readers continue the trace; empty outside of a batch."""
        video, clip = video_and_clip(record)
        known = (self._contexts[id_] for id_ in (clip, record.key, video) if id_ in self._contexts)
        found = next(known, None)
        if found is None:
            return []
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, found)
        return [(name, value.encode()) for name, value in carrier.items()]
