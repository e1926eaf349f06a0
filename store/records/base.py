"""What records are made of: frozen values, their digests, and the time."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

Json = dict[str, Any]
IDS_AT_ONCE = 10_000
"""Ids or media keys in one record: a megabyte, of the four that a broker of ours takes."""


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value in canonical form: sorted keys, no spaces, shortest floats."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def utc_now() -> datetime:
    """The wall clock, for entry points; everything below them is given the time."""
    return datetime.now(UTC)


class Value(BaseModel):
    """A frozen part of a record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Record(Value):
    """One message on one topic."""

    topic: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    def key(self) -> str:
        """The partition key: records with one key keep their order."""
        raise TypeError(f"{type(self).__name__} names no key")
