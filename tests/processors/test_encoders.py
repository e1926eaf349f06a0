"""wav2vec 2.0, HuBERT and AST on tiny models: their numbers mean nothing, but what is done with them must be right."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

from processors.base import Processor, create_processor
from processors.engine import Engine
from store.errors import SettingsError
from tests.processors.made_clips import RATE_HZ, make_clip, noise, tone

VECTORS = {"audio.wav2vec2": "voice", "audio.hubert": "voice_hubert", "audio.ast": "sound_events"}
SOUND = tone(220.0, 1.0) + noise(1.0)


def vectors(processor: Processor, sounds: list[np.ndarray | None]) -> list[Any]:
    rows = processor.process([make_clip(audio=sound) for sound in sounds], [{}] * len(sounds))
    return [row[VECTORS[processor.id]] for row in rows if isinstance(row, dict)]


def wav2vec2(models_folder: Path, **options: Any) -> Processor:
    options = {"model": str(models_folder / "tiny" / "wav2vec2"), "size": 32} | options
    processor = create_processor("audio.wav2vec2", options)
    processor.load("cpu")
    return processor


def hidden_states(models_folder: Path, sound: np.ndarray, n_parts: int = 1) -> list[np.ndarray]:
    """What the model itself says of a sound and its equal parts, float64 [T, 32] for each layer."""
    folder = models_folder / "tiny" / "wav2vec2"
    extract, model = Wav2Vec2FeatureExtractor.from_pretrained(folder), Wav2Vec2Model.from_pretrained(folder).eval()
    values = extract(sound, sampling_rate=RATE_HZ, return_tensors="pt")["input_values"]
    with torch.inference_mode():
        parts = [model(part, output_hidden_states=True).hidden_states for part in values.tensor_split(n_parts, dim=1)]
    return [np.concatenate([part[layer][0].double().numpy() for part in parts]) for layer in range(3)]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("processor_id", VECTORS)
def test_equal_sounds_are_equal_and_silence_is_nothing(engine: Engine, processor_id: str) -> None:
    processor = next(p for p in engine.profile.processors if p.id == processor_id)
    silent, short = np.zeros(RATE_HZ, np.float32), SOUND[: RATE_HZ // 20]
    same, again, other, *nothing = vectors(processor, [SOUND, SOUND.copy(), noise(1.0), silent, short, None])
    assert np.dot(same, again) == pytest.approx(1.0, abs=1e-9)
    assert np.dot(same, other) < 0.9999
    assert nothing == [None, None, None]


def test_all_layers_are_averaged_unless_some_are_named(models_folder: Path) -> None:
    states = hidden_states(models_folder, SOUND)
    expected = unit(np.mean(states, axis=0).mean(axis=0))
    np.testing.assert_allclose(vectors(wav2vec2(models_folder), [SOUND])[0], expected, atol=1e-6)


def test_layers_and_their_weights_are_options(models_folder: Path) -> None:
    states = hidden_states(models_folder, SOUND)
    (last,) = vectors(wav2vec2(models_folder, layers=[-1]), [SOUND])
    np.testing.assert_allclose(last, unit(states[-1].mean(axis=0)), atol=1e-6)
    (mixed,) = vectors(wav2vec2(models_folder, layers=[0, 2], layer_weights=[1, 3]), [SOUND])
    np.testing.assert_allclose(mixed, unit((states[0] + 3 * states[2]).mean(axis=0)), atol=1e-6)


def test_pooling_is_an_option(models_folder: Path) -> None:
    state = hidden_states(models_folder, SOUND)[1]
    (highest,) = vectors(wav2vec2(models_folder, layers=[1], pooling="max"), [SOUND])
    np.testing.assert_allclose(highest, unit(state.max(axis=0)), atol=1e-6)
    (both,) = vectors(wav2vec2(models_folder, layers=[1], pooling="mean_std", size=64), [SOUND])
    np.testing.assert_allclose(both, unit(np.concatenate([state.mean(axis=0), state.std(axis=0)])), atol=1e-6)


def test_how_a_vector_is_made_is_in_the_recipe(models_folder: Path) -> None:
    ways: list[dict[str, Any]] = [{}, {"layers": [1]}, {"layers": [1], "pooling": "max"}]
    assert len({wav2vec2(models_folder, **way).recipe for way in ways}) == 3


def test_a_clip_of_more_than_ten_seconds_is_heard_in_equal_parts(models_folder: Path) -> None:
    long = np.concatenate([tone(220.0, 5.1), noise(5.1, 0.3)])
    states = hidden_states(models_folder, long, n_parts=2)
    (whole,) = vectors(wav2vec2(models_folder), [long])
    np.testing.assert_allclose(whole, unit(np.mean(states, axis=0).mean(axis=0)), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pooling": "median"}, "pooling 'median'.*choose mean, mean_std, max"),
        ({"layers": [1, 2], "layer_weights": [1.0]}, "1 layer_weights for 2 layers"),
        ({"layers": [7]}, r"hidden states 0 to 2, not \[7\]"),
        ({"pooling": "mean_std"}, "gives 64 numbers, not the size = 32"),
    ],
)
def test_options_that_do_not_fit_are_told(models_folder: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        wav2vec2(models_folder, **options)


def test_tags_are_the_likeliest_labels_first(engine: Engine) -> None:
    ast = next(p for p in engine.profile.processors if p.id == "audio.ast")
    (row,) = ast.process([make_clip(audio=SOUND)], [{}])
    assert isinstance(row, dict)
    assert set(row["sound_tags"]) == {"Speech", "Laughter", "Sigh", "Pant", "Music"}
    assert list(row["sound_tags"].values()) == sorted(row["sound_tags"].values(), reverse=True)


def test_a_tag_of_any_part_of_a_long_clip_is_kept(engine: Engine) -> None:
    ast = next(p for p in engine.profile.processors if p.id == "audio.ast")
    part, rest = tone(220.0, 2.0), noise(2.0, 0.3)
    rows = ast.process([make_clip(audio=a) for a in (np.concatenate([part, rest]), part, rest)], [{}] * 3)
    whole, first, second = (row["sound_tags"] for row in rows if isinstance(row, dict))
    assert whole == pytest.approx({label: max(first[label], second[label]) for label in first}, abs=1e-5)
