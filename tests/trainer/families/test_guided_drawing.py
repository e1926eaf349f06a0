"""What a pipeline's denoiser says while it draws, with the text and without, is what `predict` says."""

import inspect
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.bases import Base
from trainer.opening import open_base

WHOLE = {"duration_s": 0.5}
"""As long as Stable Audio's pipeline draws, whatever it cuts off afterwards."""


@pytest.mark.parametrize(
    ("name", "changed", "halves"),
    [
        ("sd", {}, (0, 1)),
        ("sdxl", {}, (0, 1)),
        ("stable_audio", WHOLE, (0, 1)),
        # Its pipeline pads the empty text as long as the other, and GPT-2 counts padding.
        ("audioldm2", {}, (1,)),
    ],
)
def test_predict_says_what_the_denoiser_says_in_drawing(
    name: str, changed: dict[str, Any], halves: tuple[int, ...], tmp_path: Path
):
    example = import_module(f"tests.trainer.families.tiny.{name}")
    example.build(tmp_path)
    family = open_base(Base.read(tmp_path), "cpu")
    named, calls = inspect.signature(family.denoiser.forward), []
    noting = family.denoiser.register_forward_hook(
        lambda _, args, kwargs, output: calls.append((named.bind(*args, **kwargs).args, output[0])), with_kwargs=True
    )
    text = example.TEXTS[0]
    family.generate([text], (3,), replace(example.HOW, **changed))
    noting.remove()
    assert len(calls) == 2
    for (noised, time, *_), said in calls:
        for half in halves:
            texts = family.encode_texts([("", text)[half]])
            with torch.no_grad():
                predicted = family.predict(noised[half : half + 1], time.reshape(1), texts)
            assert torch.allclose(predicted[0], said[half], atol=1e-5)
