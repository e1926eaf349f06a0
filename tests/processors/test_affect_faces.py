"""Facial affect: curves belong to their faces and times, real weights see what people see, wrong files are told."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from processors.affect.deepface import FILE as DEEPFACE_FILE
from processors.affect.emonet import FILE as EMONET_FILE
from processors.affect.emonet import EmonetNet, EmonetSize
from processors.affect.faces import PLEASURE_AROUSAL, FaceAffect, Reading, placed
from processors.affect.xception import MiniXception, Options, Xception
from processors.base import DecodedClip, Row, create_processor
from processors.engine import Engine, shrunk
from processors.profile import load_profile
from store.errors import ModelUnavailable
from store.records import Column
from tests.processors.made_clips import MEDIA, make_clip

IMAGES, XCEPTION_ONNX = MEDIA / "image", MEDIA / "weights" / "fer2013_mini_XCEPTION.onnx"
WORDS = {"happy": "happiness", "sad": "sadness", "surprised": "surprise"}


def track(number: int, *boxes_at: tuple[float, list[float]]) -> dict[str, Any]:
    times, boxes = zip(*boxes_at, strict=True)
    return {"track": number, "times_s": list(times), "boxes_xyxy": list(boxes), "scores": [1.0] * len(times)}


class Brightness(FaceAffect):
    """A face is as happy as it is bright."""

    version = 1
    model_name = "brightness"
    labels = ("happiness", "sadness")
    size_px = 8
    margin = 0.0
    columns = (Column(name="affect_tracks_brightness", kind="json"),)

    def read(self, faces_rgb: np.ndarray) -> Reading:
        bright = faces_rgb.mean(axis=(1, 2, 3)) / 255.0
        return placed(np.stack([bright, 1.0 - bright], axis=1), self.labels)


def curves(processor: FaceAffect, clip: DecodedClip, tracks: list[dict[str, Any]] | None) -> Any:
    (row,) = processor.process([clip], [{"face_tracks": tracks}])
    assert isinstance(row, dict)
    return row[processor.columns[0].name]


def test_every_sight_is_read_at_its_time_and_stays_with_its_track() -> None:
    frames = np.zeros((8, 40, 80, 3), np.uint8)
    frames[:, :, 40:] = (np.arange(8) * 30)[:, None, None, None]  # the right half gets brighter
    left, right = [0.1, 0.2, 0.3, 0.6], [0.6, 0.2, 0.8, 0.6]
    tracks = [track(3, (0.5, right), (1.5, right)), track(7, (0.0, left), (0.5, left), (1.0, left))]
    found = curves(Brightness(None), make_clip(frames_rgb=frames), tracks)
    assert [(one["track"], one["times_s"]) for one in found] == [(3, [0.5, 1.5]), (7, [0.0, 0.5, 1.0])]
    assert found[0]["expression"]["happiness"] == pytest.approx([60 / 255, 180 / 255], abs=1e-4)
    assert found[1]["expression"]["sadness"] == [1.0, 1.0, 1.0]
    assert found[1]["valence"] == [PLEASURE_AROUSAL["sadness"][0]] * 3
    assert found[0]["model"] == "brightness"


def test_more_sights_than_are_read_at_once_come_out_in_order() -> None:
    frames = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None] * 6, (40, 24, 24, 3))
    box = [0.25, 0.25, 0.75, 0.75]
    tracks = [track(0, *((i / 4.0, box) for i in range(40)))]
    (found,) = curves(Brightness(None), make_clip(frames_rgb=frames, duration_s=10.0), tracks)
    assert found["expression"]["happiness"] == pytest.approx([i * 6 / 255 for i in range(40)], abs=1e-4)


def test_no_face_is_no_curve_and_not_having_looked_is_none() -> None:
    assert curves(Brightness(None), make_clip(), []) == []
    assert curves(Brightness(None), make_clip(), None) is None


def test_a_flat_distribution_lies_amid_the_words() -> None:
    reading = placed(np.full((1, 8), 1 / 8), list(PLEASURE_AROUSAL))
    assert reading.valence == pytest.approx([np.mean([valence for valence, _ in PLEASURE_AROUSAL.values()])])


@pytest.fixture(scope="module")
def xception() -> Xception:
    processor = Xception(Options())
    processor.load("cpu")
    return processor


@pytest.mark.skipif(not XCEPTION_ONNX.exists(), reason="needs ../shared/media (an ONNX export of the same weights)")
def test_mini_xception_computes_what_its_export_does(xception: Xception) -> None:
    faces = np.random.default_rng(1).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    grey = np.stack([cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) for face in faces])[:, None].astype(np.float32)
    session = onnxruntime.InferenceSession(XCEPTION_ONNX)
    (expected,) = session.run(None, {session.get_inputs()[0].name: grey / 127.5 - 1.0})
    np.testing.assert_allclose(xception.read(faces).expressions, expected, atol=1e-5)


def test_every_weight_of_mini_xception_is_read_from_the_file(xception: Xception) -> None:
    fresh = MiniXception(7).state_dict()
    for name, value in xception._net.state_dict().items():
        assert name.endswith("num_batches_tracked") or not torch.equal(value, fresh[name]), name


@pytest.mark.skipif(not IMAGES.exists(), reason="needs ../shared/media (portraits with labelled expressions)")
def test_posed_expressions_are_seen_by_the_real_weights() -> None:
    labels = json.loads((MEDIA / "ground_truth.json").read_text())["image_expression"]
    posed = {name: label for name, label in labels.items() if name.startswith("expr_label_")}
    wanted = {"track.mtcnn", "affect.xception", "affect.agreement"}
    measured = load_profile("measured")
    engine = Engine(replace(measured, processors=tuple(p for p in measured.processors if p.id in wanted)))
    engine.load()
    valence = {}
    for name, label in posed.items():
        picture = cv2.cvtColor(cv2.imread(str(IMAGES / name)), cv2.COLOR_BGR2RGB)
        (found,) = engine.run([make_clip(frames_rgb=shrunk(picture[None], 384), duration_s=0.5)])
        expression = found.values["expression"]
        assert max(expression, key=expression.get) == WORDS.get(label, label), name
        valence[label] = found.values["valence"]
    assert valence["happy"]["positive"] > 0.9
    assert valence["sad"]["negative"] > 0.5
    assert valence["neutral"]["neutral"] > 0.5


def test_deepface_computes_what_the_library_does(models_folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    weights = models_folder / "tiny" / "deepface" / DEEPFACE_FILE
    processor: Any = create_processor("affect.deepface", {"model": str(weights.parent)})
    processor.load("cpu")
    home = tmp_path / ".deepface" / "weights"
    home.mkdir(parents=True)
    (home / DEEPFACE_FILE).symlink_to(weights)
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    from deepface.models.demography.pytorch.Emotion import EmotionClient

    faces = np.random.default_rng(1).integers(0, 255, (3, 48, 48, 3), dtype=np.uint8)
    expected = EmotionClient().predict([face[..., ::-1].astype(np.float32) / 255.0 for face in faces])
    np.testing.assert_allclose(processor.read(faces).expressions, expected, atol=1e-3)


def test_loading_deepface_leaves_the_environment_alone(models_folder: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("DEEPFACE_HOME", raising=False)
    processor = create_processor("affect.deepface", {"model": str(models_folder / "tiny" / "deepface")})
    processor.load("cpu")
    assert "DEEPFACE_HOME" not in os.environ


def test_emonets_shape_is_read_off_its_weights() -> None:
    size = EmonetSize(width=32, depth=3, n_hourglasses=2, n_landmarks=9, n_blocks=3, n_expressions=8)
    assert EmonetSize.of(EmonetNet(size).state_dict()) == size


def test_emonet_has_the_names_and_sizes_of_the_published_weights() -> None:
    with torch.device("meta"):
        state = EmonetNet(EmonetSize(256, 4, 2, 68, 4, 8)).state_dict()
    assert EmonetSize.of(state).image_px == 256
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes["m1.b2_plus_1.conv3.weight"] == (64, 64, 3, 3)
    assert shapes["conv4.downsample.2.weight"] == (256, 128, 1, 1)
    assert shapes["al0.weight"] == (256, 68, 1, 1)
    assert shapes["conv1x1_input_emo_2.weight"] == (256, 768, 1, 1)
    assert shapes["emo_net_2.6.bn1.weight"] == (256,)
    assert shapes["emo_fc_2.3.weight"] == (10, 128)


def emonet(folder: Path) -> FaceAffect:
    processor: Any = create_processor("affect.emonet", {"model": str(folder)})
    processor.load("cpu")
    return processor


def test_weights_as_torch_once_saved_them_from_several_gpus_are_the_same(models_folder: Path, tmp_path: Path) -> None:
    state = torch.load(models_folder / "tiny" / "emonet" / EMONET_FILE, weights_only=True)
    published = {f"module.{name}": value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(published, tmp_path / EMONET_FILE, _use_new_zipfile_serialization=False)
    faces = np.random.default_rng(1).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    first, second = emonet(tmp_path).read(faces), emonet(models_folder / "tiny" / "emonet").read(faces)
    np.testing.assert_array_equal(first.expressions, second.expressions)
    np.testing.assert_array_equal(first.valence, second.valence)


def test_emonet_gives_distributions_and_places_within_their_bounds(models_folder: Path) -> None:
    faces = np.random.default_rng(1).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    reading = emonet(models_folder / "tiny" / "emonet").read(faces)
    np.testing.assert_allclose(reading.expressions.sum(axis=1), 1.0)
    assert reading.expressions.shape == (3, 8)
    assert np.abs(reading.valence).max() <= 1.0
    assert np.abs(reading.arousal).max() <= 1.0


def saved(folder: Path, state: dict[str, torch.Tensor] | str) -> Path:
    path = folder / EMONET_FILE
    path.write_text(state) if isinstance(state, str) else torch.save(state, path)
    return folder


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "other", "text", "classes", "none"])
def test_weights_of_another_model_are_told(change: str, models_folder: Path, tmp_path: Path) -> None:
    state = torch.load(models_folder / "tiny" / "emonet" / EMONET_FILE, weights_only=True)
    told = {
        "missing": "l1.bias",
        "unexpected": "extra",
        "shape": "size mismatch",
        "other": "has no 'conv_last0.weight'",
    }
    told |= {"text": "emonet_8.pth cannot be read", "classes": "5 expressions, not the 8", "none": "holds no weights"}
    changed: dict[str, Any] = {
        "missing": {name: value for name, value in state.items() if name != "l1.bias"},
        "unexpected": state | {"extra": torch.zeros(1)},
        "shape": state | {"l1.bias": torch.zeros(99)},
        "other": {"weight": torch.zeros(1)},
        "text": "not found",
        "classes": state | {"emo_fc_2.3.weight": torch.zeros(7, 8), "emo_fc_2.3.bias": torch.zeros(7)},
    }
    if change != "none":
        saved(tmp_path, changed[change])
    with pytest.raises(ModelUnavailable, match=told[change]):
        emonet(tmp_path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"conv_last0.weight": Evil()}, tmp_path / EMONET_FILE)
    with pytest.raises(ModelUnavailable, match="holds no weights that can be read"):
        emonet(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_each_model_gives_its_own_curves_of_the_same_sights(engine: Engine, clips: dict[str, DecodedClip]) -> None:
    values: Row = engine.run([clips["normal"]])[0].values
    (face,) = values["face_tracks"]
    for model in ("xception", "deepface", "emonet"):
        (found,) = values[f"affect_tracks_{model}"]
        assert found["times_s"] == face["times_s"]
        for time in range(len(face["times_s"])):
            assert sum(curve[time] for curve in found["expression"].values()) == pytest.approx(1.0, abs=1e-3)
    assert values["valence_evidence"] == [f"affect_tracks_{model}" for model in ("xception", "deepface", "emonet")]
    assert 0.0 < values["affect_disagreement"] <= 1.0
