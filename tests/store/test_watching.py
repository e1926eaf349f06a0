"""Watching a store: a reference, an alarm, its answer, and what is kept of removed footage."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from store.clusters.curator import Curator
from store.clusters.folder import forget_all, kept
from store.clusters.sample import order_of
from store.records import ClipDensified, ClipEmbedded, DriftAnswered, RemovalRequested
from store.removal import remove
from store.view import View
from store.watching import Watch
from tests.store.made_footage import NOON, Video, all_records


def put(store, prefix, n, **how):
    """n videos; their clip ids."""
    return put_named(store, [f"{prefix}{number}" for number in range(n)], **how)


def put_named(store, names, away=0.0, n_clips=2, submitted_at=NOON):
    ids, records = [], []
    for name in names:
        video = Video(name, n_clips=n_clips, submitted_at=submitted_at)
        place = np.random.default_rng([*name.encode()]).normal(0, 1, 4)
        records += [
            record.model_copy(update={"values": record.values | {"visual": (place + away).tolist()}})
            if isinstance(record, ClipEmbedded)
            else record
            for record in all_records([video])
        ]
        ids += video.clip_ids
    View(store).apply(records)
    return ids


@pytest.fixture
def watched(store):
    """A store of seventy videos that is clustered and watched."""
    ids = put(store, "usual", 70)
    curator = Curator(store)
    while records := curator.follow(settle=True):
        View(store).apply(records)
    watch = Watch(store)
    assert watch.follow(curator.clusters, ids, NOON) == []
    return store, curator.clusters, watch


def test_usual_footage_raises_nothing_and_strange_footage_one_alarm(watched):
    store, clusters, watch = watched
    assert watch.follow(clusters, put(store, "more", 20), NOON) == []
    strange = put(store, "strange", 40, away=9.0)
    (alarm,) = watch.follow(clusters, strange, NOON)
    assert alarm.score >= alarm.threshold
    assert alarm.sources == {"park": alarm.sources["park"]}
    assert "place" in alarm.streams
    View(store).apply([alarm])
    assert store.alarms.get(alarm.alarm_id)["status"] == "open"
    assert watch.follow(clusters, strange, NOON) == []


def test_an_alarm_that_nobody_knows_of_is_told_by_the_next_process(watched):
    store, clusters, watch = watched
    strange = put(store, "strange", 40, away=9.0)
    (alarm,) = watch.follow(clusters, strange, NOON)
    (again,) = Watch(store).follow(clusters, (), NOON + timedelta(hours=1))
    assert again.alarm_id == alarm.alarm_id


def test_once_it_is_answered_new_footage_is_compared_with_that_of_now(watched):
    store, clusters, watch = watched
    strange = put(store, "strange", 40, away=9.0)
    (alarm,) = watch.follow(clusters, strange, NOON)
    answer = DriftAnswered(alarm_id=alarm.alarm_id, by="Ada", reason="winter", answered_at=NOON)
    View(store).apply([answer, alarm])
    assert store.alarms.get(alarm.alarm_id)["status"] == "answered"
    assert watch.follow(clusters, (), NOON) == []
    assert watch.follow(clusters, put(store, "calm", 5), NOON) == []


def test_a_state_that_is_lost_is_a_new_reference(watched):
    store, clusters, _ = watched
    forget_all(store.folder)
    fresh = Watch(store)
    assert fresh.follow(clusters, put(store, "strange", 40, away=9.0), NOON) == []


def n_compared(store):
    with np.load(kept(store.folder, "drift.npz")) as arrays:
        return json.loads(str(arrays["told"]))["n_videos"]


def test_a_video_is_compared_once_all_its_clips_have_come(watched):
    """A part of it would be another kind of draw than the whole ones of the reference."""
    store, clusters, watch = watched
    video = Video("late", n_clips=3)
    records = all_records([video])
    last = next(r for r in records if isinstance(r, ClipDensified) and r.clip_id == video.clip_ids[-1])
    View(store).apply([record for record in records if record is not last])
    watch.follow(clusters, video.clip_ids[:2], NOON)
    assert n_compared(store) == 0
    View(store).apply([last])
    watch.follow(clusters, video.clip_ids[2:], NOON)
    assert n_compared(store) == 1


def test_an_alarm_says_by_which_modality_and_to_which_clusters_footage_moved(watched):
    store, clusters, watch = watched
    (alarm,) = watch.follow(clusters, put(store, "strange", 40, away=9.0), NOON)
    assert {"place", "place visual"} <= alarm.streams.keys()
    assert sum(alarm.clusters.values()) == sum(alarm.sources.values())


def held(store):
    """Ids of the videos that are named in the file, and the vectors in it by stream."""
    with np.load(kept(store.folder, "drift.npz")) as arrays:
        near = {name: arrays[name] for name in arrays if name.startswith("near ")}
        return json.loads(str(arrays["told"]))["seen"], near


def test_a_process_that_lives_on_keeps_nothing_of_removed_footage(watched, tmp_path):
    """The removal deletes the file; what the process remembers must not bring it back."""
    store, clusters, watch = watched
    seen, near = held(store)
    gone = seen[0]
    row = store.clips.select(f"video_id = '{gone}'", columns=["visual"])[0]
    lies = clusters.space.project({"visual": np.array([row["visual"]], np.float32)})
    assert np.isclose(near["near place visual"], lies, atol=1e-5).all(axis=1).any()
    request = RemovalRequested(
        removal_id="r1", subject="video", subject_id=gone, by="Ada", reason="asked", requested_at=NOON
    )
    View(store).apply([remove(store, request, tmp_path, NOON)])
    watch.follow(clusters, (), NOON)
    seen, near = held(store)
    assert gone not in seen
    assert not np.isclose(near["near place visual"], lies, atol=1e-5).all(axis=1).any()


def test_what_is_told_anew_of_older_videos_is_compared_with_nothing(watched):
    """Their source was released, or they were annotated anew."""
    store, clusters, watch = watched
    before = put(store, "older", 40, away=9.0, submitted_at=NOON - timedelta(hours=1))
    assert watch.follow(clusters, before, NOON) == []
    assert n_compared(store) == 0
    watch.follow(clusters, put(store, "since", 3), NOON)
    assert n_compared(store) == 3


def test_a_state_of_before_there_was_a_time_in_it_is_a_new_reference(watched):
    store, clusters, _ = watched
    path = kept(store.folder, "drift.npz")
    with np.load(path) as arrays:
        all_ = {name: arrays[name] for name in arrays}
    told = json.loads(str(all_["told"]))
    old = {name: told[name] for name in told.keys() - {"since", "n_answered"}}
    np.savez(path, **all_ | {"told": np.array(json.dumps(old | {"n_videos": 7}))})
    assert Watch(store).follow(clusters, (), NOON) == []
    assert n_compared(store) == 0


def test_an_answer_does_not_end_the_watch_where_the_next_reference_is_of_the_same_videos(store):
    """Of more than 400 videos the same ones stand for all, however strange those are that came."""
    put(store, "usual", 410, n_clips=1)
    curator = Curator(store)
    while records := curator.follow(settle=True):
        View(store).apply(records)
    watch, alarms = Watch(store), []
    watch.follow(curator.clusters, (), NOON)
    last = max(held(store)[0], key=order_of)
    names = (f"strange{number}" for number in range(10_000))
    strange = [name for name in names if order_of(Video(name).video_id) > order_of(last)]
    for day in (1, 2):
        now = NOON + timedelta(days=day)
        came = put_named(store, [strange.pop() for _ in range(40)], away=9.0, n_clips=1, submitted_at=now)
        (alarm,) = watch.follow(curator.clusters, came, now)
        answer = DriftAnswered(alarm_id=alarm.alarm_id, by="Ada", reason="winter", answered_at=now)
        View(store).apply([alarm, answer])
        assert watch.follow(curator.clusters, came, now + timedelta(minutes=1)) == []
        alarms.append(alarm.alarm_id)
    assert len(set(alarms)) == 2


class Noting:
    """A clip table that notes which columns of how many rows were read."""

    def __init__(self, clips):
        self._clips = clips
        self.read = []

    def __getattr__(self, name):
        return getattr(self._clips, name)

    def select(self, where, columns):
        rows = self._clips.select(where, columns)
        self.read.append((set(columns), len(rows)))
        return rows

    def get_many(self, clip_ids, columns):
        rows = self._clips.get_many(clip_ids, columns)
        self.read.append((set(columns), len(rows)))
        return rows


def test_of_a_long_video_few_clips_are_read_and_of_these_what_is_compared(watched):
    store, clusters, _ = watched
    clips = Noting(store.clips)
    long = put(store, "long", 1, n_clips=50)
    Watch(replace(store, clips=clips)).follow(clusters, long, NOON)
    assert n_compared(store) == 1
    compared = {"video_id", "source", "control", *clusters.space.modalities}
    assert clips.read[-2:] == [({"video_id"}, 50), (compared, 16)]
