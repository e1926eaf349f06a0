"""Why a clip is in the concepts that it is in, by what was known when they were judged last."""

import json

from store.records import Json
from store.store import Store


def evidence(store: Store, clip_id: str) -> list[Json]:
    """For each concept that the clip is in, by name: the concept, what found its clips, and the clip's entry there.

    Its keys, as of `ConceptChanged.members_key`: probability, by the label or by the distance; agreement, its
    neighbourhood's in all modalities together; agreements, in each; answer, a person's; None each where it is unknown.
    """
    found = []
    for name, body in sorted(store.concepts.all().items()):
        members = json.loads(store.media.read(body["members_key"]))
        own = next((member for member in members if member["clip_id"] == clip_id), None)
        if own is not None:
            known = {key: own.get(key) for key in ("probability", "agreement", "answer")}
            found.append(
                {"concept": name, "how": body.get("how", "query"), **known, "agreements": own.get("agreements", {})}
            )
    return found
