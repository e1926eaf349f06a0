"""The Grafana dashboard: whole, and of metrics that there are."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from api.metrics import add_metrics
from store.store import Store
from streams.metrics import StepMetrics

DASHBOARD = Path(__file__).parent.parent.parent / "deploy" / "grafana" / "dashboards" / "cliploom.json"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
"""What Prometheus adds to a metric's name."""
SHOWN = (
    "cliploom_step_lag_records",
    "cliploom_step_records_total",
    "cliploom_step_failures_total",
    "cliploom_step_seconds_bucket",
    "cliploom_step_retries_total",
    "cliploom_arrival_to_queryable_seconds_bucket",
    "cliploom_dead_letters",
    "cliploom_concept_purity_ratio",
)
"""What an operator must see."""


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert (dashboard["uid"], dashboard["title"]) == ("cliploom", "Cliploom")
    loaded: list[dict[str, Any]] = dashboard["panels"]
    return loaded


@pytest.fixture(scope="module")
def labels_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Labels by the name of every series that workers and API export."""
    api = FastAPI()
    add_metrics(api, Store.open(tmp_path_factory.mktemp("data")))
    return dict(_series(StepMetrics().registry)) | dict(_series(api.state.metrics))


def _series(registry: CollectorRegistry) -> Iterable[tuple[str, set[str]]]:
    for collector in list(registry._collector_to_names):
        for family in collector.collect():
            labels = getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", ())
            for suffix in SUFFIXES[family.type]:
                yield family.name + suffix, {*labels, *(("le",) if suffix == "_bucket" else ())}


def _expressions(panels: list[dict[str, Any]]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_every_metric_of_the_dashboard_is_exported(panels, labels_of):
    named = {name for expression in _expressions(panels) for name in re.findall(r"cliploom_\w+", expression)}

    assert named
    assert named - set(labels_of) == set()


def test_what_is_grouped_by_is_a_label_of_the_metric(panels, labels_of):
    for expression in _expressions(panels):
        names = re.findall(r"cliploom_\w+", expression)
        for group in re.findall(r"by \(([^)]*)\)", expression):
            assert set(group.split(", ")) <= labels_of[names[0]], expression


def test_legends_name_labels_that_are_left(panels):
    for panel in panels:
        for target in panel["targets"]:
            used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            groups = re.findall(r"by \(([^)]*)\)", target["expr"])
            assert used <= set(groups[0].split(", ") if groups else ()), target["expr"]


@pytest.mark.parametrize("metric", SHOWN)
def test_what_an_operator_must_see_is_shown(panels, metric):
    assert any(metric in expression for expression in _expressions(panels))


@pytest.mark.parametrize(
    ("metric", "quantiles"),
    [
        ("cliploom_step_seconds_bucket", ["0.5", "0.95"]),
        ("cliploom_arrival_to_queryable_seconds_bucket", ["0.5", "0.95", "0.99"]),
    ],
)
def test_latencies_are_shown_with_their_tails(panels, metric, quantiles):
    shown = [expression for expression in _expressions(panels) if metric in expression]

    assert [re.findall(r"histogram_quantile\(([\d.]+)", expression) for expression in shown] == [[q] for q in quantiles]


def test_brackets_are_closed(panels):
    for expression in _expressions(panels):
        for opened, closed in ("()", "[]", "{}"):
            assert expression.count(opened) == expression.count(closed), expression


def test_panels_have_their_own_place_and_say_what_they_show(panels):
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        assert panel["title"]
        assert panel["description"]
        cells |= own
    assert len({panel["id"] for panel in panels}) == len(panels)
