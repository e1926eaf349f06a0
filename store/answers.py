"""Answers of models about clips, raw, with their thinking: kept for audit and so that nothing is asked twice.

They lie beside the media, one JSON object to a clip and recipe: `answers/ab/<clip id>/<recipe>.json`. They are no part
of the clip table, no snapshot publishes them, and a removal deletes them with their clip.
"""

import json

from store.media import MediaStore
from store.records import Json


class AnswerStore:
    """Answers by clip and recipe, in the object storage of the media."""

    def __init__(self, media: MediaStore) -> None:
        self._media = media

    def get(self, clip_id: str, recipe: str) -> Json:
        """Answers by question; empty where none are kept.

        Raises:
            Unavailable: the storage is away.
        """
        return self._read(f"{_folder(clip_id)}/{recipe}.json")

    def put(self, clip_id: str, recipe: str, answers: Json) -> None:
        """Keep a clip's answers; durable on return.

        Raises:
            Unavailable: the storage is away or full.
        """
        data = json.dumps(answers, sort_keys=True, ensure_ascii=False).encode()
        self._media.write_named(f"{_folder(clip_id)}/{recipe}.json", data)

    def of(self, clip_id: str) -> dict[str, Json]:
        """All answers about a clip, by recipe."""
        names = self._media.names(_folder(clip_id))
        return {name.rpartition("/")[2].removesuffix(".json"): self._read(name) for name in names}

    def delete(self, clip_id: str) -> None:
        """Delete all answers about a clip; none is no error."""
        for name in self._media.names(_folder(clip_id)):
            self._media.delete(name)

    def _read(self, name: str) -> Json:
        found = self._media.read_named(name)
        return {} if found is None else json.loads(found)


def _folder(clip_id: str) -> str:
    return f"answers/{clip_id[:2]}/{clip_id}"
