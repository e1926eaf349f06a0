"""What clusters suggest, and why a clip is in its concepts, over REST and in the terminal."""

import json

import numpy as np
import pytest

from store.clusters.curator import Curator
from store.concepts import Concept, parse_concepts
from store.curation import find_members, judge_concepts
from tests.api.conftest import NOON


@pytest.fixture
def two_looks(live, make_clip, submitted):
    """Ids of twenty clips of one look and twenty of another, each of four videos; and their clusters."""
    drawn = np.random.default_rng(0)
    ids = []
    for i in range(40):
        video = f"v{i // 5}"
        live.apply(submitted(video))
        look = np.eye(3)[i // 20] + drawn.normal(0, 0.02, 3)
        ids.append(make_clip(5 * i, video_id=video, visual_embedding=look.tolist(), motion="high" if i < 20 else "low"))
    curator = Curator(live.store)
    while records := curator.follow(settle=True):
        live.apply(*records)
    return ids, curator.clusters


def declare(live, clusters, *concepts, answers=None):
    members = find_members(live.store, concepts, clusters, answers or {}, {})
    live.apply(*judge_concepts(live.store, concepts, members, clusters, answers or {}, NOON))


def test_proposals_say_what_sets_their_cluster_apart(live, two_looks):
    by_name = {one["concept"]["name"]: one for one in live.http.get("/concepts/proposed").json()}
    assert set(by_name) == {"high", "low"}
    assert by_name["high"]["concept"]["query"] == "motion = 'high'"
    assert by_name["high"]["concept"]["contrasts"] == ["low"]
    assert by_name["high"]["terms"][0]["attribute"] == "motion"
    assert by_name["high"]["terms"][0]["z"] > 3


def test_the_printed_proposals_can_be_pasted_in_a_concepts_file(live, two_looks, run, run_json):
    code, printed, _ = run("concepts", "--proposed")
    assert code == 0
    assert "clips of 4 videos" in printed
    declared = parse_concepts("concepts:\n" + printed, "c.yaml")
    assert {one.name: one.query for one in declared} == {"high": "motion = 'high'", "low": "motion = 'low'"}
    assert run_json("concepts", "--proposed")[1] == live.http.get("/concepts/proposed").json()


def test_with_nothing_to_propose_the_command_says_so(live, run):
    code, printed, _ = run("concepts", "--proposed")
    assert code == 0
    assert "# no cluster of enough clips" in printed


def test_a_name_and_proposals_are_not_asked_for_together(live, run):
    code, _, told = run("concepts", "lively", "--proposed")
    assert code == 2
    assert "--proposed" in told


def test_why_tells_what_speaks_for_a_clips_membership(live, two_looks, run):
    ids, clusters = two_looks
    high = Concept(name="high", description="D.", query="motion = 'high'")
    declare(live, clusters, high, answers={"high": {ids[0]: True, ids[1]: False}})
    (told,) = live.http.get(f"/clips/{ids[0]}/why").json()["concepts"]
    assert (told["concept"], told["how"], told["answer"], told["probability"]) == ("high", "query", True, 0.95)
    assert told["agreement"] > 0.6
    assert set(told["agreements"]) >= {"visual_embedding"}
    assert live.http.get(f"/clips/{ids[1]}/why").json()["concepts"] == []
    assert live.http.get(f"/clips/{ids[30]}/why").json()["concepts"] == []
    assert "visual_embedding" in run("why", ids[0])[1]


def test_a_concept_is_printed_with_its_diversity_and_modalities(live, two_looks, run):
    _, clusters = two_looks
    declare(live, clusters, Concept(name="high", description="D.", query="motion = 'high'"))
    printed = run("concepts", "high")[1]
    assert "20 of 20 clips open to use, 20 but for copies, 4 videos, 1 sources" in printed
    assert "visual_embedding" in printed
    assert "as varied as 4.0 equal videos" in printed


def test_a_concept_of_before_agreements_were_kept_still_explains_itself(live, two_looks):
    ids, clusters = two_looks
    declare(live, clusters, Concept(name="high", description="D.", query="motion = 'high'"))
    body = live.store.concepts.get("high")
    old = [{"clip_id": ids[0], "probability": 0.8, "eligible": True, "held_for": []}]
    key = live.store.media.put_bytes(json.dumps(old).encode(), "json")
    live.store.concepts.put(
        {"high": {name: value for name, value in body.items() if name != "how"} | {"members_key": key}}
    )
    (told,) = live.http.get(f"/clips/{ids[0]}/why").json()["concepts"]
    assert (told["how"], told["probability"], told["agreement"], told["agreements"]) == ("query", 0.8, None, {})
