"""The gate: what must be answered before a clip may be trained on or published.

Fail-closed: a question that nobody answered holds the clip. Every rule leaves a `Decision`, also when it lets
the clip through, so that `why` has an answer for kept and dropped alike.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from store.clips import ClipRow
from store.filters import FILTERS, Filter, filtered
from store.records import Decision, digest


@dataclass(frozen=True)
class GateOptions:
    """Thresholds; chosen, and kept with every decision."""

    filters: tuple[Filter, ...] = FILTERS
    """What is bad enough to be dropped, or held for a person's review."""
    outlier_score: float = 0.9
    """GLOSH score from which a flagged clip waits for a person; clustering flags by the same number."""

    @property
    def recipe(self) -> str:
        """Hash of the thresholds."""
        return digest(["gate", 2, asdict(self)])[:16]


def judge(row: ClipRow, source: Mapping[str, Any] | None, options: GateOptions) -> tuple[Decision, ...]:
    """Every rule's decision on an annotated clip.

    Args:
        row: the clip's columns; `review` holds the latest review of the clip, if any.
        source: the source's document; `released` maps `age` and `licence` to who answered for it.
    """
    released = (source or {}).get("released", {})
    review = row.get("review")
    rules = (
        _licence(row, released),
        _age(row, released),
        filtered(row, options.filters, review),
        _outlier(row, options, review),
        _review(review),
    )
    return tuple(decision.model_copy(update={"recipe": options.recipe}) for rule in rules for decision in rule)


def verdict_of(decisions: tuple[Decision, ...]) -> tuple[str, list[str]]:
    """(verdict, rules that keep the clip out): `drop` beats `hold` beats `keep`."""
    against = [decision for decision in decisions if decision.verdict != "keep"]
    verdicts = {decision.verdict for decision in against}
    verdict = "drop" if "drop" in verdicts else "hold" if verdicts else "keep"
    return verdict, sorted({decision.rule for decision in against})


def _licence(row: ClipRow, released: Mapping[str, Any]) -> Iterator[Decision]:
    if row.get("licence"):
        yield Decision(rule="licence", verdict="keep", reason=f"licence {row['licence']}")
    elif "licence" in released:
        yield _released("licence", released["licence"])
    else:
        yield Decision(
            rule="licence",
            verdict="hold",
            reason=f"source {row.get('source')!r} was submitted without a licence;"
            " release it on record or submit with --licence",
        )


def _age(row: ClipRow, released: Mapping[str, Any]) -> Iterator[Decision]:
    faces = row.get("face_count")
    if faces == 0:
        yield Decision(rule="age", verdict="keep", reason="no face was found", score=0.0, threshold=0.0)
    elif "age" in released:
        yield _released("age", released["age"])
    else:
        found = (
            "faces were not looked for" if faces is None else f"{faces:.0f} face(s) whose age nothing here can assess"
        )
        yield Decision(
            rule="age",
            verdict="hold",
            reason=f"{found}; an operator who knows that everyone shown is of age"
            f" releases source {row.get('source')!r} on record",
            score=None if faces is None else float(faces),
            threshold=0.0,
        )


def _outlier(row: ClipRow, options: GateOptions, review: Mapping[str, Any] | None) -> Iterator[Decision]:
    if row.get("is_outlier") is None:
        return
    wanted = review is not None and review["verdict"] == "keep"
    if wanted:
        held, reason = False, "a person keeps it"
    elif row["is_outlier"]:
        held, reason = True, "fits no cluster; a review may keep it"
    else:
        held, reason = False, "is no outlier"
    yield Decision(
        rule="outlier",
        verdict="hold" if held else "keep",
        reason=reason,
        score=float(row["outlier_score"]),
        threshold=options.outlier_score,
        by=review["by"] if review is not None and wanted else "clustering",
    )


def _review(review: Mapping[str, Any] | None) -> Iterator[Decision]:
    if review is not None:
        yield Decision(
            rule="review",
            verdict="drop" if review["verdict"] == "drop" else "keep",
            reason=review["reason"],
            by=review["by"],
        )


def _released(rule: str, release: Mapping[str, Any]) -> Decision:
    return Decision(rule=rule, verdict="keep", reason=f"released on record: {release['reason']}", by=release["by"])
