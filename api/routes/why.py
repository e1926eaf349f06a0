"""Why: every decision on a clip or a video, with what it rests on."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from api.bodies import problems
from api.intake import removal_of
from api.routes.footage import DroppedFootage, dropped_footage, video_document
from api.service import Given
from store.evidence import evidence
from store.records import Decision, Json
from store.tables import DocumentTable

router = APIRouter(tags=["why"])
_PLACE = (
    "cluster",
    "cluster_probability",
    "outlier_score",
    "is_outlier",
    "margin",
    "is_boundary",
    "next_cluster",
    "by_modality",
    "copies",
    "is_keeper",
)


class Lineage(BaseModel):
    """Where a clip comes from."""

    video_id: str | None
    video_name: str | None
    source: str | None
    licence: str | None
    """As submitted."""
    released: dict[str, Any]
    """What of the source was released on record (`age`, `licence`): by whom, why, when."""
    shot: int | None
    start_pts: int | None
    end_pts: int | None
    time_base: list[int] | None
    start_s: float | None
    duration_s: float | None


class Recipes(BaseModel):
    """Recipe of every group of columns."""

    segment: str | None
    measured: dict[str, str]
    """By processor."""
    reason: str | None
    annotation: str | None
    curation: str | None


class ClipWhy(BaseModel):
    """The whole answer for a clip."""

    clip_id: str
    stage: str
    verdict: str | None
    """None until the clip is annotated."""
    held_for: list[str]
    """Rules that keep it out."""
    decisions: list[Decision]
    recipes: Recipes
    failed: dict[str, str]
    """Processors that could not measure it, and why."""
    engine: str | None
    """What annotated it: `measured` for rules, else a model's id."""
    origins: dict[str, str]
    """What each attribute comes from."""
    contradiction: float | None
    """How strongly the description contradicts what was measured, 0..1."""
    contradictions: list[Json]
    """The claims that do: claim, measured, score."""
    reason_failed: str | None
    """Why the profile's engine has no answer, so that the rules stand in."""
    lineage: Lineage
    reviews: list[Json]
    """Decisions of people on this clip and its source, in order of time."""
    place: Json
    """Where it lies among the others: cluster and its probability, outlier score, margin and the next cluster, copies.
    GET /clips/{clip_id}/neighbourhood tells the nearest clips and their distances."""
    concepts: list[Json]
    """Each concept that it is in: how it was found, its probability, its agreement, over all and in each modality, and
    what a person said."""
    dead: Json | None
    """The dead letter that it ended in, if it did."""


class VideoWhy(BaseModel):
    """Why a video gave the clips that it gave."""

    video_id: str
    status: str
    reason: str | None
    """Why it is dead or removed."""
    recipe: str | None
    """Of the segmentation."""
    n_clips: int
    dropped: list[DroppedFootage]
    warnings: list[str]
    """What was odd in the file."""


@router.get("/clips/{clip_id}/why", responses=problems(404))
def why_clip(clip_id: str, service: Given) -> ClipWhy:
    """Every decision on the clip, kept, held or dropped, with score, threshold, recipe and who decided."""
    store = service.store
    row = store.clips.get(clip_id)
    video = (store.videos.get(row["video_id"]) if row["video_id"] else None) or {}
    source = (store.sources.get(row["source"]) if row["source"] else None) or {}
    place = ("video_id", "source", "licence", "shot", "start_pts", "end_pts", "time_base", "start_s", "duration_s")
    dead = store.dead_letters.get(row["dead"]) if row["dead"] else None
    return ClipWhy(
        clip_id=clip_id,
        stage=row["stage"],
        verdict=row["verdict"],
        held_for=row["held_for"] or [],
        decisions=row["decisions"] or [],
        recipes=Recipes(
            segment=row["segment_recipe"],
            measured=row["recipes"] or {},
            reason=row["reason_recipe"],
            annotation=row["annotation_recipe"],
            curation=row["curation_recipe"],
        ),
        failed=row["failed"] or {},
        engine=row["engine"],
        origins=row["origins"] or {},
        contradiction=row["contradiction"],
        contradictions=[
            {name: check[name] for name in ("claim", "measured", "score")}
            for check in row["checks"] or ()
            if check["verdict"] == "contradicted"
        ],
        reason_failed=row["reason_failed"],
        lineage=Lineage(
            video_name=video.get("name"), released=source.get("released", {}), **{name: row[name] for name in place}
        ),
        reviews=_reviews(store.reviews, {("clip", clip_id), ("source", row["source"])}),
        place={name: row[name] for name in _PLACE},
        concepts=evidence(store, clip_id),
        dead=dead and {name: dead[name] for name in ("dead_id", "step", "reason", "status")},
    )


@router.get("/footage/{video_id}/why", responses=problems(404))
def why_video(video_id: str, service: Given) -> VideoWhy:
    """What of the video was dropped and why, or why it is dead or was removed."""
    document = video_document(service, video_id)
    removed = document["status"] == "removed"
    return VideoWhy(
        video_id=video_id,
        status=document["status"],
        reason=removal_of(service.store, video_id, document) if removed else document.get("reason"),
        recipe=document.get("recipe"),
        n_clips=len(document.get("clip_ids", ())),
        dropped=dropped_footage(document),
        warnings=(document.get("facts") or {}).get("warnings", []),
    )


def _reviews(table: DocumentTable, subjects: set[tuple[str, str | None]]) -> list[Json]:
    decided = [r for r in table.all("decided").values() if (r["subject"], r["subject_id"]) in subjects]
    return sorted(decided, key=lambda review: datetime.fromisoformat(review["decided_at"]))
