"""The text of a snapshot: its dataset card, and what is left of it after a removal."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from store.export import Content, verdict_in
from store.filters import FILTERS
from store.records import Json

_CARD = """---
configs:
- config_name: default
  data_files: metadata.parquet
---
# {tag}

{note}Video clips that Cliploom cut, measured and annotated. Digest `{digest}`.

| | |
|---|---|
| clips published | {n_kept} |
| seconds published | {seconds:.1f} |
| clips dropped | {n_dropped} |
| clips held | {n_held} |
| clips unfinished | {n_unfinished} |
| spans of footage that gave no clip | {n_spans} |

## Files
- `media/<clip_id>.mp4`: the clips, H.264 with AAC.
- `metadata.parquet`, `metadata.jsonl`: one row for each published clip, measurements, annotation and vectors.
- `reasoning.jsonl`: what each annotation was distilled from: the structured trace, with its engine and recipe.
- `checks.jsonl`: how each claim of the trace stands against what was measured.
- `decisions.jsonl`: every clip, published or not, with each rule's decision; then every span that gave no clip.
- `manifest.json`: digest, recipes, version of the table and of the software.
- `checksums.sha256`: check with `sha256sum -c checksums.sha256`.

## Sources and licences
| source | licence | clips | videos |
|---|---|---|---|
{sources}

The table says what was declared when the footage was submitted; nobody verified it.

## Recipes
| step | recipe |
|---|---|
{recipes}

A recipe is the hash of the parameters, model names, revisions and weight digests that gave a value.

## Load
```python
from datasets import load_dataset

clips = load_dataset("path/to/this/folder", split="train")  # `file_name` is relative to the folder
```
```python
import lancedb
import pyarrow.parquet as pq

clips = lancedb.connect("clips.db").create_table("clips", pq.read_table("path/to/this/folder/metadata.parquet"))
```

## Kept back
{kept_back}

## Limits
- {engine}
- People may be seen or heard. No vector of a face or body and no identity across clips is published; do not use
  the clips to find out who someone is. A removal request withdraws this snapshot as a whole.
- A clip is one stretch of one shot: what happened before and after it is not told.
"""
_WHY = {
    "age": "someone is seen who may be a minor or whose age nothing told, and nobody has answered for it",
    "licence": "the footage came without a licence and nobody has answered for it",
    **{one.rule: one.found for one in FILTERS},
    "reasoning": "its description contradicts what was measured, also on a second look",
    "outlier": "the clip fits no cluster and no person has looked at it",
    "review": "a person decided so",
}
_TOMBSTONE = """# Withdrawn

This snapshot held footage that was removed. Its media and metadata are deleted; delete your copies.
Removal: `{removal_id}`.
"""


def card_text(content: Content, manifest: Json) -> str:
    """The dataset card."""
    counts = content.counts
    note = f"{manifest['note']}\n\n" if manifest["note"] else ""
    recipes = [f"| {step} | {', '.join(f'`{r}`' for r in found)} |" for step, found in manifest["recipes"].items()]
    return _CARD.format(
        tag=manifest["tag"],
        note=note,
        digest=manifest["digest"],
        n_kept=counts["keep"],
        seconds=sum(row["duration_s"] for row in content.published),
        n_dropped=counts["drop"],
        n_held=counts["hold"],
        n_unfinished=counts["unfinished"],
        n_spans=sum(line["kind"] == "span" for line in content.decisions),
        sources="\n".join(_source_lines(content.published)),
        recipes="\n".join(recipes),
        kept_back="\n".join(f"- {line}{_why(line)}" for line in kept_back(content.decisions)) or "Nothing.",
        engine=_engine_text(content.published),
    )


def tombstone_text(removal_id: str) -> str:
    """README.md of a withdrawn snapshot."""
    return _TOMBSTONE.format(removal_id=removal_id)


def kept_back(decisions: Iterable[Json]) -> list[str]:
    """For a person: how many clips which rule keeps out, or are not finished; the most frequent first."""
    rules: Counter[str] = Counter()
    for line in decisions:
        if line["kind"] == "clip":
            verdict = verdict_in(line)
            if verdict == "unfinished":
                rules["not annotated yet"] += 1
            against = {one["rule"] for one in line["decisions"] if one["verdict"] == verdict != "keep"}
            rules.update(f"{'held' if verdict == 'hold' else 'dropped'} for {rule}" for rule in against)
    return [f"{n} {what}" for what, n in sorted(rules.items(), key=lambda item: (-item[1], item[0]))]


def _why(line: str) -> str:
    why = _WHY.get(line.rsplit(" ", 1)[1])
    return f": {why}" if why else ""


def _source_lines(published: Sequence[Json]) -> list[str]:
    clips: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for row in published:
        clips[row["source"], row["licence"] or "none declared; released on record"].append(row)
    return [
        f"| {source} | {licence} | {len(rows)} | {len({row['video_id'] for row in rows})} |"
        for (source, licence), rows in sorted(clips.items())
    ]


def _engine_text(published: Sequence[Json]) -> str:
    engines = sorted({row["engine"] for row in published if row["engine"]})
    if engines == ["measured"]:
        return (
            "The annotation was derived by rules from signal processing (engine `measured`): no model saw or"
            " understood the scenes, and affect is a distribution over what picture and sound suggest, not what"
            " anyone felt."
        )
    return f"The annotation is the opinion of models ({', '.join(engines)}), not verified by people."
