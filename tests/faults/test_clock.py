"""A clock that is put back."""

from datetime import datetime, timedelta
from pathlib import Path

from store.records import RemovalRequested, utc_now
from tests.faults import set_back
from tests.faults.road import BACK, FRONT, Outcome, Road
from tests.kafka import Kafka


def test_a_clock_that_is_put_back_by_an_hour_changes_nothing(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    with Road(tmp_path, fresh_kafka.address, module=set_back.__name__) as road:
        road.start(FRONT, BACK)
        road.submit(footage)
        bad = tmp_path / "bad.mp4"
        bad.write_bytes(b"no video at all")
        store = road.store
        road.wait(lambda: store.videos.counts() == {"done": len(footage)}, "every video done")
        [refused] = road.submit([bad], submitted_at=utc_now())
        road.wait(lambda: store.dead_letters.counts() == {"dead": 1}, "the dead letter")
        assert store.videos.get(refused.video_id)["status"] == "dead"
        asked = RemovalRequested(
            removal_id="r",
            subject="video",
            subject_id=refused.video_id,
            by="test",
            reason="no video",
            requested_at=utc_now(),
        )
        road.send(asked)
        road.wait(lambda: store.removals.counts() == {"done": 1}, "the removal")
        done_at = datetime.fromisoformat(store.removals.get("r")["done_at"])
        assert asked.requested_at - done_at > timedelta(minutes=59), "the clock was put back"
        road.wait(lambda: store.clips.count("curation_recipe IS NULL") == 0, "every clip curated")
        assert road.outcome().rows.keys() == undisturbed.rows.keys()
