"""What is particular to video families: what their denoisers read, the sizes that they take, names in ComfyUI."""

import inspect
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from sentencepiece import SentencePieceTrainer

from store.errors import ModelUnavailable
from trainer.bases import Base
from trainer.families.base import Family, Rules
from trainer.families.ltx import LTX
from trainer.families.wan import Wan
from trainer.opening import open_base


def opened(name: str, folder: Path) -> Any:
    """The tiny base of that name and the module that tells of it."""
    example = import_module(f"tests.trainer.families.tiny.{name}")
    example.build(folder)
    return open_base(Base.read(folder), "cpu"), example


def first_read(family: Family, work: Callable[[], Any]) -> dict[str, Any]:
    """Arguments of the denoiser's first call while `work` runs, by name."""
    calls: list[dict[str, Any]] = []
    named = inspect.signature(family.denoiser.forward)
    noting = family.denoiser.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(named.bind(*args, **kwargs).arguments), with_kwargs=True
    )
    work()
    noting.remove()
    return {name: value for name, value in calls[0].items() if name not in ("return_dict", "attention_kwargs")}


@pytest.mark.parametrize(("name", "config"), [("ltx", {}), ("wan", {}), ("wan", {"expand_timesteps": True})])
def test_training_gives_the_denoiser_what_drawing_gives_it(name, config, tmp_path):
    family, example = opened(name, tmp_path)
    family.pipeline.register_to_config(**config)
    drawing = first_read(family, lambda: family.generate(example.TEXTS, (3, 4), replace(example.HOW, guidance=1.0)))
    shape = family.encode_media(example.media()).shape[1:]
    noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4)])
    times = drawing["timestep"].view(2, -1)[:, 0] / 1000
    training = first_read(family, lambda: family.predict(noise, times, family.encode_texts(example.TEXTS)))
    assert training.keys() == drawing.keys()
    for argument, value in drawing.items():
        if isinstance(value, torch.Tensor):
            assert value.shape == training[argument].shape, argument
            assert torch.allclose(value.float(), training[argument].float()), argument
        else:
            assert value == training[argument], argument


@pytest.mark.parametrize(("name", "rules"), [("ltx", Rules(32, 8, 25)), ("wan", Rules(16, 4, 16))])
def test_the_rules_are_those_of_the_loaded_base(name, rules, tmp_path):
    family, _ = opened(name, tmp_path)
    assert family.rules == rules


def test_a_tokenizer_that_is_a_sentencepiece_model_alone_is_read_as_it_is_published(tmp_path):
    folder = tmp_path / "base"
    import_module("tests.trainer.families.tiny.cogvideox").build(folder)
    shutil.rmtree(folder / "tokenizer")
    (folder / "tokenizer").mkdir()
    text = "a red disc slides over sand"
    SentencePieceTrainer.train(
        sentence_iterator=iter([text] * 8),
        model_prefix=str(folder / "tokenizer" / "spiece"),
        vocab_size=17,
        **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    )
    (folder / "tokenizer" / "spiece.vocab").unlink()
    (folder / "tokenizer" / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 100}')
    tokenizer = open_base(Base.read(folder), "cpu").pipeline.tokenizer
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_longer_videos_are_trained_at_noisier_times_where_the_base_draws_them_so(tmp_path):
    objective = opened("ltx", tmp_path)[0].objective
    short, long = (objective.spread_times(torch.empty(1, 8, n, 16, 16), 1).item() for n in (4, 16))
    # Medians of 1024 and 4096 tokens: 1 / (1 + exp(-shift)) of the schedule's two ends.
    assert short == pytest.approx(1 / (1 + 2.718281828**-0.95), abs=1e-5)
    assert long == pytest.approx(1 / (1 + 2.718281828**-2.05), abs=1e-5)


def test_the_time_loss_is_about_errors_that_jump_and_not_about_those_that_all_frames_share(tmp_path):
    class Wrong(LTX):
        off: torch.Tensor

        def predict(self, noised, times, texts):
            return self.off  # Of nothing at all: without signal and noise the target is zero.

    family = Wrong(opened("ltx", tmp_path)[0].pipeline)
    nothing, times = torch.zeros(1, 8, 5, 2, 2), torch.tensor([0.3])
    for off, wanted in ((1.0, 1.0), (torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]).view(5, 1, 1), 1.0 + 0.5 * 4.0)):
        family.off = torch.ones_like(nothing) * off
        assert family.loss(nothing, nothing, times, {}, temporal=0.0).item() == 1.0
        assert family.loss(nothing, nothing, times, {}, temporal=0.5).item() == pytest.approx(wanted)


def test_a_wan_of_two_denoisers_is_refused(tmp_path):
    family, _ = opened("wan", tmp_path)
    family.pipeline.register_modules(transformer_2=family.denoiser)
    with pytest.raises(ModelUnavailable, match="two denoisers"):
        Wan(family.pipeline)
