"""Identities: who appears in which clips, under pseudonyms; and what people decide about them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from api.bodies import ENTERED, Body, Entered, Limit, Name, Offset, enter, problems
from api.service import Given, Service
from store.clip_columns import ClipRow
from store.errors import Conflict, InputError, NotFound
from store.identity_decisions import Decisions
from store.records import IdentityDecided, Json, TrackName, digest
from store.removal import clips_showing
from store.store import Store
from store.tokens import tokens_of

router = APIRouter(prefix="/identities", tags=["identities"])

Pseudonym = Annotated[str, Field(pattern=r"^p-[0-9a-f]{16}$", examples=["p-3f9a1c22d0b7e481"])]
_SEEN = ("time_s", "box_xyxy", "quality")


class Sight(BaseModel):
    """A track of one identity, and where its best face is: `time_s` in the clip, `box_xyxy` in 0..1 of the frame."""

    clip_id: str
    track: int
    time_s: float
    box_xyxy: tuple[float, float, float, float]
    quality: float


class Likely(BaseModel):
    """Somebody who may be the same person."""

    identity: str
    probability: float


class Identity(BaseModel):
    """Tracks that are one person."""

    identity: str
    token: str | None
    """The word that is reserved for it; None for the moment until it is."""
    n_tracks: int
    n_clips: int
    n_videos: int
    exemplar: Sight
    """Its best face."""
    candidates: list[Likely]
    """Who may be the same person, the likeliest first."""


class IdentityPage(BaseModel):
    """Some of the identities: those in most clips first."""

    total: int
    limit: int
    offset: int
    identities: list[Identity]


class Track(Sight):
    """A track, and how sure it is that it belongs here: None where it is the one that founded the identity."""

    video_id: str
    source: str | None
    start_s: float | None
    probability: float | None
    candidates: list[Likely]


class IdentityTracks(Identity):
    """An identity with its tracks, by clip and time."""

    tracks: list[Track]


class Merge(Body):
    """Others who are the same person."""

    others: list[Pseudonym] = Field(min_length=1, max_length=100)
    by: Name = Field(examples=["Ada"])
    reason: Name = Field(examples=["the same woman, in glasses"])


class Split(Body):
    """Tracks that are somebody else; together they become an identity of their own."""

    tracks: list[TrackName] = Field(min_length=1, max_length=1000)
    by: Name = Field(examples=["Ada"])
    reason: Name = Field(examples=["her sister"])


class Undo(Body):
    """Why a decision shall no longer stand."""

    by: Name = Field(examples=["Ada"])
    reason: Name = Field(examples=["I took one twin for the other"])


@router.get("", responses=problems(422))
def list_identities(
    service: Given, limit: Annotated[Limit, Query()] = 100, offset: Annotated[Offset, Query()] = 0
) -> IdentityPage:
    """Everybody who is known."""
    where = "identity_ids IS NOT NULL"
    rows = service.store.clips.select(where=where, columns=["video_id", "identity_ids"])
    tokens = tokens_of(service.store, "identity")
    known = [_summary(identity, tracks, tokens) for identity, tracks in _by_identity(rows).items()]
    known.sort(key=lambda one: (-one["n_clips"], one["identity"]))
    return IdentityPage.model_validate(
        {"total": len(known), "limit": limit, "offset": offset, "identities": known[offset : offset + limit]}
    )


@router.get("/decisions")
def list_decisions(service: Given) -> list[Json]:
    """Every merge, split and undoing, in order of time; `stands` unless it was undone."""
    decisions = Decisions.of(service.store.identity_decisions.all())
    return [one | {"stands": one["decision_id"] in decisions.standing} for one in decisions.ordered]


@router.get("/{identity}", responses=problems(404, 422))
def show_identity(identity: Pseudonym, service: Given) -> IdentityTracks:
    """One identity and its tracks."""
    tracks = _tracks(service.store, identity)
    clips = service.store.clips.get_many({track["clip_id"] for track in tracks})
    told = [
        track
        | {name: clips[track["clip_id"]][name] for name in ("video_id", "source", "start_s")}
        | {"candidates": _likely(identity, [track])}
        for track in tracks
    ]
    told.sort(key=lambda one: (one["video_id"], one["start_s"] or 0.0, one["clip_id"], one["track"]))
    summary = _summary(identity, tracks, tokens_of(service.store, "identity"))
    return IdentityTracks.model_validate(summary | {"tracks": told})


@router.post("/{identity}/merge", status_code=201, responses=ENTERED)
async def merge(identity: Pseudonym, body: Merge, service: Given, response: Response) -> Entered:
    """Say that others are this person too: their tracks are this identity's from now on, also those still to come."""
    others = tuple(dict.fromkeys(body.others))
    if identity in others:
        raise InputError(f"{identity} is itself already; give others to merge into it")
    for one in (identity, *others):
        await to_thread.run_sync(_tracks, service.store, one)
    return await _decide(service, response, body, verb="merge", identity=identity, others=others)


@router.post("/{identity}/split", status_code=201, responses=ENTERED)
async def split(identity: Pseudonym, body: Split, service: Given, response: Response) -> Entered:
    """Say that some of its tracks are somebody else: they become `split_off`, a new identity."""
    own = {(track["clip_id"], track["track"]) for track in await to_thread.run_sync(_tracks, service.store, identity)}
    named = tuple(dict.fromkeys(body.tracks))
    strange = [f"{one.clip_id}:{one.track}" for one in named if (one.clip_id, one.track) not in own]
    if strange:
        raise NotFound(f"{identity} has no track {', '.join(strange)}; GET /identities/{identity} lists its tracks")
    if len(named) == len(own):
        raise InputError(f"these are all the tracks of {identity}; leave it at least one")
    return await _decide(service, response, body, verb="split", identity=identity, tracks=named)


@router.post("/decisions/{decision_id}/undo", status_code=201, responses=ENTERED)
async def undo(decision_id: str, body: Undo, service: Given, response: Response) -> Entered:
    """Let a decision no longer stand; undoing an undoing lets it stand again."""
    documents = await to_thread.run_sync(service.store.identity_decisions.all)
    if decision_id not in documents:
        raise NotFound(f"no decision {decision_id!r}; GET /identities/decisions lists them")
    if decision_id not in Decisions.of(documents).standing:
        raise Conflict(f"decision {decision_id} is undone already; to let it stand again, undo its undoing")
    return await _decide(service, response, body, verb="undo", identity=None, undoes=decision_id)


async def _decide(service: Service, response: Response, body: Body, **what: Any) -> Entered:
    documents = await to_thread.run_sync(service.store.identity_decisions.all)
    latest = max((one["decided_at"] for one in documents.values()), key=datetime.fromisoformat, default=None)
    decided_at = service.now_after(latest)
    told = {"by": body.model_dump()["by"], "reason": body.model_dump()["reason"], "decided_at": decided_at} | what
    record = IdentityDecided.model_validate({"decision_id": "", **told})
    decision_id = digest(["identity", record.model_dump(mode="json")])[:32]
    record = record.model_copy(update={"decision_id": decision_id})
    return await enter(service, response, record, service.store.identity_decisions, decision_id)


def check_identity(store: Store, identity: str) -> None:
    """Raises Conflict or NotFound where there is no such identity now."""
    if clips_showing(store, identity):
        return
    now = Decisions.of(store.identity_decisions.all()).now(identity)
    if now != identity:
        raise Conflict(f"{identity} was merged into {now}; name that one")
    raise NotFound(f"no identity {identity!r}; GET /identities lists them")


def _tracks(store: Store, identity: str) -> list[Json]:
    """The identity's tracks, each with its `clip_id` and `video_id`.

    Raises:
        Conflict, NotFound: see `check_identity`.
    """
    check_identity(store, identity)
    return _by_identity(clips_showing(store, identity))[identity]


def _by_identity(rows: list[ClipRow]) -> dict[str, list[Json]]:
    tracks: dict[str, list[Json]] = {}
    for row in rows:
        for entry in row["identity_ids"]:
            if entry["identity"] is not None:
                told = entry | {"clip_id": row["clip_id"], "video_id": row["video_id"]}
                tracks.setdefault(entry["identity"], []).append(told)
    return tracks


def _summary(identity: str, tracks: list[Json], tokens: Mapping[str, str]) -> Json:
    best = min(tracks, key=lambda track: (-track["quality"], track["clip_id"], track["track"]))
    return {
        "identity": identity,
        "token": tokens.get(identity),
        "n_tracks": len(tracks),
        "n_clips": len({track["clip_id"] for track in tracks}),
        "n_videos": len({track["video_id"] for track in tracks}),
        "exemplar": {name: best[name] for name in ("clip_id", "track", *_SEEN)},
        "candidates": _likely(identity, tracks),
    }


def _likely(identity: str, tracks: list[Json]) -> list[Json]:
    """Whom the tracks may show else, each with the highest probability that a track gave."""
    found: dict[str, float] = {}
    for track in tracks:
        for one in track["candidates"]:
            if one["identity"] != identity:
                found[one["identity"]] = max(one["probability"], found.get(one["identity"], 0.0))
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [{"identity": one, "probability": probability} for one, probability in ordered]
