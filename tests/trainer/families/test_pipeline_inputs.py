"""A family's denoiser is asked in training what its pipeline asks it when it draws."""

import inspect
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from trainer.bases import Base
from trainer.families.base import Family
from trainer.objectives import Flow
from trainer.opening import open_base


@pytest.fixture(scope="module", params=["flux", "hunyuan_video", "cogvideox"])
def example(request: pytest.FixtureRequest) -> ModuleType:
    """The module that tells of a tiny base."""
    return import_module(f"tests.trainer.families.tiny.{request.param}")


@pytest.fixture
def family(example: ModuleType, tmp_path: Path) -> Family:
    """The loaded base."""
    example.build(tmp_path)
    return open_base(Base.read(tmp_path), "cpu")


def asked(family: Family, into: list[dict[str, Any]]) -> Any:
    """Note the arguments of every call of the denoiser; returns a handle with `remove()`."""
    named = inspect.signature(inspect.unwrap(type(family.denoiser).forward))

    def note(denoiser: Any, args: Any, kwargs: Any) -> None:
        into.append(dict(named.bind(denoiser, *args, **kwargs).arguments))

    return family.denoiser.register_forward_pre_hook(note, with_kwargs=True)


def test_the_denoiser_is_given_exactly_what_the_pipeline_gives_it(family, example):
    calls: list[dict[str, Any]] = []
    handle = asked(family, calls)
    family.generate(example.TEXTS, (3, 4), replace(example.HOW, steps=1, guidance=1.0))
    first = family.pipeline.scheduler.timesteps[:1].expand(2)
    shape = (1, *family.encode_media(example.media()).shape[1:])
    noise = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4)])
    times = first / 1000 if isinstance(family.objective, Flow) else first
    family.predict(noise, times, family.encode_texts(example.TEXTS))
    handle.remove()
    in_pipeline, in_training = [
        {name: given for name, given in call.items() if isinstance(given, torch.Tensor | tuple)} for call in calls
    ]
    assert in_training.keys() == in_pipeline.keys()
    for name, given in in_pipeline.items():
        own = in_training[name]
        for one, other in zip(given, own, strict=True) if isinstance(given, tuple) else [(given, own)]:
            assert torch.equal(one, other), name
            assert one.dtype == other.dtype, name


@pytest.mark.parametrize("example", ["flux", "hunyuan_video"], indirect=True)
def test_half_of_training_is_noisier_than_the_middle_of_sampling(family, example):
    family.generate(example.TEXTS, (3, 4), replace(example.HOW, steps=2))
    middle = family.pipeline.scheduler.sigmas[1]
    assert torch.allclose(family.objective.spread_times(family.encode_media(example.media()), 1), middle)


def test_hunyuan_video_reads_the_words_that_its_tokenizer_file_knows(tmp_path):
    example = import_module("tests.trainer.families.tiny.hunyuan_video")
    example.build(tmp_path)
    tokenizer = open_base(Base.read(tmp_path), "cpu").pipeline.tokenizer
    assert tokenizer.decode(tokenizer(example.TEXTS[0], add_special_tokens=False).input_ids) == example.TEXTS[0]
