"""The `cliploom` command against a live service."""

import json
import threading

import pytest

from api.cli import app
from api.client import Client
from api.commands.ingest import arriving_files
from api.commands.output import seconds, size
from api.commands.workers import streams_command


@pytest.fixture
def folder(tmp_path, video_bytes):
    """A folder outside the allowed ones, with a video, a text file that is named as one, and another file."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "beach.mp4").write_bytes(video_bytes)
    (folder / "notes.mp4").write_text("no video at all")
    (folder / "readme.txt").touch()
    return folder


def test_a_folder_is_ingested_file_by_file_with_a_summary(run, live, folder):
    code, out, _ = run("ingest", folder, "--source", "beach", "--licence", "MIT")

    assert code == 1
    assert f"accepted {folder}/beach.mp4" in out
    assert f"refused {folder}/notes.mp4: notes.mp4: not a video; found 15 bytes of text" in out
    assert "1 accepted, 1 refused; 1 other files in the folders were left out" in out
    assert [(v["source"], v["licence"]) for v in live.store.videos.all().values()] == [("beach", "MIT")]


def test_ingesting_again_changes_nothing_and_succeeds(run_json, live, folder):
    first = run_json("ingest", folder / "beach.mp4", "--source", "beach")
    second = run_json("ingest", folder / "beach.mp4", "--source", "elsewhere")

    assert (first[0], second[0]) == (0, 0)
    assert second[1]["summary"] == {"accepted": 0, "known": 1, "again": 0, "refused": 0, "others": 0}
    assert second[1]["files"][0]["video_id"] == first[1]["files"][0]["video_id"]
    assert len(live.published) == 1


def uploads(live):
    metrics = live.http.get("/metrics").text
    return [line for line in metrics.splitlines() if 'route="/footage/upload"' in line and "_total{" in line]


def test_a_file_in_an_allowed_folder_goes_by_path_and_any_other_by_upload(run, live, video_file, folder):
    run("ingest", video_file, "--source", "beach")
    assert uploads(live) == []

    run("ingest", folder / "notes.mp4", "--source", "beach")
    assert len(uploads(live)) == 1


@pytest.mark.parametrize(
    ("url", "is_local"),
    [("http://localhost:1", True), ("http://127.0.0.2:1", True), ("http://[::1]:1", True), ("http://192.0.2.1", False)],
)
def test_only_a_service_on_this_machine_is_given_paths(url, is_local):
    assert Client(url).is_local == is_local


def test_a_folder_without_videos_is_refused(run, tmp_path):
    (tmp_path / "empty").mkdir()

    code, _, told = run("ingest", tmp_path / "empty", "--source", "beach")

    assert code == 1
    assert "no video in" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("ingest", "/no/such/file", "--source", "beach"),
        ("ingest", "/tmp"),
        ("search", "words", "--like", "clip"),
        ("search", "--column", "visual_embedding"),
        ("release", "beach", "--by", "Ada"),
        ("remove", "clip", "c1", "--by", "Ada", "--reason", "r"),
        ("train", "run", "lively", "--stage", "C"),
        ("train", "lively"),
        ("train", "pause", "r1", "--by", "Ada"),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_exit_code_2(run, arguments):
    assert run(*arguments)[0] == 2


def test_arriving_files_come_once_they_are_complete(tmp_path, video_bytes):
    (tmp_path / "there.mp4").write_bytes(video_bytes)
    (tmp_path / "notes.txt").touch()
    stop = threading.Event()
    arriving = arriving_files([tmp_path], stop)

    first = next(arriving)
    (tmp_path / "new.mp4").write_bytes(video_bytes)
    second = next(arriving)
    stop.set()

    assert (first.name, second.name) == ("there.mp4", "new.mp4")
    assert list(arriving) == []


def test_without_a_service_every_command_says_how_to_start_one(run, run_json, video_file):
    nowhere = "http://127.0.0.1:1"
    for arguments in (["status"], ["search"], ["why", "c"], ["concepts"], ["dead", "list"], ["snapshot", "list"]):
        code, out, told = run(*arguments, url=nowhere)
        assert (code, out) == (1, "")
        assert f"no service answers at {nowhere}" in told
        assert "start one with `cliploom up`" in told
    code, out, _ = run("ingest", video_file, "--source", "beach", "--json", url=nowhere)
    assert (code, json.loads(out)["error"]) == (1, "NoService")


def test_a_url_that_is_another_service_is_told(run, tmp_path):
    code, _, told = run("status", url="nonsense://here")

    assert code == 1
    assert "did not answer" in told


def test_status_counts_and_says_what_is_on_its_way(run, run_json, live, make_clip, submitted):
    live.apply(submitted("v1"))
    make_clip(0, face_count=1)

    code, out, _ = run("status")

    assert code == 0
    assert "1 hold: age" in out
    assert "on its way: 1 clips, 1 videos" in out
    assert run_json("status") == (0, live.http.get("/status").json())


def test_search_finds_by_words_likeness_and_condition(run, run_json, make_clip):
    low = make_clip(0, motion="low", visual_embedding=[1.0, 0.0, 0.0])
    high = make_clip(4, motion="high", visual_embedding=[0.0, 1.0, 0.0], face_count=1)

    def found(*arguments):
        return [clip["clip_id"] for clip in run_json("search", *arguments)[1]["clips"]]

    assert found("high") == [high]
    assert found("--like", low) == [high]
    assert found("--where", "verdict = 'keep'") == [low]
    code, out, _ = run("search")
    assert code == 0
    assert low in out
    assert "2 of 2 clips" in out


def test_a_bad_condition_is_refused_with_an_example(run, make_clip):
    make_clip(0)

    code, out, told = run("search", "--where", "colour = [red]")

    assert (code, out) == (1, "")
    assert "colour = [red]" in told
    assert "write SQL over its columns" in told


def test_why_tells_every_decision_of_a_clip(run, make_clip, submitted, live):
    live.apply(submitted("v1"))
    id_ = make_clip(0, face_count=1)

    code, out, _ = run("why", id_)

    assert code == 0
    assert f"{id_}  hold, stage densified" in out
    assert "from v1.mp4 at 0.0 s, 4.0 s long; source beach, licence MIT" in out
    assert "1 face(s) whose age nothing here can assess" in out
    assert "vision.palette" in out
    assert "silent" in out


def test_why_of_a_video_tells_what_was_dropped(run, live, submitted, segmented):
    video_id = "ab" * 32
    live.apply(submitted(video_id), segmented(video_id, ("c1",)))

    code, out, _ = run("why", video_id)

    assert code == 0
    assert "shorter than 1 s after the fade" in out


def test_why_of_an_unknown_clip_is_refused(run, run_json):
    assert run("why", "nope")[0] == 1
    code, problem = run_json("why", "nope")
    assert (code, problem["error"]) == (1, "NotFound")


def test_a_release_by_command_frees_the_clips(run, live, make_clip, submitted):
    live.apply(submitted("v1", licence=None))
    id_ = make_clip(0, face_count=1, licence=None)

    code, out, _ = run(
        *("release", "beach", "--by", "Ada", "--reason", "on file", "--covers", "age", "--covers", "licence")
    )

    assert code == 0
    assert "on record as" in out
    assert live.store.clips.get(id_)["verdict"] == "keep"


def test_a_removal_by_command_is_on_record(run, live, submitted):
    live.apply(submitted("v1"))

    assert run("remove", "source", "beach", "--by", "Ada", "--reason", "contract ended")[0] == 0

    assert [r["subject_id"] for r in live.store.removals.all().values()] == ["beach"]


def test_snapshots_are_asked_for_and_shown(run, run_json):
    code, out, _ = run("snapshot", "create", "v1", "--note", "first")
    assert (code, out) == (0, "snapshot v1: stored\n")

    assert "requested" in run("snapshot", "list")[1]
    assert run_json("snapshot", "show", "v1")[1]["note"] == "first"
    assert run("snapshot", "create", "v1")[0] == 1
    assert run("snapshot", "diff", "v1", "v1")[0] == 1


def test_training_an_unknown_concept_is_refused(run):
    code, _, told = run("train", "run", "loud")

    assert code == 1
    assert "no concept 'loud'" in told
    assert run("concepts")[0] == 0


@pytest.mark.parametrize(("value", "told"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (185.0, "3 min 05 s"), (None, "–")])
def test_durations_are_for_people(value, told):
    assert seconds(value) == told


@pytest.mark.parametrize(
    ("value", "told"), [(999, "999 B"), (1_200_000, "1.2 MB"), (5 * 10**12, "5.0 TB"), (None, "–")]
)
def test_sizes_are_for_people(value, told):
    assert size(value) == told


@pytest.mark.parametrize("name", ["gate", "training"])
def test_a_file_of_settings_is_told_to_the_worker_where_one_is_given(tmp_path, name):
    def command(**options):
        return streams_command(tmp_path, "embedded", "measured", tmp_path / "concepts.yaml", **options)

    path = tmp_path / f"{name}.toml"
    assert command(**{name: path})[-2:] == (f"--{name}", str(path))
    assert f"--{name}" not in command(**{name: None})


def test_the_command_has_the_promised_commands():
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    names |= {group.name for group in app.registered_groups}

    assert names == {
        *("up", "ingest", "status", "search", "why", "concepts", "train", "release", "remove", "doctor"),
        *("snapshot", "dead", "work", "rebuild", "models", "inspect", "identities"),
        *("reasoning", "spent", "annotate", "calibrate", "recipe", "eval"),
        *("clusters", "plot", "drift", "review", "adapters"),
    }
