"""The store: the clip table, the small tables and media storage of one data folder."""

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from store.clips import ClipTable
from store.errors import Conflict, SettingsError
from store.files import replacing
from store.lock import hold
from store.media import MediaStore
from store.records import Column
from store.tables import DocumentTable, connect

DOCUMENTS = (
    "videos",
    "sources",
    "reviews",
    "removals",
    "identity_decisions",
    "calibrations",
    "foundations",
    "cluster_events",
    "concepts",
    "concept_history",
    "alarms",
    "tokens",
    "training_decisions",
    "runs",
    "adapter_decisions",
    "snapshots",
    "dead_letters",
)
"""Names of the small tables."""
_CHOSEN = "store.json"
_OPENING_S = 10.0
"""Others are waited for so long; one takes a second or two. Chosen."""


@dataclass(frozen=True)
class Store:
    """All that is durable.

    folder: of the tables, and of what curation keeps beside them.
    videos: by video id; status is submitted, segmented, done, dead or removed.
    sources: by name; licence as last submitted, `released` (age, licence: who, why, when).
    reviews, removals: the ledger of people's decisions and the proofs of removal.
    identity_decisions: by decision id; merges, splits and what was undone.
    calibrations: by request id; requested or adopted.
    foundations: by hash of the space that clips were compared in; the last has the most clips.
    cluster_events: by event id; born, split, merged or died.
    concepts: by name; the last `concepts.changed`.
    concept_history: numbers of each concept, by name and slot: minutes of a day, hours of sixty days, days.
    alarms: of drift, by alarm id; open or answered.
    tokens: by token; reserved for a concept or an identity, or removed: whose it was is forgotten.
    training_decisions: by decision id; train or wait.
    runs: by run id; requested, running, succeeded, failed or withdrawn.
    adapter_decisions: by decision id; promote or retire.
    snapshots: by tag; requested, created, failed or withdrawn.
    dead_letters: by dead id; dead or replayed.
    """

    folder: Path
    clips: ClipTable
    media: MediaStore
    videos: DocumentTable
    sources: DocumentTable
    reviews: DocumentTable
    removals: DocumentTable
    identity_decisions: DocumentTable
    calibrations: DocumentTable
    foundations: DocumentTable
    cluster_events: DocumentTable
    concepts: DocumentTable
    concept_history: DocumentTable
    alarms: DocumentTable
    tokens: DocumentTable
    training_decisions: DocumentTable
    runs: DocumentTable
    adapter_decisions: DocumentTable
    snapshots: DocumentTable
    dead_letters: DocumentTable

    @classmethod
    def open(
        cls, folder: str | Path, columns: Sequence[Column] = (), tables: str = "lance", media: MediaStore | None = None
    ) -> "Store":
        """Open, or create, the store under a folder.

        Args:
            columns: see `ClipTable`; only the writing process passes them.
            tables: name of the tables' folder; a rebuild fills another one.
            media: other media storage than the folder's.
        """
        database = connect(f"{folder}/{tables}")
        with ExitStack() as held:
            # One process at a time: LanceDB refuses one of two that make the same table, column or index.
            with suppress(Conflict):  # one that was stopped while it opened keeps nobody out
                held.enter_context(hold(Path(folder, f"{tables}.opening"), _OPENING_S))
            return cls(
                folder=Path(folder),
                clips=ClipTable(database, columns),
                media=media or open_media(folder),
                **{name: DocumentTable(database, name) for name in DOCUMENTS},
            )

    def maintain(self) -> None:
        """Keep every table quick to read and free its old versions; in the writing process, between writes."""
        self.clips.maintain()
        for name in DOCUMENTS:
            getattr(self, name).maintain()

    def purge(self) -> None:
        """Make deleted and replaced rows of every table vanish from disk; in the writing process, between writes."""
        self.clips.purge()
        for name in DOCUMENTS:
            getattr(self, name).purge()


def open_media(folder: str | Path) -> MediaStore:
    """Media storage of the store under a folder: where `choose_media` said, else its subfolder `media`."""
    chosen = Path(folder, _CHOSEN)
    return MediaStore(json.loads(chosen.read_text())["media"] if chosen.is_file() else f"{folder}/media")


def choose_media(folder: Path, url: str) -> None:
    """Keep the media of the store under `folder` in object storage; on record, so that every process finds them.

    Args:
        url: any that fsspec knows (`s3://bucket/prefix`); credentials come from its own environment variables.

    Raises:
        SettingsError: the store keeps its media elsewhere already, or fsspec cannot open the URL.
    """
    chosen = Path(folder, _CHOSEN)
    known = json.loads(chosen.read_text())["media"] if chosen.is_file() else None
    if known == url:
        return
    if known is not None or Path(folder, "media").is_dir():
        raise SettingsError(
            f"--media {url}: the store in {folder} keeps its media in {known or Path(folder, 'media')};"
            " copy them there first and edit, or create, " + str(chosen)
        )
    try:
        MediaStore(url)
    except (ImportError, ValueError, OSError) as error:
        raise SettingsError(f"--media {url} cannot be opened: {error}; for S3: pip install 'cliploom[s3]'") from error
    with replacing(chosen) as unfinished:
        unfinished.write_text(json.dumps({"media": url}) + "\n")
