"""Concepts: the file and its errors."""

import re
from pathlib import Path

import pytest

from processors.distill.vocabulary import load_vocabulary
from store.clips import ClipTable
from store.concepts import load_concepts, parse_concepts
from store.errors import SettingsError
from store.tables import connect

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
        ("purity: 0.8", "priority: 101", r"c\.yaml line 7: concepts\.0\.priority: .*equal to 100, got 101"),
        ("purity: 0.8", "purty: 0.8", r"c\.yaml line 7: concepts\.0\.purty: Extra inputs"),
        (
            "    query: motion = 'high'\n",
            "",
            r"c\.yaml line 3: concepts\.0: Value error, exactly one of .* declares a concept; none",
        ),
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


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("query: motion = 'high'", "query"),
        ("examples: [0a1b, 4c5d]", "examples"),
        ("text: a man juggling", "text"),
        ("cluster: 0", "cluster"),
    ],
)
def test_a_concept_is_declared_in_one_of_four_ways(declared, kind):
    (concept,) = parse_concepts(f"concepts:\n  - name: one\n    description: D.\n    {declared}\n", "concepts.yaml")
    assert concept.kind == kind


@pytest.mark.parametrize("declared", ["min_clips: 3", "query: shot = 1\n    cluster: 4"])
def test_a_concept_that_is_declared_twice_or_not_at_all_is_refused(declared):
    with pytest.raises(SettingsError, match=r"line 2: concepts\.0: .*exactly one of query, examples, text, cluster"):
        parse_concepts(f"concepts:\n  - name: one\n    description: D.\n    {declared}\n", "concepts.yaml")
