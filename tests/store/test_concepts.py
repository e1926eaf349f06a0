"""Concepts: the file and its errors, purity by hand, readiness and its reasons."""

import re
from pathlib import Path

import numpy as np
import pytest

from processors.distill.vocabulary import load_vocabulary
from store.clips import ClipTable
from store.codec import decode, encode
from store.concepts import Concept, Member, concept_state, contrasts_of, load_concepts, lower_bound, parse_concepts
from store.errors import SettingsError
from store.records import digest
from store.tables import connect

LIVELY = Concept(
    name="lively", description="Much motion.", query="motion = 'high'", min_clips=4, min_videos=2, purity=0.5
)

TEXT = """
concepts:
  - name: lively
    description: Much motion.
    query: motion = 'high'
    contrasts: [calm]
    purity: 0.8
  - name: calm
    description: Little motion.
    query: motion IN ('still', 'low')
"""


def clips(prefix, videos, held_for=()):
    """One clip per video id, named after its side and place."""
    return [Member(f"{prefix}{i:03d}", video, held_for) for i, video in enumerate(videos)]


def on_a_line(members, places):
    return {member.clip_id: np.array([float(place)]) for member, place in zip(members, places, strict=True)}


def state(members, contrasts, points, concept=LIVELY):
    return concept_state(concept, members, contrasts, points, "space")


# --- the file --------------------------------------------------------------------------------------------------


def test_a_concepts_file_gives_its_concepts_in_order(tmp_path):
    path = tmp_path / "concepts.yaml"
    path.write_text(TEXT)
    lively, calm = load_concepts(path)
    assert (lively.name, lively.contrasts, lively.purity) == ("lively", ("calm",), 0.8)
    assert (calm.name, calm.contrasts) == ("calm", ())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.yaml cannot be read"):
        load_concepts(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("purity: 0.8", "purity: 1.5", r"c\.yaml line 7: concepts\.0\.purity: .* got 1\.5"),
        ("purity: 0.8", "purty: 0.8", r"c\.yaml line 7: concepts\.0\.purty: Extra inputs"),
        ("    query: motion = 'high'\n", "", r"c\.yaml line 3: concepts\.0\.query: Field required"),
        ("[calm]", "[quiet]", r"c\.yaml line 6: concept 'lively' contrasts with 'quiet'; expected another of calm"),
        ("[calm]", "[lively]", r"c\.yaml line 6: concept 'lively' contrasts with 'lively'"),
        ("name: calm", "name: lively", r"concept 'lively' is declared twice"),
        ("[calm]", "[calm", r"c\.yaml is not YAML: .* line"),
        (TEXT, "", r"c\.yaml line 1: the file: .* got None; expected `concepts:` and a list"),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_remedy(old, new, message):
    with pytest.raises(SettingsError, match=message):
        parse_concepts(TEXT.replace(old, new), "c.yaml")


def test_the_concepts_that_come_with_cliploom_ask_for_what_annotations_have(tmp_path):
    vocabulary = load_vocabulary()
    clips_table = ClipTable(connect(str(tmp_path)), vocabulary.columns)
    terms = {term.name for slot in vocabulary.slots for term in slot.terms}
    for concept in load_concepts(Path(__file__).parents[2] / "concepts.yaml"):
        assert clips_table.select(where=concept.query) == []
        assert set(re.findall(r"'(\w+)'", concept.query)) <= terms


# --- what a concept is told apart from -------------------------------------------------------------------------


def test_a_concept_contrasts_with_the_members_of_its_contrasts():
    a, b, c, d = clips("x", "vvvv")
    members = {"lively": [a], "calm": [c, b]}
    assert contrasts_of(LIVELY.model_copy(update={"contrasts": ("calm",)}), members, [a, b, c, d]) == (b, c)


def test_a_concept_without_contrasts_is_told_apart_from_all_other_clips():
    a, b, c, d = clips("x", "vvvv")
    assert contrasts_of(LIVELY, {"lively": [a, c]}, [d, c, b, a]) == (b, d)


# --- purity ----------------------------------------------------------------------------------------------------


def test_two_separated_groups_are_pure():
    rng = np.random.default_rng(0)
    members, others = clips("m", "abcd" * 5), clips("o", "abcd" * 5)
    points = {m.clip_id: rng.normal(0, 1, 3) for m in members} | {o.clip_id: rng.normal(20, 1, 3) for o in others}
    found = state(members, others, points)
    assert found.purity == 1.0
    assert set(found.agreements.values()) == {1.0}
    assert found.purity_low == pytest.approx(20 / (20 + 1.959964**2))
    assert found.reasons == ()


@pytest.mark.parametrize(("n_members", "n_others"), [(200, 200), (300, 60), (60, 300)])
def test_groups_that_are_mixed_are_at_chance_whatever_their_sizes(n_members, n_others):
    rng = np.random.default_rng(1)
    members = [Member(f"m{i}", f"v{i % 10}") for i in range(n_members)]
    others = [Member(f"o{i}", f"v{i % 10}") for i in range(n_others)]
    points = {clip.clip_id: rng.normal(0, 1, 4) for clip in members + others}
    assert state(members, others, points).purity == pytest.approx(0.5, abs=0.08)


def test_agreement_is_the_share_of_the_local_density():
    # From m000 at 0 its nearest fellow (k = 1 of A = 2) is at 2; one of B = 4 contrasting clips is nearer.
    members, others = clips("m", "abc"), clips("o", "defg")
    points = on_a_line(members, [0, 2, 100]) | on_a_line(others, [1, 50, 60, 70])
    assert state(members, others, points).agreements["m000"] == pytest.approx((1 / 2) / (1 / 2 + 1 / 4))


def test_a_contrasting_clip_as_near_as_the_fellow_counts_against():
    members, others = clips("m", "ab"), clips("o", "cd")
    points = on_a_line(members, [0, 1]) | on_a_line(others, [-1, 50])
    assert state(members, others, points).agreements["m000"] == pytest.approx(1 / (1 + 1 / 2))


def test_clips_of_ones_own_video_do_not_vouch_for_a_clip():
    # Each video's clips sit together, with the other video's contrasting clip nearer than the fellows there.
    members, others = clips("m", "aabb"), clips("o", "ba")
    points = on_a_line(members, [0, 0.1, 10, 10.1]) | on_a_line(others, [1, 9])
    assert set(state(members, others, points).agreements.values()) == {0.5}


def test_a_member_alone_in_other_videos_is_compared_within_its_own():
    members, others = clips("m", "aaa"), clips("o", "aaa")
    points = on_a_line(members, [0, 1, 2]) | on_a_line(others, [10, 11, 12])
    found = state(members, others, points)
    assert found.purity == 1.0
    assert found.purity_low is None
    assert "purity bound unknown: all its clips are of one video" in found.reasons


def test_a_clip_that_also_meets_the_contrast_counts_against():
    members, others = clips("m", "abcd"), clips("o", "ab")
    points = on_a_line(members, [0, 1, 2, 3]) | on_a_line(others, [50, 60])
    assert state(members, others, points).purity == 1.0
    assert state(members, [*others, members[1]], points).purity < 1.0


def test_held_members_are_listed_and_judged_but_do_not_count():
    members, others = clips("m", "abcd"), clips("o", "abcd")
    held = [Member("z000", "e", ("age",))]
    points = on_a_line(members, [0, 1, 2, 3]) | on_a_line(others, [50, 60, 70, 80]) | on_a_line(held, [55])
    found = state(members + held, others, points)
    assert found.purity == 1.0
    assert found.agreements["z000"] < 1.0
    record = found.record("key")
    assert (record.n_members, record.n_eligible, record.n_videos) == (5, 4, 4)
    assert found.manifest[-1] == {
        "clip_id": "z000",
        "probability": found.agreements["z000"],
        "eligible": False,
        "held_for": ["age"],
    }


def test_a_member_without_a_vector_has_no_agreement_and_does_not_count():
    members, others = clips("m", "abcd"), clips("o", "ab")
    points = on_a_line(members, [0, 1, 2, np.nan]) | on_a_line(others, [50, 60])
    found = state(members, others, points)
    assert found.agreements["m003"] is None
    assert found.purity == 1.0


@pytest.mark.parametrize(("n_members", "n_others"), [(0, 0), (0, 3), (1, 3), (4, 0)])
def test_purity_is_unknown_without_fellows_or_contrast(n_members, n_others):
    members, others = clips("m", "abcd"[:n_members]), clips("o", "abcd"[:n_others])
    points = on_a_line(members, range(n_members)) | on_a_line(others, range(50, 50 + n_others))
    found = state(members, others, points)
    assert (found.purity, found.purity_low) == (None, None)
    assert any(reason.startswith("purity unknown") for reason in found.reasons)


def test_the_order_of_the_clips_changes_nothing():
    rng = np.random.default_rng(2)
    members, others = clips("m", "abcde" * 4), clips("o", "abcde" * 4)
    points = {clip.clip_id: rng.normal(0, 1, 3) for clip in members + others}
    assert state(members[::-1], others[::-1], dict(reversed(points.items()))) == state(members, others, points)


# --- the bound -------------------------------------------------------------------------------------------------


def test_the_bound_of_videos_that_agree_is_wilsons():
    # 9 of 10: Wilson's 95% interval starts at 0.596 (Brown, Cai and DasGupta 2001).
    assert lower_bound([[0.9] * 5, [0.9] * 5]) == pytest.approx(0.5958, abs=1e-4)


def test_the_bound_falls_where_videos_disagree():
    alike, apart = [[1.0, 1.0, 0.1, 0.1]] * 4, [[1.0] * 4, [1.0] * 4, [0.1] * 4, [0.1] * 4]
    assert lower_bound(apart) < lower_bound(alike)


def test_the_bound_rises_with_more_clips():
    assert lower_bound([[1.0] * 3] * 3) < lower_bound([[1.0] * 6] * 3) < 1.0


# --- readiness -------------------------------------------------------------------------------------------------


def test_a_concept_says_why_it_is_not_ready():
    concept = LIVELY.model_copy(update={"min_clips": 12, "min_videos": 3, "purity": 0.8})
    members, others = clips("m", "aaaabbb"), clips("o", "cd")
    points = on_a_line(members, range(7)) | on_a_line(others, [50, 60])
    found = state(members, others, points, concept)
    assert found.reasons == ("too few clips: 7 of 12", "too few source videos: 2 of 3", "purity bound 0.65 < 0.80")
    assert not found.record("key").ready


def test_a_state_is_announced_by_a_record_that_survives_the_wire():
    members, others = clips("m", "abcd"), clips("o", "ab")
    points = on_a_line(members, [0, 1, 2, 3]) | on_a_line(others, [50, 60])
    found = state(members, others, points)
    record = decode(encode(found.record("manifests/1.json")))
    assert record == found.record("manifests/1.json")
    assert record.key == "lively"
    assert record.definition == LIVELY.model_dump(mode="json")
    assert record.members_digest == digest(found.manifest)
    assert record.ready


def test_another_definition_or_space_is_another_recipe():
    members, others = clips("m", "abcd"), clips("o", "ab")
    points = on_a_line(members, [0, 1, 2, 3]) | on_a_line(others, [50, 60])
    stricter = LIVELY.model_copy(update={"purity": 0.9})
    recipes = {
        state(members, others, points).recipe,
        state(members, others, points, stricter).recipe,
        concept_state(LIVELY, members, others, points, "other space").recipe,
    }
    assert len(recipes) == 3
