"""Status, health, readiness, metrics, and the shape of every refusal."""

from prometheus_client.parser import text_string_to_metric_families

from store.records import SnapshotFinished, TrainingRequested


def test_an_empty_service_is_settled(live):
    status = live.http.get("/status").json()

    assert status["settled"]
    assert status["clips"]["total"] == 0


def test_status_counts_clips_by_verdict_and_reason(live, make_clip, submitted, segmented):
    live.apply(submitted("v1"), submitted("v2"))
    kept, held, dropped = make_clip(0), make_clip(4, face_count=1, licence=None), make_clip(8, black_share=1.0)
    live.apply(segmented("v1", (kept, held, dropped)))

    status = live.http.get("/status").json()

    assert status["videos"] == {"done": 1, "submitted": 1}
    assert status["clips"]["by_stage"] == {"densified": 3}
    assert status["clips"]["by_verdict"] == {"keep": 1, "hold": 1, "drop": 1}
    assert status["clips"]["reasons"] == {"hold: age": 1, "hold: licence": 1, "drop: black": 1}
    assert status["in_flight"] == {"videos": 1, "clips": 3, "runs": 0, "snapshots": 0, "removals": 0}
    assert not status["settled"]


def test_a_requested_run_and_a_requested_snapshot_are_on_their_way(live):
    live.apply(
        TrainingRequested(
            run_id="r1",
            concept="waves",
            stage="A",
            members_key="k",
            members_digest="d",
            parent=None,
            settings={},
            requested_by="Ada",
            reason="",
            requested_at="2026-03-01T12:00:00Z",
        )
    )
    live.http.post("/snapshots", json={"tag": "v1"})

    in_flight = live.http.get("/status").json()["in_flight"]
    assert in_flight == {"videos": 0, "clips": 0, "runs": 1, "snapshots": 1, "removals": 0}

    live.apply(
        SnapshotFinished(
            tag="v1",
            status="failed",
            reason="nothing to publish",
            digest=None,
            table_version=None,
            folder=None,
            n_kept=0,
            n_dropped=0,
            requested_at="2026-03-01T12:00:00Z",
        )
    )

    assert live.http.get("/status").json()["in_flight"]["snapshots"] == 0


def test_health_needs_nothing_and_readiness_needs_the_broker(live):
    live.is_broker_up = False

    assert live.http.get("/health").json() == {"alive": True}
    ready = live.http.get("/ready")

    assert ready.status_code == 503
    assert ready.json()["store"] == "ok"
    assert "broker does not answer" in ready.json()["broker"]

    live.is_broker_up = True
    assert live.http.get("/ready").json() == {"ready": True, "store": "ok", "broker": "ok"}


def test_metrics_parse_and_count_the_store_and_the_requests(live, make_clip, submitted):
    live.apply(submitted("v1"))
    make_clip(0)
    live.http.get("/clips/nope")
    live.http.get("/clips/other")

    families = text_string_to_metric_families(live.http.get("/metrics").text)
    samples = {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}

    assert samples["cliploom_videos", "submitted"] == 1
    assert samples["cliploom_clips", "densified"] == 1
    assert samples["cliploom_clip_verdicts", "keep"] == 1
    assert samples["cliploom_in_flight", "videos"] == 1
    assert samples["cliploom_http_requests_total", "/clips/{clip_id}", "404", "GET"] == 2


def test_an_unknown_path_is_refused_in_the_same_shape(live):
    answer = live.http.get("/nope")

    assert answer.status_code == 404
    assert set(answer.json()) == {"error", "what", "where", "remedy"}


def test_every_operation_is_documented(live):
    paths = live.http.get("/openapi.json").json()["paths"]

    for path, operations in paths.items():
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path} has no description"
    assert {"/footage", "/clips/{clip_id}/why", "/status", "/snapshots", "/dead/{dead_id}/replay"} <= set(paths)


def test_the_first_page_leads_to_the_documentation(live):
    answer = live.http.get("/")

    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
