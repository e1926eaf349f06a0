"""From a document of the store back to the record that made it."""

from typing import TypeVar

from store.records import Json, Record

R = TypeVar("R", bound=Record)


def record_of(kind: type[R], document: Json) -> R:
    """The record of this kind that a document was made by; what was added to it since is left out."""
    return kind.model_validate({name: document[name] for name in kind.model_fields if name in document})
