"""From a question and its answer to the decisions that go on record.

member:CLIP:CONCEPT        yes, no      the clip is, or is not, of the concept
                           drop         the clip goes from the dataset
hold:CLIP                  keep, drop
source:RULE:SOURCE         release, revoke
copies:BEST+OTHER+...      drop-others, keep-all
identity:ONE:OTHER         same (OTHER is merged into ONE), different
cluster:NUMBER             split        it is several things
cluster:NUMBER+OTHER+...   merge        they are one, which keeps the first number
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from store.errors import InputError, NotFound
from store.gate import GateOptions
from store.records import IdentityDecided, Json, Record, ReviewDecided, digest
from store.removal import clips_showing
from store.reviewing.queue import shown
from store.reviewing.wider import RULES
from store.store import Store


def drafts(store: Store, item_id: str, answer: str, gate: GateOptions) -> list[Json]:
    """What the decisions that an answer makes say, but for who, when and why; those about identities have a `verb`.

    Raises:
        InputError: no such kind of question, or no answer to it.
        NotFound: it asks about something that the store does not hold.
    """
    kind, _, rest = item_id.partition(":")
    if kind not in _DRAFTS or not rest:
        raise InputError(f"item {item_id!r} is no question; they begin with {', '.join(f'{one}:' for one in _DRAFTS)}")
    found = _DRAFTS[kind](store, rest, answer, gate)
    if found is None:
        raise InputError(f"item {item_id!r} cannot be answered with {answer!r}; {_EXPECTED[kind]}")
    return found


def recorded(draft: Json, by: str, reason: str, decided_at: datetime) -> ReviewDecided | IdentityDecided:
    """The record of a draft; its id derives from all that it says."""
    kind: type[Record] = IdentityDecided if "verb" in draft else ReviewDecided
    record = kind.model_validate(draft | {"decision_id": "", "by": by, "reason": reason, "decided_at": decided_at})
    decision_id = digest([kind.topic, record.model_dump(mode="json")])[:32]
    made = record.model_copy(update={"decision_id": decision_id})
    assert isinstance(made, ReviewDecided | IdentityDecided)
    return made


def undoing(known: Json) -> Json:
    """The draft that undoes a decision, by its document in `store.reviews`."""
    subject = {name: known[name] for name in ("subject", "subject_id")}
    return subject | {"verdict": "undo", "undoes": known["decision_id"]}


def _clip(clip_id: str, verdict: str, **more: object) -> Json:
    return {"subject": "clip", "subject_id": clip_id, "verdict": verdict, **more}


def _member(store: Store, rest: str, answer: str, gate: GateOptions) -> list[Json] | None:
    clip_id, _, concept = rest.partition(":")
    if store.concepts.get(concept) is None:
        raise NotFound(f"item 'member:{rest}': no concept {concept!r}; there are {', '.join(store.concepts.all())}")
    features = shown(store, clip_id, concept, gate)
    if answer == "drop":
        return [_clip(clip_id, "drop")]
    if answer not in ("yes", "no"):
        return None
    return [_clip(clip_id, "relabel", concepts={concept: answer == "yes"}, shown=features)]


def _hold(store: Store, rest: str, answer: str, gate: GateOptions) -> list[Json] | None:
    features = shown(store, rest, None, gate)
    return [_clip(rest, answer, shown=features)] if answer in ("keep", "drop") else None


def _source(store: Store, rest: str, answer: str, _gate: GateOptions) -> list[Json] | None:
    rule, _, source = rest.partition(":")
    if store.sources.get(source) is None:
        raise NotFound(f"item 'source:{rest}': no source {source!r}; there are {', '.join(store.sources.all())}")
    if answer not in ("release", "revoke") or rule not in RULES:
        return None
    return [{"subject": "source", "subject_id": source, "verdict": answer, "covers": [rule]}]


def _copies(store: Store, rest: str, answer: str, _gate: GateOptions) -> list[Json] | None:
    clip_ids = list(dict.fromkeys(rest.split("+")))
    for clip_id in clip_ids:
        store.clips.get(clip_id)
    if len(clip_ids) < 2:
        return None
    if answer == "keep-all":
        return [_clip(clip_id, "keep") for clip_id in clip_ids]
    return [_clip(clip_id, "drop") for clip_id in clip_ids[1:]] if answer == "drop-others" else None


def _identity(store: Store, rest: str, answer: str, _gate: GateOptions) -> list[Json] | None:
    stays, _, other = rest.partition(":")
    for one in (stays, other):
        if not clips_showing(store, one):
            raise NotFound(f"item 'identity:{rest}': no identity {one!r}; GET /identities lists them")
    verbs = {"same": "merge", "different": "split"}
    if answer not in verbs or stays == other:
        return None
    # A split that names an other and no track moves nothing: it says that they are two, and is not asked again.
    return [{"verb": verbs[answer], "identity": stays, "others": [other]}]


def _cluster(store: Store, rest: str, answer: str, _gate: GateOptions) -> list[Json] | None:
    numbers = list(dict.fromkeys(rest.split("+")))
    for number in numbers:
        if not number.isdecimal() or not store.clips.count(f"cluster = {int(number)}"):
            raise NotFound(f"item 'cluster:{rest}': no cluster {number!r}")
    if answer != ("split" if len(numbers) == 1 else "merge"):
        return None
    return [{"subject": "cluster", "subject_id": numbers[0], "verdict": answer, "others": numbers[1:]}]


_DRAFTS: Mapping[str, Callable[[Store, str, str, GateOptions], list[Json] | None]] = {
    "member": _member,
    "hold": _hold,
    "source": _source,
    "copies": _copies,
    "identity": _identity,
    "cluster": _cluster,
}
_EXPECTED = {
    "member": "member:CLIP:CONCEPT takes yes, no or drop",
    "hold": "hold:CLIP takes keep or drop",
    "source": "source:age:SOURCE and source:licence:SOURCE take release or revoke",
    "copies": "copies:BEST+OTHER+... takes drop-others or keep-all",
    "identity": "identity:ONE:OTHER takes same or different",
    "cluster": "cluster:NUMBER takes split, cluster:NUMBER+OTHER+... takes merge",
}
