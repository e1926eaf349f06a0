"""What annotates the clips of a store, as the steps that ask for it and the process that does it share it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from processors.distill.annotate import Distiller
from processors.distill.calibrate import Calibration, calibrate
from processors.distill.clip_tokens import count_tokens
from processors.distill.vocabulary import Vocabulary, load_vocabulary
from store.calibrations import latest_calibration
from store.records import AnnotationDue, ClipDensified, Column, Json
from store.store import Store
from streams.triggers import word_of

Outcomes = dict[str, ClipDensified | str]
"""Clip id to its annotation, or the reason why there is none."""
CALIBRATED_ON = 10_000
"""Chosen: clips that a calibration reads at most; its outer percentiles then rest on 200 clips each."""


@dataclass(frozen=True)
class About:
    """What annotates here, known before any model is loaded.

    engine: its id. reasoned_by: recipe of the reasoning. vocabulary: file.
    absent: why the profile's engine is not the one; None where it is.
    """

    engine: str
    reasoned_by: str
    vocabulary: Path
    absent: str | None


class Annotating:
    """Which annotations of a store are as they should be, and its calibrations.

    is_word: tells what may not be a trigger token.
    """

    def __init__(self, about: About) -> None:
        self._reasoned_by = about.reasoned_by
        self._vocabulary = load_vocabulary(about.vocabulary)
        self.is_word = word_of(self._vocabulary)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the attributes."""
        return self._vocabulary.columns

    def recipe(self, store: Store) -> str:
        """Recipe of the annotations as they should be now."""
        return distiller_of(self._vocabulary, latest_calibration(store)).recipe(self._reasoned_by)

    def due(self, store: Store, reason: str) -> Iterator[AnnotationDue]:
        """The annotated clips whose annotation another recipe made than the present one."""
        recipe = self.recipe(store)
        where = f"stage = 'densified' AND annotation_recipe != '{recipe}'"
        for row in store.clips.select(where=where, columns=["video_id"]):
            yield AnnotationDue(clip_id=row["clip_id"], video_id=row["video_id"], reason=reason)

    def calibrate(self, store: Store) -> Calibration:
        """A calibration by the store's clips, or an even sample of them: clip ids are hashes."""
        annotated = "stage = 'densified'"
        share = min(1.0, CALIBRATED_ON / max(1, store.clips.count(annotated)))
        sample = f"{annotated} AND clip_id < '{int(share * 0xFFFF):04x}'" if share < 1.0 else annotated
        known = set(store.clips.schema.names)
        read = [column for column in ("duration_s", *self._vocabulary.control_columns) if column in known]
        rows = store.clips.select(where=sample, columns=read)
        return calibrate(((row, row["duration_s"]) for row in rows), self._vocabulary)


def distiller_of(vocabulary: Vocabulary, calibration: Json | None) -> Distiller:
    """The distiller by a calibration's document; None: by the vocabulary's tables."""
    if calibration is None:
        return Distiller(vocabulary, count_tokens)
    tables = {name: tuple((value, level) for value, level in table) for name, table in calibration["tables"].items()}
    return Distiller(vocabulary, count_tokens, tables, calibration["calibration_id"])
