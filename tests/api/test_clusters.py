"""Clusters, their lineage, the map and the histogram, over REST and in the terminal."""

import numpy as np
import pytest

from store.clusters.curator import Curator
from store.clusters.map import ClusterMap, follow_map, save_map
from store.records import DriftRaised
from tests.api.conftest import NOON


@pytest.fixture
def two_looks(live, make_clip, submitted):
    """Ids of twenty clips of one look and twenty of another, clustered and drawn, and of one like neither."""
    drawn = np.random.default_rng(0)
    live.apply(submitted())
    ids = []
    for i in range(41):
        look = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-8.0, -8.0, 8.0]][min(i // 20, 2)])
        vector = (look + drawn.normal(0, 0.02, 3)).tolist()
        ids.append(make_clip(5 * i, visual_embedding=vector, motion="high" if i < 20 else "low"))
    curator = Curator(live.store)
    while records := curator.follow(settle=True):
        live.apply(*records)
    save_map(live.store.folder, follow_map(ClusterMap.empty(), curator.clusters))
    return ids


def test_before_anything_is_clustered_there_is_nothing_and_it_is_said(live):
    assert live.http.get("/clusters").json() == {"clusters": [], "n_noise": 0, "n_outliers": 0, "n_waiting": 0}
    answer = live.http.get("/clusters/3")
    assert answer.status_code == 404
    assert "no cluster 3 lives; there are: none" in answer.json()["what"]
    assert "there is no map yet" in live.http.get("/curation/map").json()["what"]
    assert live.http.get("/curation/growth").json() == []


def test_clusters_are_listed_with_what_their_clips_share_and_how_they_came(live, two_looks):
    listed = live.http.get("/clusters").json()
    assert sorted(one["n_clips"] for one in listed["clusters"]) == [20, 20]
    assert {one["came"] for one in listed["clusters"]} == {"born"}
    assert (listed["n_noise"], listed["n_outliers"], listed["n_waiting"]) == (1, 1, 0)
    number = live.store.clips.get(two_looks[0])["cluster"]
    shown = live.http.get(f"/clusters/{number}").json()
    assert shown["terms"][0] == {"attribute": "motion", "term": "high", "share": 1.0}
    assert set(shown["examples"]) <= set(two_looks[:20])
    assert [event["kind"] for event in shown["events"]] == ["born"]
    assert live.http.get("/clusters/events").json()[0]["by"] == "clustering"


def test_why_a_clip_lies_in_its_cluster_is_told_by_its_neighbours_and_their_distances(live, two_looks):
    told = live.http.get(f"/clips/{two_looks[0]}/neighbourhood", params={"limit": 5}).json()
    assert len(told["neighbours"]) == 5
    assert {one["clip_id"] for one in told["neighbours"]} <= set(two_looks[1:20])
    assert all(one["reach"] >= one["distance"] > 0 for one in told["neighbours"])
    own = live.store.clips.get(two_looks[0])["cluster"]
    assert told["to_clusters"][0]["cluster"] == own
    assert told["to_clusters"][0]["distance"] < told["to_clusters"][1]["distance"]
    place = live.http.get(f"/clips/{two_looks[0]}/why").json()["place"]
    assert place["cluster"] == own
    assert place["next_cluster"] == told["to_clusters"][1]["cluster"]
    assert live.http.get("/clips/nobody/neighbourhood").status_code == 404


def test_clusters_of_one_modality_are_listed_apart(live, two_looks):
    looks = live.http.get("/clusters", params={"modality": "visual_embedding"}).json()
    assert sorted(one["n_clips"] for one in looks["clusters"]) == [20, 20]
    assert looks["n_noise"] == 1
    assert live.http.get("/clusters", params={"modality": "sound"}).json()["clusters"] == []
    own = live.store.clips.get(two_looks[0])["by_modality"]["visual_embedding"]
    assert own in [one["cluster"] for one in looks["clusters"]]
    kinds = {event["modality"] for event in live.http.get("/clusters/events").json()}
    assert kinds == {"joint", "visual_embedding"}


def test_the_map_and_the_histogram_hold_every_clip(live, two_looks):
    points = live.http.get("/curation/map").json()
    assert {one["clip_id"] for one in points} == set(two_looks)
    assert sum(one["is_outlier"] for one in points) == 1
    histogram = live.http.get("/curation/outliers").json()
    assert sum(histogram["in_clusters"]) == 40
    assert sum(histogram["in_none"]) == 1
    assert len(histogram["edges"]) == len(histogram["in_none"]) + 1
    assert live.http.get("/curation/growth").json() == [{"day": "2026-03-01", "videos": 1, "clips": 0}]


def test_the_terminal_shows_clusters_and_why(live, two_looks, run):
    code, out, _ = run("clusters")
    assert code == 0
    assert "1 clips in none, 1 fit nowhere at all" in out
    number = live.store.clips.get(two_looks[0])["cluster"]
    code, out, _ = run("clusters", str(number))
    assert "motion" in out
    assert "born" in out
    code, out, _ = run("clusters", "--near", two_looks[0])
    assert two_looks[0] not in out
    assert "Nearest clips" in out
    code, out, _ = run("why", two_looks[40])
    assert "no cluster" in out
    assert "an outlier" in out
    code, _, problem = run("clusters", "1", "--near", two_looks[0])
    assert code != 0
    assert "give a cluster's number, or --near" in problem


def test_plots_are_written_from_the_terminal(live, two_looks, run, tmp_path):
    for name in ("map", "outliers", "growth"):
        code, out, _ = run("plot", name, "--out", str(tmp_path / f"{name}.png"))
        assert code == 0, out
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000


def test_an_alarm_of_drift_is_listed_and_answered_once(live, run):
    alarm = DriftRaised(
        alarm_id="a1",
        score=1500.0,
        threshold=1000.0,
        streams={"place": 3000.0},
        n_videos=60,
        sources={"winter": 40},
        clusters={"none": 40},
        recipe="r",
        raised_at=NOON,
    )
    live.apply(alarm)
    code, out, _ = run("drift", "list")
    assert code == 0
    assert "place" in out
    assert "open" in out
    assert 'cliploom_alarms{status="open"} 1.0' in live.http.get("/metrics").text
    code, out, _ = run("drift", "answer", "a1", "--by", "Ada", "--reason", "winter is expected")
    assert code == 0, out
    (told,) = live.http.get("/curation/drift").json()
    assert (told["status"], told["by"], told["reason"]) == ("answered", "Ada", "winter is expected")
    again = live.http.post("/curation/drift/a1/answer", json={"by": "Bob", "reason": "too"})
    assert again.status_code == 409
    assert "was answered by Ada: winter is expected" in again.json()["what"]
    assert live.http.post("/curation/drift/none/answer", json={"by": "Bob", "reason": "too"}).status_code == 404
