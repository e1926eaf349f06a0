"""The store: the clip table, the small tables and media storage of one data folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from store.clips import ClipTable
from store.media import MediaStore
from store.records import Column
from store.tables import DocumentTable, connect

DOCUMENTS = ("videos", "sources", "reviews", "removals", "concepts", "runs", "snapshots", "dead_letters")
"""Names of the small tables."""


@dataclass(frozen=True)
class Store:
    """All that is durable.

    videos: by video id; status is submitted, segmented, done, dead or removed.
    sources: by name; licence as last submitted, `released` (age, licence: who, why, when).
    reviews, removals: the ledger of people's decisions and the proofs of removal.
    concepts: by name; the last `concepts.changed`.
    runs: by run id; requested, running, succeeded, failed or withdrawn.
    snapshots: by tag; requested, created, failed or withdrawn.
    dead_letters: by dead id; dead or replayed.
    """

    clips: ClipTable
    media: MediaStore
    videos: DocumentTable
    sources: DocumentTable
    reviews: DocumentTable
    removals: DocumentTable
    concepts: DocumentTable
    runs: DocumentTable
    snapshots: DocumentTable
    dead_letters: DocumentTable

    @classmethod
    def open(cls, folder: str | Path, columns: Sequence[Column] = ()) -> "Store":
        """Open, or create, the store under a folder or an object storage URL.

        Args:
            columns: see `ClipTable`; only the writing process passes them.
        """
        database = connect(f"{folder}/lance")
        return cls(
            clips=ClipTable(database, columns),
            media=MediaStore(f"{folder}/media"),
            **{name: DocumentTable(database, name) for name in DOCUMENTS},
        )

    def purge(self) -> None:
        """Make deleted and replaced rows of every table vanish from disk; in the writing process, between writes."""
        self.clips.purge()
        for name in DOCUMENTS:
            getattr(self, name).purge()
