"""Snapshots: tagged, immutable versions of the dataset, exported as folders.

A snapshot is a tag on a version of the clip table and a folder of that name. The folder appears whole, by a
rename; the tag comes first, so that a removal finds every version that is being exported.
"""

import json
import re
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from store.card import card_text, kept_back, tombstone_text
from store.errors import Conflict, InputError, NotFound
from store.export import (
    CHECKSUMS,
    PUBLISHED,
    Content,
    content_digest,
    read_content,
    read_lines,
    rounded,
    verdict_in,
    write_files,
)
from store.media import file_sha256
from store.records import Json, SnapshotFinished, SnapshotRequested
from store.store import Store
from store.tables import in_parts, sql_in

_TAG = re.compile(r"(?=.{1,64}$)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(?<!\.lock)")
"""What LanceDB takes for a tag; such a name is also safe as a folder's."""


def create_snapshot(store: Store, request: SnapshotRequested, snapshots_root: Path) -> SnapshotFinished:
    """Publish the clips that may be published now, as `snapshots_root/<tag>`.

    The same request again gives the same answer, also after a crash in the middle.

    Raises:
        InputError: a tag that cannot be one, or nothing to publish.
        Conflict: the tag is taken, or was withdrawn, also while it was being written.
        NotFound: the media of a clip are missing.
    """
    check_tag(request.tag)
    folder = snapshots_root / request.tag
    if folder.exists():
        return _as_before(folder, request)
    _check_free(store, request)
    unfinished = _unfinished(snapshots_root, request.tag)
    try:
        version = _tagged_version(store, request.tag)
        content = read_content(store, version)
        _check_not_empty(content)
        manifest = _manifest(content, request, version)
        shutil.rmtree(unfinished, ignore_errors=True)
        told = {"manifest.json": json.dumps(manifest, indent=2) + "\n", "README.md": card_text(content, manifest)}
        write_files(store, content, unfinished, told)
        unfinished.rename(folder)
        if request.tag not in store.clips.tags():  # a removal withdrew it since
            shutil.rmtree(folder)
            raise Conflict(f"snapshot {request.tag!r} was withdrawn by a removal while it was written; ask again")
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        store.clips.untag(request.tag)
        raise
    return _finished(manifest, folder)


def verify_snapshot(folder: Path) -> list[str]:
    """What is wrong with a snapshot's folder: files missing, changed or added, or another digest; empty if nothing.

    Raises:
        NotFound: there is no snapshot, or it was withdrawn.
    """
    manifest = read_manifest(folder)
    lines = (folder / CHECKSUMS).read_text("utf-8").splitlines()
    sums = {name: sha256 for sha256, name in (line.split("  ", 1) for line in lines)}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {CHECKSUMS}
    faults = [f"{name} is missing" for name in sorted(sums.keys() - there)]
    faults += [f"{name} does not belong to the snapshot" for name in sorted(there - sums.keys())]
    faults += [
        f"{name} was changed" for name in sorted(there & sums.keys()) if file_sha256(folder / name) != sums[name]
    ]
    if not {"metadata.jsonl", "decisions.jsonl"} - there:
        published, decisions = read_lines(folder / "metadata.jsonl"), read_lines(folder / "decisions.jsonl")
        reasoning = read_lines(folder / "reasoning.jsonl") if "reasoning.jsonl" in there else []
        found = content_digest(published, reasoning, decisions, manifest["content_columns"])
        if found != manifest["digest"]:
            faults.append(f"its content has digest {found}, manifest.json says {manifest['digest']}")
    return faults


def diff_snapshots(older: Path, newer: Path) -> Json:
    """What changed from one snapshot's folder to another's, as JSON.

    `added`, `removed`: clip ids published in one only. `changed`: clip id to the columns that differ (floats by
    the digits that the digest counts). `verdicts`: clip id to [older, newer] verdict where it differs, None where
    the clip was not known.

    Raises:
        NotFound: there is no snapshot, or it was withdrawn.
    """
    digests = [read_manifest(folder)["digest"] for folder in (older, newer)]
    before, after = (
        {row["clip_id"]: row for row in read_lines(folder / "metadata.jsonl")} for folder in (older, newer)
    )
    changed = {
        clip_id: sorted(
            name
            for name in before[clip_id].keys() | after[clip_id].keys()
            if rounded(before[clip_id].get(name)) != rounded(after[clip_id].get(name))
        )
        for clip_id in sorted(before.keys() & after.keys())
    }
    was, now = (_verdicts(folder) for folder in (older, newer))
    return {
        "digests": digests,
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": {clip_id: columns for clip_id, columns in changed.items() if columns},
        "verdicts": {
            clip_id: [was.get(clip_id), now.get(clip_id)]
            for clip_id in sorted(was.keys() | now.keys())
            if was.get(clip_id) != now.get(clip_id)
        },
    }


def withdraw_snapshot(store: Store, snapshots_root: Path, tag: str, removal_id: str) -> None:
    """Delete a snapshot's content and its tag; a tombstone that names the removal stays."""
    store.clips.untag(tag)
    shutil.rmtree(_unfinished(snapshots_root, tag), ignore_errors=True)
    folder = snapshots_root / tag
    if not folder.exists() or is_withdrawn(folder):
        return
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "README.md").write_text(tombstone_text(removal_id), encoding="utf-8")
    manifest = {"tag": tag, "status": "withdrawn", "removal_id": removal_id}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def is_withdrawn(folder: Path) -> bool:
    """Whether the folder is the tombstone of a snapshot."""
    try:
        return json.loads((folder / "manifest.json").read_text("utf-8"))["status"] == "withdrawn"
    except (OSError, ValueError):  # a withdrawal that was killed half-way
        return False


def read_manifest(folder: Path) -> Json:
    """The manifest of a snapshot.

    Raises:
        NotFound: there is no snapshot, or it was withdrawn.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    except OSError as error:
        raise NotFound(f"no snapshot in {folder}; `cliploom snapshot list` lists snapshots") from error
    if manifest["status"] == "withdrawn":
        raise NotFound(f"snapshot {manifest['tag']!r} was withdrawn by removal {manifest['removal_id']}; take another")
    return manifest


def check_tag(tag: str) -> None:
    """Refuse what cannot be a tag.

    Raises:
        InputError: it is no name of 1 to 64 letters, digits, `_`, `-` and single inner dots.
    """
    if not _TAG.fullmatch(tag):
        raise InputError(f"tag {tag!r} is not usable: give 1 to 64 letters, digits, '_', '-' and single dots inside")


def _as_before(folder: Path, request: SnapshotRequested) -> SnapshotFinished:
    """The answer to a request that was delivered twice."""
    if is_withdrawn(folder):
        raise Conflict(f"snapshot {request.tag!r} was withdrawn by a removal; choose another tag")
    manifest = read_manifest(folder)
    if manifest["requested_at"] != _requested_at(request):
        raise Conflict(f"tag {request.tag!r} is taken (digest {manifest['digest'][:12]}); choose another")
    return _finished(manifest, folder)


def _check_free(store: Store, request: SnapshotRequested) -> None:
    known = store.snapshots.get(request.tag)
    if known is None or known["status"] == "failed":
        return
    if known["status"] == "withdrawn" or known["requested_at"] != _requested_at(request):
        raise Conflict(f"tag {request.tag!r} is taken (status {known['status']}); choose another")


def _tagged_version(store: Store, tag: str) -> int:
    """The version under the tag: the present one, or the one that an interrupted try tagged."""
    if tag not in store.clips.tags():
        store.clips.tag(tag, store.clips.version)
    return store.clips.tags()[tag]


def _check_not_empty(content: Content) -> None:
    if content.published:
        return
    if not any(line["kind"] == "clip" for line in content.decisions):
        raise InputError("nothing to publish: the store has no clips; `cliploom ingest` brings footage")
    raise InputError(
        f"nothing to publish: {'; '.join(kept_back(content.decisions))}. Release their sources on record, review the"
        " clips, or wait until they are annotated; `cliploom why CLIP` tells more"
    )


def _manifest(content: Content, request: SnapshotRequested, version: int) -> Json:
    return {
        "format": 1,
        "tag": request.tag,
        "status": "created",
        "digest": content.digest,
        "content_columns": list(content.content_columns),
        "recipes": _recipes(content),
        "counts": dict(sorted(content.counts.items())),
        "table_version": version,
        "software": f"cliploom {metadata.version('cliploom')}",
        "note": request.note,
        "requested_by": request.requested_by,
        "requested_at": _requested_at(request),
    }


def _recipes(content: Content) -> dict[str, list[str]]:
    """Step or processor to the recipes that gave the published clips' values."""
    found: dict[str, set[str]] = {}
    for row in content.published:
        told = {
            "segment": row["segment_recipe"],
            "annotate": row["annotation_recipe"],
            "cluster": row["curation_recipe"],
        }
        for step, recipe in (told | row["recipes"]).items():
            if recipe:
                found.setdefault(step, set()).add(recipe)
    for line in content.reasoning:
        found.setdefault("reason", set()).add(line["recipe"])
    for line in content.decisions:
        if line["kind"] == "clip":
            found.setdefault("gate", set()).update(one["recipe"] for one in line["decisions"])
    return {step: sorted(recipes) for step, recipes in sorted(found.items())}


def _finished(manifest: Json, folder: Path) -> SnapshotFinished:
    return SnapshotFinished(
        tag=manifest["tag"],
        status="created",
        reason="",
        digest=manifest["digest"],
        table_version=manifest["table_version"],
        folder=str(folder),
        n_kept=manifest["counts"].get("keep", 0),
        n_dropped=manifest["counts"].get("drop", 0),
        requested_at=manifest["requested_at"],
    )


def _requested_at(request: SnapshotRequested) -> str:
    return request.model_dump(mode="json")["requested_at"]


def newest_with(store: Store, clip_ids: Sequence[str]) -> Json | None:
    """`tag`, `digest` and `table_version` of the newest snapshot that publishes all of the clips, among those whose
    version of the table is still there; None: there is none."""
    tags = store.clips.tags()
    made = sorted(store.snapshots.all("created").values(), key=lambda one: one["table_version"], reverse=True)
    for one in made:
        if tags.get(one["tag"]) == one["table_version"] and _n_published(store, clip_ids, one) == len(clip_ids):
            return {name: one[name] for name in ("tag", "digest", "table_version")}
    return None


def _n_published(store: Store, clip_ids: Sequence[str], snapshot: Json) -> int:
    """How many of the clips a snapshot publishes; none where a removal takes it away meanwhile."""
    found = (
        store.clips.select(f"{sql_in('clip_id', part)} AND {PUBLISHED}", [], version=snapshot["table_version"])
        for part in in_parts(clip_ids, 1_000)
    )
    try:
        return sum(map(len, found))
    except (InputError, ValueError, RuntimeError):
        return 0


def judged_clips(folder: Path) -> set[str]:
    """Ids of every clip that a snapshot's folder speaks of, published or not; none where it is gone or withdrawn."""
    return set(_verdicts(folder)) if (folder / "decisions.jsonl").is_file() else set()


def _verdicts(folder: Path) -> dict[str, str]:
    lines = read_lines(folder / "decisions.jsonl")
    return {line["clip_id"]: verdict_in(line) for line in lines if line["kind"] == "clip"}


def _unfinished(snapshots_root: Path, tag: str) -> Path:
    return snapshots_root / f".unfinished-{tag}"
