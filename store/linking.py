"""Linking the clips of a store: what `store.identities` computes, on rows, with galleries kept in memory.

The galleries are a function of the rows, so that a process that starts anew links as the old one would have. Only the
process that writes the tables links, one batch after another.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from store.clip_columns import ClipRow
from store.errors import InputError
from store.identities import EXEMPLARS, NEARBY_S, Exemplar, Face, Gallery, Space, link
from store.identity_decisions import Decisions, mentioned
from store.records import IdentityDecided, IdentityLinked, Json, digest
from store.store import Store
from store.tables import in_parts, sql_holds, sql_in

FACES = "identity_faces"
_READ = (
    "video_id",
    "start_s",
    "duration_s",
    "face_tracks",
    FACES,
    "identity_space",
    "identity_bodies",
    "identity_ids",
    "identity_recipe",
)
_ROWS_AT_ONCE = 500
"""Chosen: a row holds a few vectors as text, some 10 kB."""


@dataclass(frozen=True)
class _Sighting:
    """An identity in a clip of one video."""

    start_s: float
    end_s: float
    identity: str
    body: np.ndarray | None


class Linker:
    """Links clips as they become known; `confirm` says that the last links are durable.

    What was linked and not confirmed is forgotten before the next links are made.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._galleries: dict[str, Gallery] | None = None
        self._unconfirmed = False
        self._replaced = False

    def unlinked(self) -> list[str]:
        """Ids of the clips whose faces were measured and never linked."""
        if FACES not in self._store.clips.schema.names:
            return []
        where = f"{FACES} IS NOT NULL AND identity_ids IS NULL AND media_key IS NOT NULL"
        return [row["clip_id"] for row in self._store.clips.select(where=where, columns=[])]

    def link(self, clip_ids: Iterable[str]) -> list[IdentityLinked]:
        """Records of who is seen in those of the clips that are cut and measured; of one that is linked already, the
        same record again, as whoever linked it may not have lived to tell."""
        if FACES not in self._store.clips.schema.names:
            return []
        if self._unconfirmed:
            self.forget()
        where = f"{FACES} IS NOT NULL AND media_key IS NOT NULL"
        ids = list(dict.fromkeys(clip_ids))
        known = {name for name in _READ if name in self._store.clips.schema.names}
        found = self._store.clips.select(where=f"{sql_in('clip_id', ids)} AND {where}", columns=sorted(known))
        rows = {row["clip_id"]: row for row in found}
        fresh = [rows[id_] for id_ in ids if id_ in rows and rows[id_]["identity_recipe"] != recipe_of(rows[id_])]
        again = [_record(row) for row in rows.values() if row["identity_recipe"] == recipe_of(row)]
        if not fresh:
            return again
        self._unconfirmed = True
        if replaced := [row["clip_id"] for row in fresh if row["identity_ids"] is not None]:
            self._replaced = True
            self._refresh(_ids_in(rows[id_] for id_ in replaced), without=replaced)
        sightings = self._sightings(fresh)
        return [*again, *(self._linked(row, sightings.setdefault(row["video_id"], [])) for row in fresh)]

    def confirm(self) -> None:
        """What was linked lies in the store."""
        self._unconfirmed = False
        if self._replaced and self._store.identity_decisions.counts():
            self.forget()  # a track that founds its identity again is where people's decisions put that

    def decided(self, decisions: Sequence[IdentityDecided]) -> None:
        """Take over what people decided; it lies in the store already."""
        documents = self._store.identity_decisions.all()
        for decision in decisions:
            self._refresh(mentioned(decision.model_dump(mode="json"), documents))

    def forget(self) -> None:
        """Read everything anew before the next link: after a removal, or a write that failed."""
        self._galleries = None
        self._unconfirmed = self._replaced = False

    def _linked(self, row: ClipRow, sightings: list[_Sighting]) -> IdentityLinked:
        gallery = self._gallery(row["identity_space"])
        start_s, end_s = row["start_s"], row["start_s"] + row["duration_s"]
        nearby: dict[str, list[np.ndarray]] = {}
        for one in sightings:
            if one.start_s <= end_s + NEARBY_S and one.end_s >= start_s - NEARBY_S:
                nearby.setdefault(one.identity, []).extend([one.body] if one.body is not None else [])
        faces = faces_of(row)
        links = link(faces, gallery, nearby)
        worn = {face.track: face.body for face in faces}
        sightings += [_Sighting(start_s, end_s, found, worn[one.track]) for one, found in links if found is not None]
        return IdentityLinked(
            clip_id=row["clip_id"],
            video_id=row["video_id"],
            links=tuple(one for one, _ in links),
            recipe=recipe_of(row),
        )

    def _gallery(self, space: Json) -> Gallery:
        galleries = self._loaded()
        if space["name"] not in galleries:
            galleries[space["name"]] = Gallery(Space(**space))
        return galleries[space["name"]]

    def _loaded(self) -> dict[str, Gallery]:
        if self._galleries is None:
            self._galleries = {}
            self._read("identity_ids IS NOT NULL", None, ())
        return self._galleries

    def _refresh(self, ids: Collection[str], without: Collection[str] = ()) -> None:
        """Read anew the identities of these ids, and those that their tracks are in now or were linked to."""
        if self._galleries is None:
            return
        holding = self._store.clips.select(where=sql_holds("identity_ids", ids), columns=["identity_ids"])
        concerned = set(ids) | {
            one
            for row in holding
            for entry in row["identity_ids"]
            if not {entry["linked"], entry["identity"]}.isdisjoint(ids)
            for one in (entry["linked"], entry["identity"])
        }
        for gallery in self._galleries.values():
            for identity in concerned:
                gallery.discard(identity)
        self._read(sql_holds("identity_ids", concerned), concerned, without)

    def _read(self, where: str, wanted: Collection[str] | None, without: Collection[str]) -> None:
        """Take the best faces of identities (of all, or of those wanted) out of the rows into the galleries."""
        columns = ["identity_ids", "identity_space"]
        decisions = Decisions.of(self._store.identity_decisions.all())
        looks: dict[tuple[str, str], list[tuple[float, str, int]]] = {}
        doubts: list[tuple[str, str, str]] = []
        spaces: dict[str, Json] = {}
        for row in self._store.clips.select(where=where, columns=columns):
            if row["clip_id"] in without or row["identity_space"] is None:
                continue
            spaces[row["clip_id"]] = row["identity_space"]
            for entry in row["identity_ids"]:
                identity = entry["identity"]
                if identity is None or (wanted is not None and identity not in wanted):
                    continue
                face = (-entry["quality"], row["clip_id"], entry["track"])
                looks.setdefault((identity, look_of(entry, decisions)), []).append(face)
                name = row["identity_space"]["name"]
                doubts += [(name, identity, one["identity"]) for one in entry["candidates"]]
        chosen: dict[str, list[tuple[int, str, str]]] = {}
        for (identity, linked), faces in looks.items():
            for _, clip_id, track in sorted(faces)[:EXEMPLARS]:
                chosen.setdefault(clip_id, []).append((track, linked, identity))
        for ids in in_parts(sorted(chosen), _ROWS_AT_ONCE):
            for row in self._store.clips.get_many(ids, [FACES]).values():
                measured = {face["track"]: face for face in row[FACES] or ()}
                gallery = self._gallery(spaces[row["clip_id"]])
                for track, linked, identity in chosen[row["clip_id"]]:
                    if track in measured:
                        vector = np.asarray(measured[track]["vector"], np.float32)
                        quality = measured[track]["quality"]
                        gallery.add(identity, Exemplar(linked, row["clip_id"], track, quality, vector))
        for name, identity, other in doubts:
            if name in self._loaded():
                self._loaded()[name].doubt(identity, [other])

    def _sightings(self, rows: Sequence[ClipRow]) -> dict[str, list[_Sighting]]:
        """Who was linked in the videos of these rows, near them in time."""
        spans: dict[str, tuple[float, float]] = {}
        for row in rows:
            low, high = spans.get(row["video_id"], (row["start_s"], row["start_s"]))
            spans[row["video_id"]] = min(low, row["start_s"]), max(high, row["start_s"] + row["duration_s"])
        sightings: dict[str, list[_Sighting]] = {}
        linking = {row["clip_id"] for row in rows}
        bodies = ["identity_bodies"] if "identity_bodies" in self._store.clips.schema.names else []
        for video_id, (low, high) in spans.items():
            where = (
                f"{sql_in('video_id', [video_id])} AND identity_ids IS NOT NULL AND start_s <= {high + NEARBY_S}"
                f" AND start_s + duration_s >= {low - NEARBY_S}"
            )
            columns = ["start_s", "duration_s", "identity_ids", *bodies]
            for row in self._store.clips.select(where=where, columns=columns):
                if row["clip_id"] in linking:
                    continue
                worn = bodies_of(row)
                sightings.setdefault(video_id, []).extend(
                    _Sighting(
                        row["start_s"], row["start_s"] + row["duration_s"], entry["identity"], worn.get(entry["track"])
                    )
                    for entry in row["identity_ids"]
                    if entry["identity"] is not None
                )
        return sightings


def look_of(entry: Json, decisions: Decisions) -> str:
    """What a later track is to be linked to that is like this one: what this one was linked to, unless it was split off
    from that."""
    linked, identity = str(entry["linked"]), str(entry["identity"])
    return linked if decisions.now(linked) == identity else identity


def faces_of(row: ClipRow) -> list[Face]:
    """The faces of a row that was measured.

    Raises:
        InputError: vectors without the space that they are of.
    """
    if row["identity_space"] is None:
        raise InputError(f"clip {row['clip_id']} has face vectors and no identity_space; measure it again")
    worn = bodies_of(row)
    times = {track["track"]: frozenset(track["times_s"]) for track in row.get("face_tracks") or ()}
    return [
        Face(
            clip_id=row["clip_id"],
            track=face["track"],
            vector=np.asarray(face["vector"], np.float32),
            quality=face["quality"],
            time_s=face["time_s"],
            box_xyxy=tuple(face["box_xyxy"]),
            times_s=times.get(face["track"], frozenset([face["time_s"]])),
            body=worn.get(face["track"]),
        )
        for face in row[FACES]
    ]


def bodies_of(row: ClipRow) -> Mapping[int, np.ndarray]:
    """Track to its clothes, float32 [B], where they are seen."""
    return {one["track"]: np.asarray(one["vector"], np.float32) for one in row.get("identity_bodies") or ()}


def recipe_of(row: ClipRow) -> str:
    """Hash of the vectors that a row's links rest on."""
    return digest([row["identity_space"], row[FACES]])[:16]


def _record(row: ClipRow) -> IdentityLinked:
    """The record that a row's links were made of."""
    links = [
        entry
        | {"identity": entry["linked"]}
        | {
            "candidates": [
                {"identity": one["linked"], "probability": one["probability"]} for one in entry["candidates"]
            ]
        }
        for entry in row["identity_ids"]
    ]
    return IdentityLinked.model_validate(
        {
            "clip_id": row["clip_id"],
            "video_id": row["video_id"],
            "links": [{name: value for name, value in entry.items() if name != "linked"} for entry in links],
            "recipe": row["identity_recipe"],
        }
    )


def _ids_in(rows: Iterable[ClipRow]) -> set[str]:
    ids = {entry[name] for row in rows for entry in row["identity_ids"] for name in ("identity", "linked")}
    return ids - {None}
