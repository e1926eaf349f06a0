"""`cliploom reasoning`, `annotate`, `calibrate`, `recipe show` and `eval annotation`."""

import json
from pathlib import Path

import pytest

from processors.distill.vocabulary import load_vocabulary
from processors.reason.prompt import load_prompt
from store.answers import AnswerStore
from store.records import AnnotationDue
from store.store import Store


def test_reasoning_is_shown_with_evidence_and_checks(run, run_json, live, make_clip, reasoned):
    id_ = make_clip(0, reasoning=reasoned(is_contradicted=True))

    code, out, _ = run("reasoning", id_)

    assert code == 0
    assert f"{id_}  by endpoint:made" in out
    assert "A dog runs [fast]." in out
    assert "high 60 % or low 40 %" in out
    assert "frame 1, 2; motion" in out
    assert "0.2-1.5 s" in out
    assert "motion mean 0.01" in out
    assert "contradicted" in out
    assert "pose" not in out, "what is unknown is not told"
    assert "thinking" not in out
    assert run_json("reasoning", id_) == (0, live.http.get(f"/clips/{id_}/reasoning").json())


def test_thinking_is_shown_where_it_is_asked_for(run, live, make_clip, reasoned):
    id_ = make_clip(0, reasoning=reasoned())
    kept = {"q1": {"text": "{}", "thinking": "[bold] is a dog there?"}, "q2": {"text": "{}", "thinking": ""}}
    AnswerStore(live.store.media).put(id_, "0f" * 8, kept)

    out = run("reasoning", id_, "--thinking")[1]

    assert f"thinking ({'0f' * 8}, q1): [bold] is a dog there?" in out
    assert f"thinking ({'0f' * 8}, q2): -" in out


def test_reasoning_of_a_clip_without_it_says_so(run, make_clip, reasoned):
    code, out, _ = run("reasoning", make_clip(0))
    assert (code, "annotated before reasoning was kept" in out) == (0, True)
    failed = reasoned(engine="measured", failed="endpoint:made: it refused")
    assert "by measured; endpoint:made: it refused" in run("reasoning", make_clip(4, reasoning=failed))[1]
    assert run("reasoning", "nope")[0] == 1


def test_why_shows_contradictions_and_a_failed_engine(run, make_clip, reasoned):
    out = run("why", make_clip(0, reasoning=reasoned(is_contradicted=True)))[1]
    assert "Contradictions" in out
    assert "motion mean 0.01" in out
    failed = reasoned(engine="measured", failed="endpoint:made: it refused")
    out = run("why", make_clip(4, reasoning=failed))[1]
    assert "described by rules: endpoint:made: it refused" in out
    assert "Contradictions" not in out


def test_clips_are_annotated_anew_by_command(run, run_json, live, make_clip):
    id_ = make_clip(0, motion="high")
    make_clip(4, motion="low")

    code, out, _ = run("annotate", "--where", "motion = 'high'", "--reason", "overloaded")

    assert (code, out) == (0, "1 clips will be annotated anew\n")
    assert live.published == [AnnotationDue(clip_id=id_, video_id="v1", reason="overloaded")]
    assert run_json("annotate", "--reason", "all of them") == (0, {"n_clips": 2})
    assert run("annotate", "--where", "colour = [red]", "--reason", "r")[0] == 1
    assert run("annotate")[0] == 2


def test_a_calibration_by_command_is_on_record(run, live):
    code, out, _ = run("calibrate", "--by", "Ada", "--reason", "2,000 clips are in")

    assert code == 0
    assert "on record as" in out
    assert [body["by"] for body in live.store.calibrations.all().values()] == ["Ada"]
    assert run("calibrate", "--by", "Ada")[0] == 2


# --- recipe ----------------------------------------------------------------------------------------------------------


def test_the_recipe_is_shown_in_short(run, run_json, tmp_path):
    code, out, _ = run("recipe", "show", "--data", tmp_path)
    whole = run_json("recipe", "show", "--data", tmp_path)[1]

    assert code == 0
    assert f"engine      measured, recipe {whole['recipe']}" in out
    assert f"prompt      version 1, recipe {load_prompt().recipe}" in out
    assert f"recipe {load_vocabulary().recipe}: {len(load_vocabulary().slots)} slots" in out
    assert "absent" not in out
    assert (whole["engine"], whole["absent"], whole["frames"]) == ("measured", None, 8)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("prompt", "You describe short video clips"),
        ("schema", '"additionalProperties": false'),
        ("vocabulary", "medium close-up"),
    ],
)
def test_a_part_of_the_recipe_is_shown_whole(run, run_json, tmp_path, part, told):
    code, out, _ = run("recipe", "show", part, "--data", tmp_path)

    assert code == 0
    assert told in out
    assert (
        run_json("recipe", "show", part, "--data", tmp_path)[1]
        == run_json("recipe", "show", "--data", tmp_path)[1][part]
    )


def test_the_recipe_of_a_profile_of_ones_own_is_of_its_files(run_json, tmp_path):
    (tmp_path / "words.toml").write_text(
        'extends = "default"\n[[slots]]\nname = "headgear"\nmeaning = "On heads."\nasked = true\n'
        'terms = [{ name = "helmet", phrase = "helmet", meaning = "A hard hat." }]\n'
    )
    profile = tmp_path / "mine.toml"
    profile.write_text(
        'extends = "measured"\n[reason]\nengine = "endpoint"\nurl = "http://127.0.0.1:8000/v1"\nmodel = "a/b"\n'
        'vocabulary = "words.toml"\nframes = 4\n'
    )
    whole = run_json("recipe", "show", "--profile", profile, "--data", tmp_path)[1]
    assert (whole["engine"], whole["frames"]) == ("endpoint:a/b", 4)
    assert whole["vocabulary"]["slots"][-1]["name"] == "headgear"
    assert "helmet" in json.dumps(whole["schema"])


def test_an_engine_that_may_be_absent_and_is_is_told(run, tmp_path):
    profile = tmp_path / "mine.toml"
    profile.write_text(
        'extends = "measured"\n[reason]\nengine = "local"\nmodel = "nobody/never-made"\noptional = true\n'
    )
    out = run("recipe", "show", "--profile", profile, "--data", tmp_path)[1]
    assert "engine      measured" in out
    assert "the profile's engine is absent: " in out
    assert "nobody/never-made" in out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('extends = "measured"\n[reason]\nengine = "telepathy"\n', "engine 'telepathy' is not known"),
        ('extends = "measured"\n[reason]\nframes = 99\n', "give a number of frames up to 16"),
        ("[reason", "is not TOML"),
    ],
)
def test_a_profile_that_cannot_work_is_refused(run, run_json, tmp_path, text, told):
    (tmp_path / "mine.toml").write_text(text)
    code, out, problem = run("recipe", "show", "--profile", tmp_path / "mine.toml", "--data", tmp_path)
    assert (code, out) == (1, "")
    assert told in problem
    code, answer = run_json("recipe", "show", "--profile", "nonsense", "--data", tmp_path)
    assert (code, answer["error"], answer["where"]) == (1, "SettingsError", "recipe show")
    assert run("recipe", "show", "poem")[0] == 2


# --- evaluation ------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_store_is_not_evaluated(run_json, tmp_path):
    code, problem = run_json("eval", "annotation", "--data", tmp_path / "elsewhere")

    assert (code, problem["error"]) == (1, "InputError")
    assert "holds no store; give its folder with --data" in problem["what"]
    assert not (tmp_path / "elsewhere").exists(), "and none is made"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read"),
        ("no json", "write lines such as"),
        ('["c1"]', "write lines such as"),
        ('{"clip_id": "c1"}', "write lines such as"),
        ('{"clip_id": "c1", "caption": 3}', "write lines such as"),
    ],
)
def test_references_that_are_none_are_refused(run_json, tmp_path, text, told):
    Store.open(tmp_path / "data")
    path = tmp_path / "references.jsonl"
    if text is not None:
        path.write_text(text)

    code, problem = run_json("eval", "annotation", "--data", tmp_path / "data", "--references", path)

    assert (code, problem["error"], problem["where"]) == (1, "InputError", "eval annotation")
    assert told in problem["what"]


def test_a_store_is_evaluated_by_the_media_of_its_clips(
    run, run_json, live, tmp_path, video_bytes, make_clip, reasoned
):
    """The clip of the store has half a second of media."""
    id_ = make_clip(0)
    key = live.store.media.put_bytes(video_bytes, "mp4")
    live.store.clips.upsert([live.store.clips.get(id_) | {"media_key": key}])
    profile: Path = tmp_path / "light.toml"
    profile.write_text('[[processor]]\nid = "vision.texture"\n')
    (tmp_path / "references.jsonl").write_text(json.dumps({"clip_id": id_, "caption": "Even light."}) + "\n\n")
    arguments = ("eval", "annotation", "--data", tmp_path / "data", "--profile", profile, "--device", "cpu")

    code, report = run_json(*arguments, "--references", tmp_path / "references.jsonl")

    assert code == 0
    assert (report["n_clips"], report["engine"], report["absent"]) == (1, "measured", None)
    assert report["changed"]["identical"] == 0.0
    assert report["agreement"]["n_clips"] == 1
    code, out, _ = run(*arguments)
    assert code == 0
    assert "1 clips, engine measured" in out
    assert "How often each attribute is known" in out
