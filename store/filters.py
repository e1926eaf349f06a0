"""Filters of the gate: scores of a clip's quality, each with a threshold of its own.

A processor gives the score, this table the threshold and what follows from it; a filter more is a line more. A score
that the profile does not measure decides nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from store.clip_columns import ClipRow
from store.records import Decision


@dataclass(frozen=True)
class Filter:
    """A clip whose `column` is at or beyond `threshold` gets the `verdict`.

    rule: its name in decisions, and what `held_for` lists. beyond: the side that is bad. found: what is wrong, for a
    person.
    """

    rule: str
    column: str
    beyond: Literal["above", "below"]
    threshold: float
    verdict: Literal["drop", "hold"]
    found: str

    def catches(self, score: float) -> bool:
        """Whether the score is at the threshold or beyond it."""
        return score >= self.threshold if self.beyond == "above" else score <= self.threshold


FILTERS = (
    Filter("black", "black_share", "above", 0.8, "drop", "its frames are black"),
    Filter("frozen", "frozen_share", "above", 0.95, "hold", "its picture does not move"),
    Filter("blur", "blur", "above", 0.75, "hold", "its picture is blurred"),
    Filter("underexposed", "underexposed", "above", 0.85, "hold", "its picture is lost in black"),
    Filter("overexposed", "overexposed", "above", 0.5, "hold", "its picture is lost in white"),
    Filter("flat", "tonal_range", "below", 0.03, "hold", "its picture has next to no contrast"),
    Filter("flicker", "flicker", "above", 0.03, "hold", "its light flickers"),
    Filter("letterbox", "letterbox_share", "above", 0.5, "hold", "most of its frame is black bars"),
    Filter("overlay", "overlay_share", "above", 0.08, "hold", "a logo or watermark lies over it"),
    Filter("subtitles", "subtitle_share", "above", 0.5, "hold", "subtitles are burned into it"),
    Filter("text", "text_share", "above", 0.2, "hold", "text covers much of it"),
    Filter("aesthetic", "aesthetic", "below", 3.0, "hold", "a model expects that few people like how it looks"),
    Filter("nsfw", "nsfw", "above", 0.9, "hold", "a model takes it for not safe for work"),
)
"""Chosen generously: what a filter catches should be plain to anyone who looks. Of 70 recorded and rendered clips none
is caught. The worst there: blur 0.57 (0.64 to 0.86 after a Gaussian of 3 px in frames of 384), underexposed 0.46,
overexposed 0.15, tonal_range 0.09, flicker 0.002 (0.05: light that swings by a tenth of the scale at 5 Hz),
letterbox 0.25 (a 4:3 picture), overlay 0.06 and false (a real corner logo is 0.005: only large ones are caught), text
0.05, subtitle_share 0. aesthetic and nsfw: by their models' own scales, not measured here."""


def filtered(row: ClipRow, filters: tuple[Filter, ...], review: Mapping[str, Any] | None) -> Iterator[Decision]:
    """Each filter's decision on a clip; a person's review that keeps the clip answers for what a filter caught."""
    person = keeper(review)
    for one in filters:
        score = row.get(one.column)
        if score is None:
            continue
        caught = one.catches(score)
        if caught and person is not None:
            verdict, reason, by = "keep", f"{one.found}; a person keeps it", person
        else:
            verdict, reason, by = (one.verdict, one.found, "rules") if caught else ("keep", "", "rules")
        yield Decision.model_validate(
            {
                "rule": one.rule,
                "verdict": verdict,
                "reason": reason,
                "score": float(score),
                "threshold": one.threshold,
                "by": by,
            }
        )


def keeper(review: Mapping[str, Any] | None) -> str | None:
    """Who keeps the clip, by its latest review; None where nobody does."""
    return review["by"] if review is not None and review["verdict"] == "keep" else None
