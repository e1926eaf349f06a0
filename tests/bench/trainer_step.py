"""Processor seconds of a training step against a plain loop of diffusers and PEFT, and what kept latents save.

    python -m tests.bench.trainer_step --steps 60

The same tiny Stable Diffusion, the same latents and texts, batches and optimizer. `plain` is what a person writes from
the libraries' documentation; `ours` is `trainer.lora.train_lora` without control, and with it; `uncached` is the plain
loop that encodes its pictures and texts at each step. Rounds are interleaved; ratios are of the medians.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from peft import LoraConfig
from torch.nn.functional import mse_loss

from store.records import Control
from tests.trainer.made_discs import TINY, made_clip, made_request, silent
from trainer.bases import Base
from trainer.encoded import Kept
from trainer.families.parts import as_pixels, tokenize
from trainer.lora import prepare, train_lora
from trainer.material import Material, RunClips, gather
from trainer.opening import open_base
from trainer.settings import LoraSettings
from trainer.smallbase import small_base

ROUNDS = 5
SETTINGS = LoraSettings(resolution_px=32, per_clip=4, batch=16, lr=1e-3, caption_dropout=0.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parsed = parser.parse_args(arguments)
    torch.set_num_threads(1)
    settings = replace(SETTINGS, steps=parsed.steps)
    with tempfile.TemporaryDirectory() as folder:
        clips = [
            replace(
                made_clip(number, ("red", "green", "blue")[number % 3]),
                control=Control(names=("motion",), values=(number / 24,), present=(True,)),
            )
            for number in range(24)
        ]
        base = small_base(clips, Path(folder, "bases"), replace(TINY, vae_steps=2, unet_steps=2), silent)
        kept = Kept(Path(folder, "kept"), base.id)
        material = gather(made_request(), RunClips(clips, (), ()), (), open_base(base, "cpu"), settings, kept, silent)
        ways: dict[str, Callable[[], float]] = {
            "plain": lambda: _plain(base, material, settings),
            "ours": lambda: _ours(base, material, settings, ()),
            "ours with control": lambda: _ours(base, material, settings, material.channels),
            "uncached": lambda: _uncached(base, clips, settings),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                took[name].append(way() / settings.steps)
    plain = statistics.median(took["plain"])
    for name, seconds in took.items():
        print(f"{name:18} {statistics.median(seconds) * 1000:7.1f} ms a step, {statistics.median(seconds) / plain:.3f}")


def _ours(base: Base, material: Material, settings: LoraSettings, channels: Sequence[str]) -> float:
    student = prepare(open_base(base, "cpu"), settings, channels, None)
    start = time.process_time()
    train_lora(student, material.encoded, material.shares, settings, silent)
    return time.process_time() - start


def _adapted(base: Base, settings: LoraSettings) -> tuple[Any, list[torch.nn.Parameter], Any]:
    pipeline = open_base(base, "cpu").pipeline
    targets = r".*\.attn2\.(to_[qkv]|to_out\.0)"
    config = LoraConfig(r=settings.rank, lora_alpha=int(settings.alpha), target_modules=targets)
    pipeline.unet.add_adapter(config)
    parameters = [parameter for parameter in pipeline.unet.parameters() if parameter.requires_grad]
    return pipeline, parameters, DDPMScheduler.from_config(pipeline.scheduler.config)


def _steps(
    pipeline: Any, parameters: list[Any], noising: Any, settings: LoraSettings, batch: Callable[[], tuple[Any, Any]]
) -> float:
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=1e-4)
    start = time.process_time()
    for _ in range(settings.steps):
        latents, states = batch()
        noise = torch.randn_like(latents)
        times = torch.randint(0, noising.config.num_train_timesteps, (len(latents),))
        predicted = pipeline.unet(noising.add_noise(latents, noise, times), times, states).sample
        loss = mse_loss(predicted, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    return time.process_time() - start


def _plain(base: Base, material: Material, settings: LoraSettings) -> float:
    pipeline, parameters, noising = _adapted(base, settings)
    latents = torch.stack(material.encoded.latents)
    states = material.encoded.texts["encoder_hidden_states"]
    text_of = material.encoded.text_rows[torch.from_numpy(material.encoded.clip_of), 0]

    def batch() -> tuple[Any, Any]:
        rows = torch.randint(0, len(latents), (settings.batch,))
        return latents[rows], states[text_of[rows]]

    return _steps(pipeline, parameters, noising, settings, batch)


def _uncached(base: Base, clips: Sequence[Any], settings: LoraSettings) -> float:
    pipeline, parameters, noising = _adapted(base, settings)
    frames = np.concatenate([clip.load_frames()[:, 8:40, 16:48] for clip in clips])
    ids = tokenize(pipeline.tokenizer, [clip.conditioning for clip in clips for _ in clip.load_frames()])

    @torch.no_grad()
    def batch() -> tuple[Any, Any]:
        rows = torch.randint(0, len(frames), (settings.batch,))
        latents = pipeline.vae.encode(as_pixels(frames[rows.numpy()])).latent_dist.mode()
        return latents, pipeline.text_encoder(ids[rows]).last_hidden_state

    return _steps(pipeline, parameters, noising, settings, batch)


if __name__ == "__main__":
    main()
