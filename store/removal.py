"""Removal: everything of a video or a source, or in which an identity appears, goes, everywhere, and the proof says
what went.

An identity takes with it every clip in which it appears, and the original of each such video; other clips of those
videos stay. A video that is not read to its end, or of which no clip would stay, goes as a whole.

The plan is durable before the first deletion, and every deletion may be repeated: a removal that is killed at any
point and run again ends the same. What records on topics hold is erased by tombstones, which the proof names the
keys of.
"""

import json
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path

from store.answers import AnswerStore
from store.clip_columns import ClipRow
from store.clusters.folder import forget_all
from store.export import sha256_of
from store.records import IDS_AT_ONCE, Json, RemovalDone, RemovalRequested, digest
from store.removed import (
    CLIP_MEDIA,
    delete_media,
    ids_in_letter,
    ids_in_object,
    tombstone,
    withdraw_run,
    withdrawn_snapshot,
    without_original,
)
from store.reviewing.subjects import without_decisions
from store.snapshots import is_withdrawn, judged_clips, withdraw_snapshot
from store.store import Store
from store.tables import in_parts, sql_holds, sql_in
from store.tokens import nameless, tokens_of

_LONGEST_WRITE = timedelta(hours=1)
"""Chosen: an unfinished media file as old as this was left by a killed process."""


@dataclass(frozen=True)
class _Plan:
    """What a removal takes away."""

    video_ids: frozenset[str] = frozenset()
    clip_ids: frozenset[str] = frozenset()
    media_keys: frozenset[str] = frozenset()
    snapshots: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    dead_letters: frozenset[str] = frozenset()
    """step/id."""
    originals: frozenset[str] = frozenset()
    """Videos that lose their original and some of their clips."""
    tokens: frozenset[str] = frozenset()
    """Trigger tokens of identities that are seen nowhere else."""

    @classmethod
    def of(cls, body: Json) -> "_Plan":
        """The plan that a removal's document holds."""
        return cls(*(frozenset(body.get(field.name, ())) for field in fields(cls)))

    def __or__(self, other: "_Plan") -> "_Plan":
        return _Plan(*(getattr(self, field.name) | getattr(other, field.name) for field in fields(self)))

    def listed(self) -> Json:
        """As JSON."""
        return {field.name: sorted(getattr(self, field.name)) for field in fields(self)}


def remove(store: Store, request: RemovalRequested, snapshots_root: Path, now: datetime) -> RemovalDone:
    """Remove a video, all videos of a source, or all clips of an identity, from the store and from every snapshot and
    adapter made of them.

    A snapshot whose version of the table knew a removed clip, published or not, is withdrawn as a whole; so is
    a run trained on one, and every run whose adapter started from a withdrawn one. Bytes that other footage shares
    stay. Runs in the process that writes the store, between writes; asking twice gives the same proof.
    """
    known = store.removals.get(request.removal_id) or request.model_dump(mode="json") | {"status": "requested"}
    plan = _found(store, request, snapshots_root) | _noted(store, request)
    store.removals.put({request.removal_id: known | plan.listed()})
    _close_videos(store, request, plan)
    _strike_decisions(store, plan)
    store.tokens.put({token: nameless(token) for token in sorted(plan.tokens)})
    for run_id in sorted(plan.runs):
        withdraw_run(store, run_id, f"it was trained on footage that removal {request.removal_id} took away")
    for tag in sorted(plan.snapshots):
        _withdraw_snapshot(store, snapshots_root, tag, request.removal_id)
    _strike_concepts(store, plan)
    store.adapter_decisions.delete(_adapter_decisions(store, plan))
    store.dead_letters.delete([letter.rpartition("/")[2] for letter in sorted(plan.dead_letters)])
    _strike_reviews(store, request, plan)
    store.clips.delete(sorted(plan.clip_ids))
    answers = AnswerStore(store.media)
    for clip_id in sorted(plan.clip_ids):
        answers.delete(clip_id)
    plan = replace(plan, media_keys=frozenset(delete_media(store, plan.media_keys)))
    forget_all(store.folder)
    store.media.sweep(now - _LONGEST_WRITE)
    store.purge()
    return RemovalDone.model_validate(
        plan.listed()
        | {
            "removal_id": request.removal_id,
            "sources": {id_: body["source"] for id_, body in store.videos.get_many(plan.video_ids).items()},
            "verified": _is_gone(store, request, plan, snapshots_root),
            "done_at": known.get("done_at", now),
        }
    )


def in_records(proof: RemovalDone) -> list[RemovalDone]:
    """A proof as records that a broker takes: each with a part of every list."""
    lists = [name for name in RemovalDone.model_fields if isinstance(getattr(proof, name), tuple)]
    parts = list(in_parts([(name, one) for name in lists for one in getattr(proof, name)], IDS_AT_ONCE))
    if len(parts) < 2:
        return [proof]
    records = []
    for part in parts:
        told: Json = {name: tuple(one for of, one in part if of == name) for name in lists}
        sources = {one: proof.sources[one] for one in told["video_ids"] if one in proof.sources}
        records.append(proof.model_copy(update=told | {"sources": sources, "n_parts": len(parts)}))
    return records


def _found(store: Store, request: RemovalRequested, snapshots_root: Path) -> _Plan:
    """What the store holds of the footage now."""
    video_ids, clip_ids = _subject(store, request)
    whole = store.videos.get_many(video_ids).values()
    rows = store.clips.select(where=_of(video_ids, clip_ids), columns=["video_id", *CLIP_MEDIA])
    clip_ids |= {row["clip_id"] for row in rows} | {id_ for body in whole for id_ in body.get("clip_ids", ())}
    originals = {row["video_id"] for row in rows} - video_ids
    objects = store.media.keys()
    manifests = {key for key in objects if key.endswith(".json") and clip_ids & ids_in_object(store, key)}
    runs = _runs(store, clip_ids, manifests)
    media_keys = manifests | {key for key in objects if sha256_of(key) in video_ids | originals}
    media_keys.update(row[column] for row in rows for column in CLIP_MEDIA if row[column])
    bodies = store.videos.get_many(video_ids | originals).values()
    named = (body.get(name) for body in bodies for name in ("media_key", "checkpoint_key"))
    media_keys.update(key for key in named if key is not None)
    media_keys.update(key for run in store.runs.get_many(runs).values() for key in run.get("artefacts", {}).values())
    return _Plan(
        video_ids=frozenset(video_ids),
        clip_ids=frozenset(clip_ids),
        media_keys=frozenset(media_keys),
        snapshots=frozenset(_snapshots(store, video_ids, clip_ids, snapshots_root)),
        runs=frozenset(runs),
        dead_letters=_letters(store, video_ids | clip_ids),
        originals=frozenset(originals),
        tokens=frozenset(_tokens(store, request, video_ids, clip_ids)),
    )


def _subject(store: Store, request: RemovalRequested) -> tuple[set[str], set[str]]:
    """Videos that go as a whole, and clips of others."""
    if request.subject == "video":
        return {request.subject_id}, set()
    if request.subject == "source":
        video_ids = {id_ for id_, body in store.videos.all().items() if body.get("source") == request.subject_id}
        rows = store.clips.select(where=sql_in("source", [request.subject_id]), columns=["video_id"])
        return video_ids | {row["video_id"] for row in rows}, set()
    shown: dict[str, set[str]] = {}
    for row in clips_showing(store, request.subject_id):
        shown.setdefault(row["video_id"], set()).add(row["clip_id"])
    videos = store.videos.get_many(shown)
    whole = {
        video_id
        for video_id, clip_ids in shown.items()
        if (video := videos.get(video_id, {})).get("status") != "done" or set(video["clip_ids"]) <= clip_ids
    }
    return whole, {clip_id for video_id, clip_ids in shown.items() if video_id not in whole for clip_id in clip_ids}


def clips_showing(store: Store, identity: str) -> list[ClipRow]:
    """Rows (`video_id` and `identity_ids`) of the clips in which an identity appears."""
    rows = store.clips.select(where=sql_holds("identity_ids", [identity]), columns=["video_id", "identity_ids"])
    return [row for row in rows if any(link["identity"] == identity for link in row["identity_ids"])]


def _tokens(store: Store, request: RemovalRequested, video_ids: set[str], clip_ids: set[str]) -> set[str]:
    """Trigger tokens of the identity that is to go, and of those that only these clips show."""
    tokens = tokens_of(store, "identity")
    if not tokens:
        return set()
    going = _linked(store, _of(video_ids, clip_ids))
    staying = _linked(store, f"{sql_holds('identity_ids', going)} AND NOT {_of(video_ids, clip_ids)}")
    going = going - staying | ({request.subject_id} if request.subject == "identity" else set())
    return {token for identity, token in tokens.items() if identity in going}


def _linked(store: Store, where: str) -> set[str]:
    """Identities that tracks are, or were linked to, in the clips of a condition."""
    rows = store.clips.select(where=f"identity_ids IS NOT NULL AND {where}", columns=["identity_ids"])
    ids = {entry[name] for row in rows for entry in row["identity_ids"] for name in ("identity", "linked")}
    return ids - {None}


def _of(video_ids: AbstractSet[str], clip_ids: AbstractSet[str]) -> str:
    """Condition on the clip table: a clip of the videos, or one of the clips."""
    return f"({sql_in('video_id', sorted(video_ids))} OR {sql_in('clip_id', sorted(clip_ids))})"


def _noted(store: Store, request: RemovalRequested) -> _Plan:
    """What this removal, or an earlier one of the same footage, set out to take away."""
    plan = _Plan()
    for body in store.removals.all().values():
        if (body["subject"], body["subject_id"]) == (request.subject, request.subject_id):
            plan |= _Plan.of(body)
    return plan


def _runs(store: Store, clip_ids: set[str], manifests: set[str]) -> set[str]:
    """Runs trained on the clips, or to be, and all whose adapter started from one of theirs."""
    runs = store.runs.all()
    found = {
        run_id
        for run_id, body in runs.items()
        if clip_ids & set(body.get("clip_ids", ()))
        or manifests & {body.get("members_key"), *body.get("artefacts", {}).values()}
    }
    while heirs := {run_id for run_id, body in runs.items() if body.get("parent") in found} - found:
        found |= heirs
    return found


def _snapshots(store: Store, video_ids: set[str], clip_ids: set[str], snapshots_root: Path) -> set[str]:
    """Tags of the versions that hold a row of the videos or clips; of a store that was built anew, which has no old
    versions, the snapshots whose folder speaks of the clips."""
    where = _of(video_ids, clip_ids)
    tags = store.clips.tags()
    found = {
        tag for tag, version in tags.items() if store.clips.select(where=where, columns=["clip_id"], version=version)
    }
    untagged = store.snapshots.all("created").keys() - tags.keys()
    return found | {tag for tag in untagged if clip_ids & judged_clips(snapshots_root / tag)}


def _close_videos(store: Store, request: RemovalRequested, plan: _Plan) -> None:
    """From here on late records of the videos are refused; a source's releases do not outlive its footage."""
    known = store.videos.get_many(plan.video_ids)
    store.videos.put(
        {
            video_id: tombstone(video_id, known.get(video_id, {}).get("source"), request.removal_id)
            for video_id in sorted(plan.video_ids)
            if known.get(video_id, {}).get("status") != "removed"
        }
    )
    halved = store.videos.get_many(plan.originals)
    store.videos.put(
        {
            video_id: without_original(body, plan.clip_ids, request.removal_id)
            for video_id, body in halved.items()
            if body["status"] != "removed"
        }
    )
    _close_sources(store, request, {body["source"] for body in known.values() if body.get("source") is not None})


def _close_sources(store: Store, request: RemovalRequested, names: set[str]) -> None:
    """Of a source that loses footage, keep what its other videos and a person's releases still say."""
    whole = request.subject_id if request.subject == "source" else ""
    for name, source in store.sources.get_many(names | {whole}).items():
        left = [
            body for body in store.videos.all().values() if body.get("source") == name and body["status"] != "removed"
        ]
        kept = source | {"licences": sorted({body["licence"] for body in left if body["licence"]})}
        if name == whole:
            kept |= {"answers": {}, "released": {}}
        if left or kept.get("answers"):
            store.sources.put({name: kept})
        else:
            store.sources.delete([name])


def _withdraw_snapshot(store: Store, snapshots_root: Path, tag: str, removal_id: str) -> None:
    known = store.snapshots.get(tag) or {"tag": tag}
    if known.get("status") != "withdrawn":
        reason = f"it held footage that removal {removal_id} took away"
        store.snapshots.put({tag: withdrawn_snapshot(known, reason)})
    withdraw_snapshot(store, snapshots_root, tag, removal_id)


def _strike_decisions(store: Store, plan: _Plan) -> None:
    """Take the clips' tracks out of what people decided about identities."""
    store.identity_decisions.put(
        {
            id_: body | {"tracks": left}
            for id_, body in store.identity_decisions.all().items()
            if (left := [one for one in body["tracks"] if one["clip_id"] not in plan.clip_ids]) != body["tracks"]
        }
    )


def _strike_concepts(store: Store, plan: _Plan) -> None:
    """Take the clips out of the concepts' manifests; what was known of such a concept waits to be computed anew."""
    for name, body in store.concepts.all().items():
        if not plan.clip_ids & ids_in_object(store, body["members_key"]):
            continue
        members = json.loads(store.media.read(body["members_key"]))
        left = [member for member in members if member["clip_id"] not in plan.clip_ids]
        eligible = store.clips.get_many(member["clip_id"] for member in left if member["eligible"])
        key = store.media.put_bytes(json.dumps(left, sort_keys=True).encode(), "json")
        struck = {
            "members_key": key,
            "members_digest": digest(left),
            "n_members": len(left),
            "n_eligible": len(eligible),
            "n_videos": len({row["video_id"] for row in eligible.values()}),
            "purity": None,
            "purity_low": None,
            "ready": False,
            "reasons": ["footage was removed since; the next curation tells"],
            "status": "waiting",
        }
        store.concepts.put({name: body | struck})


def _letters(store: Store, ids: AbstractSet[str]) -> frozenset[str]:
    """step/id of the dead letters that mention a video or clip."""
    letters = store.dead_letters.all().items()
    return frozenset(f"{letter['step']}/{dead_id}" for dead_id, letter in letters if ids & ids_in_letter(letter))


def _adapter_decisions(store: Store, plan: _Plan) -> list[str]:
    """Decisions on adapters that go; their records stay on their topic."""
    return [id_ for id_, body in store.adapter_decisions.all().items() if body["run_id"] in plan.runs]


def _reviews(store: Store, request: RemovalRequested, plan: _Plan) -> list[str]:
    """Decisions on the clips and, where a source goes, those on it until then; their records stay on their topic."""
    asked = request.requested_at if request.subject == "source" else None
    return [
        id_
        for id_, review in store.reviews.all().items()
        if review["subject_id"] in plan.clip_ids
        or (
            asked is not None
            and (review["subject"], review["subject_id"]) == ("source", request.subject_id)
            and datetime.fromisoformat(review["decided_at"]) <= asked
        )
    ]


def _strike_reviews(store: Store, request: RemovalRequested, plan: _Plan) -> None:
    """Delete the decisions on what goes; what later ones on a source say stays, and no longer names the deleted."""
    gone = _reviews(store, request, plan)
    store.reviews.delete(gone)
    left = store.reviews.get(f"source:{request.subject_id}") if request.subject == "source" else None
    if left is not None and "decision_ids" in left:
        store.reviews.put({f"source:{request.subject_id}": without_decisions(left, set(gone))})


def _is_gone(store: Store, request: RemovalRequested, plan: _Plan, snapshots_root: Path) -> bool:
    """Look for what the plan took away, in every version of the table that is left."""
    where = _of(plan.video_ids, plan.clip_ids)
    versions = [None, *store.clips.tags().values()]
    rows = any(store.clips.select(where=where, columns=["clip_id"], version=version) for version in versions)
    media = any(store.media.exists(key) for key in plan.media_keys)
    answers = any(AnswerStore(store.media).of(clip_id) for clip_id in plan.clip_ids)
    videos = any(body["status"] != "removed" for body in store.videos.get_many(plan.video_ids).values())
    runs = any(body["status"] != "withdrawn" for body in store.runs.get_many(plan.runs).values())
    tokens = any(body["status"] != "removed" for body in store.tokens.get_many(plan.tokens).values())
    named = request.subject == "identity" and request.subject_id in tokens_of(store, "identity")
    folders = [snapshots_root / tag for tag in plan.snapshots]
    snapshots = any(folder.exists() and not is_withdrawn(folder) for folder in folders)
    return not (
        rows
        or media
        or answers
        or videos
        or runs
        or snapshots
        or tokens
        or named
        or _letters(store, plan.video_ids | plan.clip_ids)
        or _reviews(store, request, plan)
        or _adapter_decisions(store, plan)
    )
