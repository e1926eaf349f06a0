"""Profiles that come with Cliploom, and what a wrong one is told."""

from pathlib import Path
from typing import Any

import pytest

from processors.base import Processor, Reads
from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from processors.models.find import needed_files
from processors.profile import create_profile, load_profile, load_reason, profile_names
from processors.reason.engine import create_engine
from processors.reason.trace import TraceForm
from processors.tiny import build_tiny_models
from store.errors import ModelUnavailable, SettingsError
from store.records import Column
from tests.processors.test_engine import Fake

FORM = TraceForm(load_vocabulary(DEFAULT_VOCABULARY))


def made(name: str, gives: str, reads: Reads = Reads()) -> Processor:
    kind = type(name, (Fake,), {"columns": (Column(name=gives, kind="float"),), "reads": reads})
    return kind()


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_that_comes_along_is_sound(name: str) -> None:
    profile = load_profile(name)
    names = [column.name for column in profile.columns]
    assert len(names) == len(set(names))
    assert {"face_count", "visual", "sound", "motion_mean", "arousal"} <= set(names)


def test_the_profiles_are_these() -> None:
    pretrained = ["pretrained", "pretrained-onnx", "pretrained-yolo"]
    assert profile_names() == ["measured", *pretrained, "tiny", "tiny-onnx", "tiny-yolo"]


def test_only_facial_affect_is_a_models_opinion_in_the_measured_profile() -> None:
    profile = load_profile("measured")
    opinions = {p.id for p in profile.processors if not all(column.measured for column in p.columns)}
    assert opinions == {"affect.xception", "affect.agreement"}


@pytest.mark.parametrize("kind", ["", "-onnx", "-yolo"])
def test_pretrained_and_tiny_differ_in_models_only(kind: str) -> None:
    pretrained, tiny = load_profile("pretrained" + kind), load_profile("tiny" + kind)
    assert [p.id for p in pretrained.processors] == [p.id for p in tiny.processors]
    assert {c.name for c in pretrained.columns} == {c.name for c in tiny.columns}


def test_a_file_of_ones_own_is_a_profile(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, '[[processor]]\nid = "track.mtcnn"\nmin_score = 0.8\n'))
    assert profile.name == "mine"
    assert profile.processors[0].options.min_score == 0.8


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no processor"),
        ("processor = 3", "names no processor"),
        ("processor = [3]", "names no processor"),
        ("[[processor]]\nid = ", "is not TOML"),
        ('colour = "red"\n[[processor]]\nid = "motion.flow"', "unknown keys colour"),
        ("[[processor]]\nmin_score = 1", "has no id"),
        (
            '[[processor]]\nid = "motion.flow"\noptional = "yes"',
            "motion.flow has optional = 'yes'; write true or false",
        ),
        ('[[processor]]\nid = "motion.telepathy"', "'motion.telepathy' is not known"),
        ('[[processor]]\nid = "motion.flow"\nspeed = 2', "options of processor 'motion.flow' are wrong.*speed"),
        ('[[processor]]\nid = "motion.flow"\n[[processor]]\nid = "motion.flow"', "names motion.flow twice"),
        ('[[processor]]\nid = "affect.arousal"', "affect.arousal reads loudness_curve.*add one"),
        ('[[processor]]\nid = "audio.spectrum"', "must define one Processor"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_profile(write(tmp_path, text))


def test_a_profile_may_be_another_but_for_some_processors(tmp_path: Path) -> None:
    text = 'extends = "measured"\nwithout = ["track.hog", "track.mtcnn"]\n[[processor]]\nid = "track.mtcnn"\n'
    profile = load_profile(write(tmp_path, text + "min_score = 0.8\n"))
    measured = {processor.id for processor in load_profile("measured").processors}
    assert {processor.id for processor in profile.processors} == measured - {"track.hog"}
    (mtcnn,) = (processor for processor in profile.processors if processor.id == "track.mtcnn")
    assert mtcnn.options.min_score == 0.8


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ('without = ["track.hog"]', 'write extends = "<profile>" and without'),
        ('extends = "measured"\nwithout = "track.hog"', 'write extends = "<profile>" and without'),
        ("extends = 3", 'write extends = "<profile>" and without'),
        ('extends = "unheard"', "'unheard' is not known"),
        ('extends = "tiny-onnx"', "extends tiny-onnx, which extends another itself"),
        ('extends = "measured"\nwithout = ["motion.telepathy"]', "without motion.telepathy, which measured does not"),
        ('extends = "measured"', "names motion.flow twice; keep one"),
    ],
)
def test_a_wrong_extension_is_told_what_is_wrong(tmp_path: Path, head: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_profile(write(tmp_path, f'{head}\n[[processor]]\nid = "motion.flow"\n'))


@pytest.mark.parametrize("name", ["unheard", "missing.toml", ""])
def test_an_unknown_profile_is_told_the_known_ones(name: str) -> None:
    with pytest.raises(SettingsError, match=r"choose measured, pretrained, pretrained-onnx, .*, tiny"):
        load_profile(name)


def test_a_column_given_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"column 'length' is given by fake\.one and fake\.two; keep one"):
        create_profile("made", [made("One", "length"), made("Two", "length")])


@pytest.mark.parametrize("hatched", [Reads(columns=("egg",)), Reads(optional=("egg",))])
def test_processors_that_wait_for_each_other_are_refused(hatched: Reads) -> None:
    egg = made("Egg", "egg", Reads(columns=("hen",)))
    hen = made("Hen", "hen", hatched)
    with pytest.raises(SettingsError, match=r"fake\.egg, fake\.hen wait for each other"):
        create_profile("made", [egg, hen])


@pytest.mark.parametrize(
    ("reads", "told"),
    [
        (Reads(frame_rate_hz=25.0), "reads frames at 25 Hz, but clips hold at most 4 Hz"),
        (Reads(frame_rate_hz=1.0, longest_px=1080), "reads frames at 1080 px, but clips hold at most 384 px"),
        (Reads(audio_rate_hz=48_000), "reads sound at 48000 Hz, but clips hold at most 16000 Hz"),
    ],
)
def test_more_than_clips_hold_is_refused(reads: Reads, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        create_profile("made", [made("Greedy", "greed", reads)])


@pytest.mark.parametrize("processor", ["vision.siglip", "audio.wav2vec2", "audio.hubert", "audio.ast"])
def test_a_model_that_is_not_here_is_told_how_to_get(processor: str, tmp_path: Path) -> None:
    text = f'[[processor]]\nid = "{processor}"\nmodel = "nobody/never-made"\nrevision = "abc"\n'
    profile = load_profile(write(tmp_path, text))
    with pytest.raises(ModelUnavailable, match="'nobody/never-made' is not on this machine; run `cliploom models pull"):
        profile.processors[0].load("cpu")


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_network(tmp_path: Path) -> None:
    text = '[[processor]]\nid = "vision.siglip"\nmodel = "/not/here/at all"\n'
    with pytest.raises(ModelUnavailable, match="'/not/here/at all' is not on this machine"):
        load_profile(write(tmp_path, text)).processors[0].load("cpu")


def test_tiny_models_that_are_not_built_are_told_how_to_build() -> None:
    siglip = next(p for p in load_profile("tiny").processors if p.id == "vision.siglip")
    with pytest.raises(ModelUnavailable, match="cliploom models pull --profile tiny"):
        siglip.load("cpu")


def test_an_empty_model_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "tiny" / "siglip").mkdir(parents=True)
    siglip = next(p for p in load_profile("tiny", tmp_path).processors if p.id == "vision.siglip")
    with pytest.raises(ModelUnavailable, match="holds no weights"):
        siglip.load("cpu")


def test_weights_without_their_configuration_are_told(models_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny" / "siglip").mkdir(parents=True)
    weights = models_folder / "tiny" / "siglip" / "model.safetensors"
    (tmp_path / "tiny" / "siglip" / "model.safetensors").symlink_to(weights)
    siglip = next(p for p in load_profile("tiny", tmp_path).processors if p.id == "vision.siglip")
    with pytest.raises(ModelUnavailable, match=r"holds no config\.json with weights"):
        siglip.load("cpu")


def test_what_may_be_missing_is_the_lines_that_say_so(tmp_path: Path) -> None:
    text = '[[processor]]\nid = "vision.siglip"\nmodel = "a/b"\noptional = true\nlicence = "MIT"\n'
    profile = load_profile(write(tmp_path, text + '[[processor]]\nid = "motion.flow"\noptional = false\n'))
    assert profile.optional == {"vision.siglip"}
    assert [(line.processor, line.model, line.licence) for line in profile.models] == [("vision.siglip", "a/b", "MIT")]


@pytest.mark.parametrize("name", profile_names())
def test_every_model_of_a_profile_that_comes_along_has_a_licence_or_is_built_here(name: str) -> None:
    for line in load_profile(name).models:
        assert line.model.startswith("tiny/") or line.licence, line.model


def test_a_size_that_the_model_does_not_have_is_told(models_folder: Path, tmp_path: Path) -> None:
    text = '[[processor]]\nid = "vision.siglip"\nmodel = "tiny/siglip"\nsize = 512\n'
    profile = load_profile(write(tmp_path, text), models_folder)
    with pytest.raises(SettingsError, match="gives 32 numbers, not the size = 512"):
        profile.processors[0].load("cpu")


def test_tiny_models_are_the_same_everywhere(models_folder: Path, tmp_path: Path) -> None:
    build_tiny_models(tmp_path)
    digests: list[Any] = []
    for folder in (models_folder, tmp_path):
        processors = [p for p in load_profile("tiny", folder).processors if hasattr(p.options, "model")]
        for processor in processors:
            processor.load("cpu")
        digests.append([processor.weights() for processor in processors])
    assert digests[0] == digests[1]


@pytest.mark.parametrize("name", ["tiny", "tiny-onnx", "tiny-yolo"])
def test_the_model_that_describes_clips_is_built_with_the_others(
    name: str, models_folder: Path, tmp_path: Path
) -> None:
    build_tiny_models(tmp_path)
    engines = []
    for folder in (models_folder, tmp_path):
        line = load_reason(name, folder)
        engines.append(create_engine(line.engine, line.options, FORM))
    engines[0].load("cpu")
    assert engines[0].id == "local:tiny/qwen3vl"
    assert engines[0].weights() == engines[1].weights()


@pytest.mark.parametrize("name", ["pretrained", "pretrained-onnx", "pretrained-yolo"])
def test_a_pretrained_profile_may_do_without_the_model_that_describes_clips(name: str, tmp_path: Path) -> None:
    line = load_reason(name, tmp_path)
    assert (line.engine, line.optional) == ("local", True)
    create_engine(line.engine, line.options, FORM)
    assert line.model in load_profile(name).models


LIGHT = '[[processor]]\nid = "motion.flow"\n'


def test_without_a_table_reason_the_rules_describe() -> None:
    line = load_reason("measured")
    assert (line.engine, dict(line.options), line.model, line.vocabulary, line.prompt) == ("measured", {}, None) + (
        None,
    ) * 2


def test_what_a_table_reason_says_is_read_and_the_rest_goes_to_the_engine(tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text('extends = "default"\n')
    text = '[reason]\nengine = "endpoint"\nurl = "http://127.0.0.1:8000/v1"\nmodel = "a/b"\noptional = true\n'
    path = write(tmp_path, text + 'vocabulary = "words.toml"\nframes = 4\ncontext = 2\n' + LIGHT)
    line = load_reason(path)
    assert (line.engine, line.optional, line.frames, line.context) == ("endpoint", True, 4, 2)
    assert line.vocabulary == tmp_path / "words.toml"
    assert dict(line.options) == {"url": "http://127.0.0.1:8000/v1", "model": "a/b"}
    assert create_engine(line.engine, line.options, FORM).id == "endpoint:a/b"
    assert load_profile(path).models == (), "an endpoint's model lies elsewhere"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("engine = 3", r"engine = 3; name one of measured, local and endpoint"),
        ('optional = "yes"', r"optional = 'yes'; write true or false"),
        ("frames = true", r"frames = True; give a number of frames up to 16"),
        ("frames = 4.0", r"frames = 4\.0; give a number of frames"),
        ("frames = 17", r"frames = 17; give a number of frames up to 16"),
        ("context = -1", r"context = -1; give a number of clips up to 16"),
        ("prompt = 1", r"prompt = 1; give a path to a TOML file"),
        ('vocabulary = "gone.toml"', r"\[reason\] names vocabulary .*gone\.toml, which is no file"),
        ('prompt = "."', r"\[reason\] names prompt .*, which is no file"),
    ],
)
def test_a_wrong_table_reason_is_told_what_is_wrong(tmp_path: Path, table: str, told: str) -> None:
    path = write(tmp_path, f"[reason]\n{table}\n{LIGHT}")
    for load in (load_reason, load_profile):
        with pytest.raises(SettingsError, match=told):
            load(path)


def test_reason_must_be_a_table(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"write \[reason\] as a table"):
        load_reason(write(tmp_path, 'reason = "local"\n' + LIGHT))


@pytest.mark.parametrize("name", ["telepathy", "engine", "chat", "a.b", "../measured", ""])
def test_an_engine_that_there_is_not_is_told_which_there_are(tmp_path: Path, name: str) -> None:
    line = load_reason(write(tmp_path, f'[reason]\nengine = "{name}"\n{LIGHT}'))
    with pytest.raises(SettingsError, match="is not known; there are measured, local, endpoint"):
        create_engine(line.engine, line.options, FORM)


def test_an_option_that_the_engine_does_not_know_is_told(tmp_path: Path) -> None:
    line = load_reason(write(tmp_path, f'[reason]\nengine = "measured"\ncolour = "red"\n{LIGHT}'))
    with pytest.raises(SettingsError, match="engine measured: unknown option colour; it has none"):
        create_engine(line.engine, line.options, FORM)


def test_a_profile_that_extends_another_describes_as_that_unless_it_says_otherwise(tmp_path: Path) -> None:
    base = tmp_path / "base.toml"
    (tmp_path / "ask.toml").write_text("")
    base.write_text(f'[reason]\nengine = "local"\nmodel = "a/b"\nprompt = "ask.toml"\nframes = 3\n{LIGHT}')
    extending = f'extends = "{base}"\n'
    (tmp_path / "deeper").mkdir()
    heir = write(tmp_path / "deeper", extending)
    assert load_reason(heir) == load_reason(base)
    assert load_reason(heir).prompt == tmp_path / "ask.toml", "from the folder of the profile that names it"
    own = write(tmp_path / "deeper", extending + "[reason]\nframes = 5\n")
    line = load_reason(own)
    assert (line.engine, line.frames, line.prompt, line.model) == ("measured", 5, None, None)


def test_a_profile_that_extends_itself_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, f'extends = "{tmp_path / "mine.toml"}"\n')
    for load in (load_reason, load_profile):
        with pytest.raises(SettingsError, match="which extends another itself"):
            load(path)


def test_the_model_that_describes_clips_is_one_of_the_profiles_models(tmp_path: Path) -> None:
    text = '[reason]\nengine = "local"\nmodel = "a/b"\nrevision = "r1"\nlicence = "MIT"\noptional = true\n'
    path = write(tmp_path, text + LIGHT)
    (line,) = load_profile(path).models
    assert (line.processor, line.model, line.revision, line.licence) == ("reason.local", "a/b", "r1", "MIT")
    assert line.optional
    (tmp_path / "models" / "a" / "b").mkdir(parents=True)
    there = load_reason(path, tmp_path / "models")
    assert dict(there.options) == {"model": str(tmp_path / "models" / "a" / "b"), "revision": "r1"}
    assert there.model == line


def test_the_template_of_its_chats_is_pulled_with_the_model_that_describes_clips() -> None:
    model = load_reason("pretrained").model
    assert model is not None
    there = ["chat_template.jinja", "config.json", "model.safetensors", "README.md"]
    assert needed_files(there, model.files) == there[:3]


def test_tiny_models_that_are_there_are_kept(tmp_path: Path) -> None:
    folders = build_tiny_models(tmp_path)
    files = [path for folder in folders for path in folder.iterdir()]
    stamps = [path.stat().st_mtime_ns for path in files]
    build_tiny_models(tmp_path)
    assert [path.stat().st_mtime_ns for path in files] == stamps
