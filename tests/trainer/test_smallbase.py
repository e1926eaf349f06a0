"""The small base: a real pipeline, made once of the footage, that says what it is."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from store.errors import Conflict, InputError, ModelUnavailable
from tests.trainer.made_discs import TINY, made_clip, silent
from trainer.bases import SMALL_LABEL, Base, discard_bases, find_base
from trainer.cutting import fitted
from trainer.dataset import TrainingClip, held_out_ids
from trainer.families.base import Generation
from trainer.families.parts import as_pixels
from trainer.opening import open_base
from trainer.smallbase import build_tokenizer, small_base, small_base_id


def test_it_loads_as_any_stable_diffusion_pipeline_and_draws(base):
    pipeline = StableDiffusionPipeline.from_pretrained(base.folder, local_files_only=True)
    assert {name: type(part).__name__ for name, part in pipeline.components.items() if part is not None} == {
        "vae": "AutoencoderKL",
        "text_encoder": "CLIPTextModel",
        "tokenizer": "CLIPTokenizer",
        "unet": "UNet2DConditionModel",
        "scheduler": "DDIMScheduler",
    }
    pictures = open_base(base, "cpu").generate(
        ["wide shot, red ground, low motion"] * 2, [1, 2], Generation(steps=4, guidance=2.0, width_px=32, height_px=32)
    )
    assert pictures.shape == (2, 32, 32, 3)
    assert pictures.dtype == np.uint8


def test_it_says_what_it_is_everywhere(base, clips):
    assert base.label == SMALL_LABEL
    assert json.loads((base.folder / "model_index.json").read_text())["_cliploom_label"] == SMALL_LABEL
    assert SMALL_LABEL in (base.folder / "README.md").read_text()
    held_out = held_out_ids([clip.clip_id for clip in clips])
    assert set(base.clip_ids) == {clip.clip_id for clip in clips} - held_out


def test_the_same_clips_in_any_order_give_the_same_base_without_building_it(base, bases, clips):
    def told(*progress: object) -> None:
        raise AssertionError("built again")

    assert small_base(clips[::-1], bases, TINY, told) == base
    assert small_base_id(clips[1:], TINY) != base.id
    assert small_base_id(clips, replace(TINY, seed=1)) != base.id


def test_a_build_that_was_killed_leaves_no_base(tmp_path, clips):
    def stop(phase: str, step: int, steps: int, loss: float | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_base(clips, tmp_path, TINY, stop)
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".partial"
    os.utime(left, (0, 0))
    quick = replace(TINY, vae_steps=1, unet_steps=1)
    assert [small_base(clips, tmp_path, quick, silent).folder] == list(tmp_path.iterdir())


def test_two_runs_that_build_the_same_base_at_once_end_with_one(tmp_path, clips):
    quick = replace(TINY, vae_steps=1, unet_steps=1)
    others = []

    def meanwhile(phase: str, step: int, steps: int, loss: float | None) -> None:
        if not others:
            others.append(None)
            others[0] = small_base(clips, tmp_path, quick, silent)

    assert small_base(clips, tmp_path, quick, meanwhile) == others[0]
    assert len(list(tmp_path.iterdir())) == 1


def test_of_very_many_clips_it_takes_some_which_stay_the_same_while_others_come(tmp_path, clips):
    quick = replace(TINY, vae_steps=1, unet_steps=1, at_most=6)
    base = small_base(clips[:8], tmp_path, quick, silent)
    assert len(base.clip_ids) <= 6
    assert small_base([*clips[:8], made_clip(99, "red")], tmp_path, quick, silent) == base


def test_a_held_clip_never_enters_it(tmp_path, clips):
    with pytest.raises(Conflict, match=r"clip clip99 .* held for age"):
        small_base([*clips, made_clip(99, "red", held_for=("age",))], tmp_path, TINY, silent)


def test_a_clip_of_broken_frames_is_named(tmp_path, clips):
    broken = [replace(made_clip(99, "red"), load_frames=lambda: np.zeros((0, 8, 8, 3), np.uint8))]
    with pytest.raises(InputError, match=r"clip clip99: frames of shape \(0, 8, 8, 3\)"):
        small_base([*clips, *broken], tmp_path, TINY, silent)


def test_a_removed_clip_takes_the_bases_that_learned_from_it_along(tmp_path):
    for name, clip_ids in (("one", ("a", "b")), ("two", ("b", "c")), ("three", ("c",))):
        (tmp_path / name).mkdir()
        Base(id=name, folder=tmp_path / name, label=SMALL_LABEL, clip_ids=clip_ids).write()
    assert discard_bases(tmp_path, {"a", "b"}) == ["one", "two"]
    assert [folder.name for folder in tmp_path.iterdir()] == ["three"]
    assert discard_bases(tmp_path / "none", {"a"}) == []


def seen(clips: list[TrainingClip]) -> np.ndarray:
    """The frames that the base was trained on: uint8 [N, 32, 32, 3]."""
    held_out = held_out_ids([clip.clip_id for clip in clips])
    frames = [clip.load_frames()[row] for clip in clips if clip.clip_id not in held_out for row in (0, 2, 3)]
    return np.stack([fitted(frame, 32, 32) for frame in frames])


def test_its_unet_predicts_and_reads_the_text(base, clips):
    family = open_base(base, "cpu")
    latents = family.encode_media(seen(clips[:3]))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    times = family.objective.spread_times(latents, len(latents))
    with torch.no_grad():
        right, wrong = (
            family.loss(latents, noise, times, family.encode_texts([clips[at].conditioning] * len(latents))).mean()
            for at in (0, 1)
        )
    assert right < 0.7  # 1.0 is what a model that knows nothing gets
    assert right != wrong


def test_its_latents_have_the_scale_that_the_noise_schedule_expects(base, clips):
    latents = open_base(base, "cpu").encode_media(seen(clips))
    assert latents.shape[1:] == (4, 8, 8)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=0.02, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=0.02, rtol=0)


def test_its_autoencoder_rebuilds_the_footage(base, clips):
    frames = seen(clips)
    family = open_base(base, "cpu")
    with torch.no_grad():
        rebuilt = family.pipeline.vae.decode(family.encode_media(frames)).sample
    off = (rebuilt - as_pixels(frames)).abs().mean().item()
    plain = (as_pixels(frames) - as_pixels(frames).mean((0, 2, 3), keepdim=True)).abs().mean().item()
    assert off < plain * 2 / 3


def test_its_tokenizer_knows_the_words_and_spells_the_others():
    tokenizer = build_tokenizer(["close-up, tense, high motion"])
    assert tokenizer.tokenize("high motion, tense") == ["high</w>", "motion</w>", ",</w>", "tense</w>"]
    assert tokenizer.decode(tokenizer("calm").input_ids, skip_special_tokens=True) == "calm"


def test_a_base_that_is_not_here_says_how_to_get_it(tmp_path):
    with pytest.raises(ModelUnavailable, match=r"base 'some/model' is not on this machine.*hf download some/model"):
        find_base("some/model")
    with pytest.raises(ModelUnavailable, match=r"holds no model_index.json"):
        find_base(str(tmp_path))


def test_a_base_of_another_family_is_refused(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    with pytest.raises(
        ModelUnavailable, match=r"is a KandinskyPipeline; this version trains .*StableDiffusionPipeline"
    ):
        open_base(find_base(str(tmp_path)), "cpu")


def test_an_incomplete_base_is_refused(tmp_path, base):
    (tmp_path / "model_index.json").write_text((base.folder / "model_index.json").read_text())
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        open_base(find_base(str(tmp_path)), "cpu")


def test_a_snapshot_of_the_hub_tells_its_commit_and_other_bases_their_id(tmp_path, base):
    snapshot = tmp_path / "models--some--model" / "snapshots" / ("0123456789" * 4)
    snapshot.mkdir(parents=True)
    assert Base.read(snapshot).revision == "0123456789" * 4
    assert base.revision == base.id
    elsewhere = tmp_path / "snapshots" / "mine"
    elsewhere.mkdir(parents=True)
    assert Base.read(elsewhere).revision == Base.read(elsewhere).id


def test_a_base_from_elsewhere_is_known_by_its_bytes(tmp_path, base):
    (tmp_path / "model_index.json").write_text((base.folder / "model_index.json").read_text())
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights.safetensors").write_bytes(b"one")
    first = Base.read(tmp_path)
    (tmp_path / "unet" / "weights.safetensors").write_bytes(b"two")
    assert first.id != Base.read(tmp_path).id
    assert not first.is_small
