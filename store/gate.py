"""The gate: what must be answered before a clip may be trained on or published.

Fail-closed: a question that nobody answered holds the clip. Every rule leaves a `Decision`, also when it lets
the clip through, so that `why` has an answer for kept and dropped alike.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from store.apparent_age import AgeLimits, judge_age
from store.clip_columns import ClipRow
from store.errors import SettingsError
from store.filters import FILTERS, Filter, filtered, keeper
from store.records import Decision, digest


@dataclass(frozen=True)
class GateOptions:
    """Thresholds; chosen, and kept with every decision."""

    age: AgeLimits = AgeLimits()
    """Who may be a minor."""
    filters: tuple[Filter, ...] = FILTERS
    """What is bad enough to be dropped, or held for a person's review."""
    outlier_score: float = 0.9
    """GLOSH score from which a flagged clip waits for a person; clustering flags by the same number."""

    @cached_property
    def recipe(self) -> str:
        """Hash of the thresholds."""
        return digest(["gate", 3, asdict(self)])[:16]


def load_gate(path: Path | None) -> GateOptions:
    """The thresholds that a TOML file sets (gate.toml tells of each); the others, and all without a file, as they are.

    Raises:
        SettingsError: no file, no TOML, or a setting that is not known or out of its bounds.
    """
    if path is None:
        return GateOptions()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"gate file {path} cannot be read: {error.strerror}; give an existing file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"gate file {path} is not TOML: {error}") from error
    age, thresholds = content.pop("age", {}), content.pop("filters", {})
    if content or not isinstance(age, dict) or not isinstance(thresholds, dict):
        raise SettingsError(f"gate file {path} has tables [age] and [filters] and nothing else; correct it")
    filters = _with_thresholds(path, thresholds)
    try:
        return GateOptions(age=AgeLimits(**age), filters=filters)
    except ValidationError as error:
        first = error.errors()[0]
        setting = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"gate file {path}: age.{setting}: {first['msg']}, got {first['input']!r:.60}; gate.toml tells the bounds"
        ) from error


def _with_thresholds(path: Path, thresholds: Mapping[str, Any]) -> tuple[Filter, ...]:
    """The filters with these thresholds in place of theirs."""
    names = [one.rule for one in FILTERS]
    for name, threshold in thresholds.items():
        if name not in names:
            raise SettingsError(f"gate file {path}: filters.{name} is not known; there are {', '.join(names)}")
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
            raise SettingsError(f"gate file {path}: filters.{name} = {threshold!r} is no number; give a score")
    return tuple(replace(one, threshold=float(thresholds.get(one.rule, one.threshold))) for one in FILTERS)


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
        (judge_age(row, released, options.age),),
        filtered(row, options.filters, review),
        _outlier(row, options, review),
        _reasoning(row, review),
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


def _outlier(row: ClipRow, options: GateOptions, review: Mapping[str, Any] | None) -> Iterator[Decision]:
    if row.get("is_outlier") is not None:
        yield _flagged(
            bool(row["is_outlier"]),
            "fits no cluster; a review may keep it",
            "is no outlier",
            review,
            rule="outlier",
            score=float(row["outlier_score"]),
            threshold=options.outlier_score,
            by="clustering",
        )


def _reasoning(row: ClipRow, review: Mapping[str, Any] | None) -> Iterator[Decision]:
    if row.get("is_contradicted") is not None:
        yield _flagged(
            bool(row["is_contradicted"]),
            "its description contradicts what was measured, also on a second look; a review may keep it",
            "its description agrees with what was measured",
            review,
            rule="reasoning",
            score=float(row["contradiction"]),
            threshold=row.get("reason_limit"),
            by=str(row["engine"]),
        )


def _flagged(is_found: bool, found: str, fine: str, review: Mapping[str, Any] | None, **told: Any) -> Decision:
    """The decision on a flag, which holds the clip unless a person keeps it."""
    if (person := keeper(review)) is not None:
        return Decision(verdict="keep", reason="a person keeps it", **told | {"by": person})
    return Decision(verdict="hold" if is_found else "keep", reason=found if is_found else fine, **told)


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
