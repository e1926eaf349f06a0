"""Describes clips with the profile's engine and distils what it says; for models, a process of their own."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from processors.decode import read_samples
from processors.distill.annotate import Distiller
from processors.distill.vocabulary import DEFAULT_VOCABULARY
from processors.profile import ReasonLine
from processors.reason.engine import Picture
from processors.reason.opening import open_reasoner
from processors.reason.reasoner import Reasoner, Subject
from processors.reason.sheet import show_frames
from store.answers import AnswerStore
from store.calibrations import latest_calibration
from store.clip_columns import ClipRow
from store.errors import CliploomError, InputError, Unavailable
from store.records import AnnotationDue, ClipDensified, ClipEmbedded, Reasoning
from store.store import Store, open_media
from store.tables import sql_in
from streams.annotating import About, Outcomes, distiller_of


def make_worker(
    data: str, profile_name: str, device: str, key: str = ""
) -> Callable[[Sequence[ClipEmbedded | AnnotationDue] | None, Callable[[Outcomes], None]], About | None]:
    """A worker that emits each record's outcome as it comes; for None it tells what annotates, and loads nothing."""
    reasoner, line, absent = open_reasoner(profile_name, Path(data, "models"), AnswerStore(open_media(data)), key)
    vocabulary_path = line.vocabulary or DEFAULT_VOCABULARY
    opened: list[Store] = []

    def work(records: Sequence[ClipEmbedded | AnnotationDue] | None, emit: Callable[[Outcomes], None]) -> About | None:
        if records is None:
            return About(reasoner.engine.id, reasoner.recipe, vocabulary_path, absent)
        if not opened:
            reasoner.engine.load(device)
            opened.append(Store.open(data))
        distiller = distiller_of(reasoner.vocabulary, latest_calibration(opened[0]))
        for group in _annotated(opened[0], reasoner, line, distiller, records):
            emit(group)
        return None

    return work


def _annotated(
    store: Store,
    reasoner: Reasoner,
    line: ReasonLine,
    distiller: Distiller,
    records: Sequence[ClipEmbedded | AnnotationDue],
) -> Iterator[Outcomes]:
    """Outcomes as they come; those of an engine that asks nobody come together."""
    wanted = [r.clip_id for r in records if isinstance(r, AnnotationDue) or reasoner.engine.looks]
    rows = store.clips.get_many(wanted) if wanted else {}
    found: Outcomes = {}
    subjects: list[Subject] = []
    videos: dict[str, str] = {}
    for record in records:
        row = rows.get(record.clip_id)
        if isinstance(record, AnnotationDue) and (row is None or row["recipes"] is None):
            continue  # it was removed, or is not measured yet and comes by itself
        videos[record.clip_id] = record.video_id
        subjects.append(_subject(store, record, row, reasoner, line))
    for index, reasoning in _reasoned(reasoner, subjects):
        subject = subjects[index]
        try:
            annotation = distiller.distil(subject.clip_id, subject.duration_s, subject.values, reasoning)
        except CliploomError as error:
            found[subject.clip_id] = str(error)
            continue
        found[subject.clip_id] = ClipDensified(
            clip_id=subject.clip_id,
            video_id=videos[subject.clip_id],
            annotation=annotation,
            reasoning=reasoning,
            recipe=distiller.recipe(reasoning.recipe),
        )
        if not reasoner.engine.is_free:
            yield found
            found = {}
    if found:
        yield found


def _reasoned(reasoner: Reasoner, subjects: Sequence[Subject]) -> Iterator[tuple[int, Reasoning]]:
    """As `Reasoner.reason`.

    Raises:
        InputError: a value of one of the clips has not the form of its column.
    """
    try:
        yield from reasoner.reason(subjects)
    except (TypeError, KeyError) as error:
        named = ", ".join(subject.clip_id for subject in subjects)
        raise InputError(
            f"clips {named}: a measured value has not the form of its column ({type(error).__name__}: {error});"
            " measure them again with the profile of this service"
        ) from error


def _subject(
    store: Store, record: ClipEmbedded | AnnotationDue, row: ClipRow | None, reasoner: Reasoner, line: ReasonLine
) -> Subject:
    if isinstance(record, ClipEmbedded):
        values, recipes, duration_s = record.values, record.recipes, record.duration_s
    else:
        assert row is not None
        values, recipes, duration_s = row, row["recipes"], row["duration_s"]
    if reasoner.engine.looks and row is not None:
        values = {**values, "identities": row.get("identity_ids")}
    context = ""
    if line.context and reasoner.engine.looks and row is not None:
        context = _context(store, row, line.context)

    def show() -> tuple[Picture, ...]:
        if row is None or row.get("samples_key") is None:
            raise Unavailable(f"clip {record.clip_id} is measured and not stored yet; it will be asked about then")
        return show_frames(read_samples(store.media.read(row["samples_key"]), record.clip_id), line.frames)

    return Subject(record.clip_id, duration_s, values, recipes, context, show)


def _context(store: Store, row: ClipRow, most: int) -> str:
    """What is known of the last clips before this one in its video, as lines for the prompt."""
    before = f"{sql_in('video_id', [row['video_id']])} AND start_s < {row['start_s']} AND caption IS NOT NULL"
    rows = store.clips.select(where=before, columns=["start_s", "duration_s", "caption"])
    told = [
        f"- {row['start_s'] - one['start_s']:.1f} s earlier: {one['caption']}"
        for one in sorted(rows, key=lambda one: one["start_s"])[-most:]
    ]
    return "\n".join(["Earlier in the same video:", *told]) if told else ""
