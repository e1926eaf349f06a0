"""The view: the same records give the same store, in any order, twice, or killed between two writes."""

import random
from dataclasses import replace
from typing import Any

import pytest

from store.errors import InputError
from store.records import (
    ClipCurated,
    ClipSegmented,
    DeadLetter,
    DeadReplayed,
    FootageSegmented,
    Record,
    ReviewDecided,
    SnapshotFinished,
    TrainingFinished,
    TrainingProgress,
    TrainingRequested,
)
from store.store import DOCUMENTS, Store
from store.view import View
from tests.store.made_footage import COLUMNS, NOON, Video, all_records, later

ONE = Video("one")
TWO = Video("two", n_clips=3, source="street", face_count=1)


def review(subject: str, subject_id: str, verdict: str, minutes: float, covers: tuple[str, ...] = ()) -> ReviewDecided:
    return ReviewDecided(
        decision_id=f"{subject_id}-{minutes}",
        subject=subject,
        subject_id=subject_id,
        verdict=verdict,
        covers=covers,
        by="Ada",
        reason="seen",
        decided_at=later(minutes),
    )


def undo(undone: ReviewDecided, minutes: float) -> ReviewDecided:
    again = review(undone.subject, undone.subject_id, "undo", minutes)
    return again.model_copy(update={"undoes": undone.decision_id})


def curated(clip_id: str, is_outlier: bool = False) -> ClipCurated:
    return ClipCurated(
        clip_id=clip_id,
        cluster=None if is_outlier else 2,
        cluster_probability=0.5,
        outlier_score=0.95 if is_outlier else 0.25,
        is_outlier=is_outlier,
        margin=0.5,
        is_boundary=False,
        recipe="cluster-1",
    )


def letter(step: str, minutes: float = 0.0, **about: str | None) -> DeadLetter:
    return DeadLetter(
        dead_id=f"dead-{step}",
        step=step,
        origin_topic="t",
        origin_partition=0,
        origin_offset=7,
        origin_key=None,
        kind="refused",
        raw_base64="e30=",
        reason="truncated",
        traceback="",
        attempts=1,
        died_at=later(minutes),
        **({"video_id": None, "clip_id": None} | about),
    )


def state(store: Store) -> dict[str, Any]:
    return {name: getattr(store, name).all() for name in DOCUMENTS} | {"clips": store.clips.select()}


RECORDS: list[Record] = [
    *all_records([ONE, TWO]),
    review("source", "street", "release", 1, ("age",)),
    review("clip", ONE.clip_ids[0], "drop", 2),
    review("clip", ONE.clip_ids[0], "keep", 3),
    undo(review("clip", ONE.clip_ids[0], "keep", 3), 4),
    undo(review("source", "street", "release", 1, ("age",)), 5),
    undo(undo(review("source", "street", "release", 1, ("age",)), 5), 6),
    letter("embed", clip_id=ONE.clip_ids[1], video_id=ONE.video_id),
]


def test_a_whole_road_ends_in_complete_kept_clips_of_a_done_video(store):
    changed = View(store).apply(ONE.road)
    assert changed == tuple(sorted(ONE.clip_ids))
    assert {(row["stage"], row["verdict"]) for row in store.clips.select()} == {("densified", "keep")}
    video = store.videos.get(ONE.video_id)
    assert (video["status"], video["name"], video["clip_ids"]) == ("done", "one.mp4", list(ONE.clip_ids))
    assert store.sources.get("park")["licences"] == ["CC0-1.0"]


@pytest.mark.parametrize("seed", range(4))
def test_any_order_and_grouping_gives_the_same_store(seed, store, tmp_path):
    View(store).apply(RECORDS)
    other = Store.open(tmp_path / "other", COLUMNS)
    chance = random.Random(seed)
    shuffled = [*RECORDS, *chance.sample(RECORDS, len(RECORDS) // 2)]
    chance.shuffle(shuffled)
    view = View(other)
    while shuffled:
        n = chance.randint(1, 9)
        view.apply(shuffled[:n])
        shuffled = shuffled[n:]
    assert state(other) == state(store)


def test_records_that_come_twice_change_nothing_but_are_told_again(store):
    view = View(store)
    first = view.apply(RECORDS)
    before = state(store)
    assert view.apply(RECORDS) == first
    assert state(store) == before


class Killed(Exception):
    """The process died."""


class Dying:
    """A table whose process dies before its first write."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def put(self, documents: dict[str, Any]) -> None:
        if documents:
            raise Killed


def test_killed_between_two_tables_and_told_again_it_finishes_and_announces(store):
    View(store).apply([record for record in ONE.road if record not in ONE.densified])
    with pytest.raises(Killed):
        View(replace(store, videos=Dying(store.videos))).apply(ONE.densified)
    assert store.videos.get(ONE.video_id)["status"] == "segmented"
    assert View(store).apply(ONE.densified) == tuple(sorted(ONE.clip_ids))
    assert store.videos.get(ONE.video_id)["status"] == "done"


def test_a_video_is_done_only_when_every_clip_has_ended(store):
    view = View(store)
    view.apply([r for r in ONE.road if r not in ONE.densified])
    assert store.videos.get(ONE.video_id)["status"] == "segmented"
    view.apply(ONE.densified[:1])
    assert store.videos.get(ONE.video_id)["status"] == "segmented"
    view.apply([letter("densify", clip_id=ONE.clip_ids[1], video_id=ONE.video_id)])
    assert store.videos.get(ONE.video_id)["status"] == "done"
    assert store.clips.get(ONE.clip_ids[1])["dead"] == "dead-densify"


def test_a_video_without_clips_is_done_when_it_is_read(store):
    nothing = Video("nothing", n_clips=0)
    View(store).apply(nothing.road)
    assert store.videos.get(nothing.video_id)["status"] == "done"


def test_a_clip_died_before_its_row_was_known_is_dead_when_it_comes(store):
    view = View(store)
    view.apply([letter("embed", clip_id=ONE.clip_ids[0], video_id=ONE.video_id)])
    view.apply([ONE.submitted, ClipSegmented(clip=ONE.clips[0])])
    row = store.clips.get(ONE.clip_ids[0])
    assert (row["stage"], row["dead"], row["media_key"]) == ("dead", "dead-embed", ONE.clips[0].media_key)


def test_a_dead_clip_that_is_replayed_lives(store):
    view = View(store)
    view.apply([ONE.submitted, ClipSegmented(clip=ONE.clips[0]), letter("embed", clip_id=ONE.clip_ids[0])])
    view.apply([ONE.embedded[0], ONE.densified[0]])
    assert store.clips.get(ONE.clip_ids[0])["stage"] == "densified"


def test_a_video_that_is_no_video_is_dead_and_lives_once_it_is_read(store):
    view = View(store)
    died = letter("segment", video_id=ONE.video_id)
    view.apply([died, ONE.submitted])
    video = store.videos.get(ONE.video_id)
    assert (video["status"], video["reason"], video["name"]) == ("dead", "truncated", "one.mp4")
    view.apply([ONE.segmented])
    assert store.videos.get(ONE.video_id)["status"] == "segmented"
    view.apply([died])
    assert store.videos.get(ONE.video_id)["status"] == "segmented"


def test_a_dead_video_that_is_submitted_again_is_on_its_way_again(store):
    view = View(store)
    died = letter("segment", minutes=1, video_id=ONE.video_id)
    again = ONE.submitted.model_copy(update={"submitted_at": later(5), "name": "again.mp4"})
    view.apply([ONE.submitted, died])
    view.apply([again])
    video = store.videos.get(ONE.video_id)
    assert (video["status"], video["name"]) == ("submitted", "one.mp4")
    view.apply([died, ONE.submitted, again])
    assert store.videos.get(ONE.video_id)["status"] == "submitted"
    view.apply([letter("segment", minutes=6, video_id=ONE.video_id)])
    assert store.videos.get(ONE.video_id)["status"] == "dead"


def test_a_replayed_letter_stays_replayed_until_it_dies_again(store):
    view = View(store)
    view.apply([letter("embed", minutes=0)])
    view.apply([DeadReplayed(dead_id="dead-embed", by="Ada", replayed_at=later(5))])
    view.apply([letter("embed", minutes=0)])
    assert store.dead_letters.get("dead-embed")["status"] == "replayed"
    view.apply([letter("embed", minutes=6)])
    assert store.dead_letters.get("dead-embed")["status"] == "dead"
    view.apply([DeadReplayed(dead_id="dead-embed", by="Ada", replayed_at=later(5))])
    assert store.dead_letters.get("dead-embed")["status"] == "dead"


def test_the_first_submission_of_a_video_stands(store):
    view = View(store)
    view.apply([ONE.submitted])
    view.apply([ONE.submitted.model_copy(update={"name": "again.mp4", "source": "elsewhere"})])
    assert store.videos.get(ONE.video_id)["name"] == "one.mp4"
    assert list(store.sources.all()) == ["park"]


def test_a_release_opens_the_sources_clips_and_a_revocation_closes_them(store):
    view = View(store)
    view.apply(TWO.road)
    assert store.clips.count("verdict = 'hold'") == 3
    assert view.apply([review("source", "street", "release", 1, ("age",))]) == tuple(sorted(TWO.clip_ids))
    assert store.clips.count("verdict = 'keep'") == 3
    assert set(store.sources.get("street")["released"]) == {"age"}
    view.apply([review("source", "street", "revoke", 2, ("age",))])
    assert store.clips.count("verdict = 'hold'") == 3


def test_a_release_that_is_told_again_after_its_revocation_opens_nothing(store):
    view = View(store)
    release = review("source", "street", "release", 1, ("age",))
    view.apply([*TWO.road, release, review("source", "street", "revoke", 1.001, ("age",))])
    view.apply([release])
    assert store.clips.count("verdict = 'hold'") == 3


def test_a_release_made_before_the_footage_came_counts(store):
    view = View(store)
    view.apply([review("source", "street", "release", 1, ("age",))])
    view.apply(TWO.road)
    assert store.clips.count("verdict = 'keep'") == 3
    assert store.sources.get("street")["licences"] == ["CC0-1.0"]


def test_a_release_for_the_licence_does_not_answer_for_age(store):
    View(store).apply([*TWO.road, review("source", "street", "release", 1, ("licence",))])
    assert {tuple(row["held_for"]) for row in store.clips.select()} == {("age",)}


def test_the_latest_review_of_a_clip_counts_to_the_microsecond(store):
    whole_second = review("clip", ONE.clip_ids[0], "drop", 1)
    moment_later = review("clip", ONE.clip_ids[0], "keep", 1.0001)
    View(store).apply([*ONE.road, moment_later, whole_second])
    assert store.clips.get(ONE.clip_ids[0])["review"]["verdict"] == "keep"
    assert len(store.reviews.all("decided")) == 2


def test_what_is_undone_gives_way_to_what_stood_before_and_an_undone_undoing_restores_it(store):
    view = View(store)
    first, second = review("clip", ONE.clip_ids[0], "drop", 1), review("clip", ONE.clip_ids[0], "keep", 2)
    taken_back = undo(second, 3)
    seen = []
    for record in (first, second, taken_back, undo(taken_back, 4), undo(first, 5), undo(second, 6)):
        view.apply([*ONE.road, record])
        seen.append((store.clips.get(ONE.clip_ids[0])["review"] or {}).get("verdict"))
    assert seen == ["drop", "keep", "drop", "keep", "keep", None]


def test_an_undone_release_holds_the_clips_again(store):
    release = review("source", "street", "release", 1, ("age",))
    View(store).apply([*TWO.road, undo(release, 2), release])
    assert store.clips.count("verdict = 'hold'") == 3
    assert store.sources.get("street")["released"] == {}


def test_a_relabelled_clip_is_told_again_and_keeps_its_verdict(store):
    view = View(store)
    view.apply(ONE.road)
    said = review("clip", ONE.clip_ids[0], "relabel", 1).model_copy(update={"concepts": {"calm": False}})
    assert view.apply([said]) == (ONE.clip_ids[0],)
    assert store.clips.get(ONE.clip_ids[0])["verdict"] == "keep"
    assert store.clips.get(ONE.clip_ids[0])["review"] is None


def test_a_decision_of_before_there_was_undoing_counts_again_when_a_later_one_is_undone(store):
    view = View(store)
    first, second = review("clip", ONE.clip_ids[0], "drop", 1), review("clip", ONE.clip_ids[0], "keep", 2)
    view.apply([*ONE.road, first, second])
    subject = f"clip:{ONE.clip_ids[0]}"
    store.reviews.put({subject: {k: v for k, v in store.reviews.get(subject).items() if k != "decision_ids"}})
    view.apply([undo(second, 3)])
    assert store.clips.get(ONE.clip_ids[0])["review"]["verdict"] == "drop"


def test_an_outlier_is_held_and_its_change_is_told_once(store):
    view = View(store)
    view.apply(ONE.road)
    held = curated(ONE.clip_ids[0], is_outlier=True)
    assert view.apply([held]) == (ONE.clip_ids[0],)
    assert store.clips.get(ONE.clip_ids[0])["held_for"] == ["outlier"]
    assert view.apply([held, curated(ONE.clip_ids[1])]) == ()
    assert store.clips.get(ONE.clip_ids[1])["cluster"] == 2


def test_a_curated_clip_that_no_row_knows_makes_none(store):
    View(store).apply([curated("unknown")])
    assert store.clips.count() == 0


def test_a_row_keeps_every_decision_with_what_it_rests_on(store):
    View(store).apply(TWO.road)
    age = next(one for one in store.clips.get(TWO.clip_ids[0])["decisions"] if one["rule"] == "age")
    assert (age["verdict"], age["score"], age["threshold"], age["by"]) == ("hold", 1.0, 0.0, "rules")
    assert age["recipe"]


def test_a_value_that_does_not_fit_writes_no_clip_of_the_batch(store):
    wrong = ONE.embedded[0].model_copy(update={"values": {"visual": [1.0]}})
    with pytest.raises(InputError, match="does not fit"):
        View(store).apply([*TWO.road, wrong])
    assert store.clips.count() == 0


def run_requested() -> TrainingRequested:
    return TrainingRequested(
        run_id="run",
        concept="calm",
        stage="A",
        members_key="k",
        members_digest="d",
        parent=None,
        settings={},
        requested_by="scheduler",
        reason="ready",
        requested_at=NOON,
    )


def run_finished(status: str = "succeeded") -> TrainingFinished:
    return TrainingFinished(
        run_id="run",
        concept="calm",
        status=status,
        reason="",
        artefacts={},
        metrics={},
        finished_at=later(5),
    )


def progress(step: int) -> TrainingProgress:
    return TrainingProgress(run_id="run", phase="lora", step=step, steps=10, loss=0.5)


def test_a_run_moves_from_requested_over_running_to_its_end(store):
    view = View(store)
    seen = []
    for record in (run_requested(), progress(3), run_finished(), progress(4), run_requested()):
        view.apply([record])
        seen.append(store.runs.get("run")["status"])
    assert seen == ["requested", "running", "succeeded", "succeeded", "succeeded"]
    assert store.runs.get("run")["progress"]["step"] == 3
    assert store.runs.get("run")["stage"] == "A"


def test_a_failed_snapshot_may_be_made_after_all_and_then_stands(store):
    def finished(status: str) -> SnapshotFinished:
        return SnapshotFinished(
            tag="v1",
            status=status,
            reason="",
            digest=None,
            table_version=None,
            folder=None,
            n_kept=0,
            n_dropped=0,
            requested_at=NOON,
        )

    view = View(store)
    seen = []
    for status in ("failed", "created", "failed", "withdrawn", "created"):
        view.apply([finished(status)])
        seen.append(store.snapshots.get("v1")["status"])
    assert seen == ["failed", "created", "created", "withdrawn", "withdrawn"]


def test_what_a_video_became_does_not_depend_on_when_it_was_submitted(store):
    View(store).apply([record for record in ONE.road if record is not ONE.submitted])
    segmented = store.videos.get(ONE.video_id)
    assert isinstance(ONE.segmented, FootageSegmented)
    assert segmented["clip_ids"] == list(ONE.clip_ids)
    View(store).apply([ONE.submitted])
    assert store.videos.get(ONE.video_id)["status"] == "done"
