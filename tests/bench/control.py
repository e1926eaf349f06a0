"""Control without text on small real bases that the bench trains itself: is what is asked for what comes?

    python -m tests.bench.control --out build/control         # pictures, then sounds; some minutes on two cores
    python -m tests.bench.control --only sound --seeds 1

Pictures: light discs over grounds of any brightness, all with one caption; the channel is `brightness`. Sounds:
wordless voices beside one and the same picture, all with one caption; the channels are `loudness` and `arousal`. The
clips' channels are measured by our own processors, and so is what is drawn. Printed is Spearman's rank correlation of
what was asked for (five levels from four seeds) with what came, with the projector and without; `sweep-*.png` shows
the samples.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from store.records import Control
from tests.bench.small_sound import RATE_HZ, small_sound_base, wordless
from tests.trainer.made_discs import disc_over, made_clip, made_request, silent
from trainer.bases import Base
from trainer.dataset import TrainingClip
from trainer.encoded import Kept
from trainer.evaluation import LEVELS, SWEEP_SEEDS, fidelity, sweep
from trainer.families.base import Family
from trainer.lora import fixed_losses, prepare, train_lora
from trainer.material import RunClips, gather
from trainer.measuring import Meter
from trainer.opening import open_base
from trainer.pictures import draw_sweeps
from trainer.run import generation
from trainer.settings import LoraSettings
from trainer.smallbase import SmallBaseSettings, small_base

N_CLIPS = 96
CHANNELS = {"picture": ("brightness",), "sound": ("loudness", "arousal")}
SETTINGS = {
    "picture": LoraSettings(resolution_px=32, per_clip=1, steps=400, batch=16, lr=2e-3, guidance=1.0),
    "sound": LoraSettings(per_clip=1, duration_s=1.0, steps=400, batch=16, lr=2e-3, guidance=1.0),
}
SMALL = SmallBaseSettings(resolution_px=32, per_clip=2, vae_steps=400, unet_steps=600)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(CHANNELS), help="one kind of media")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/control"))
    parsed = parser.parse_args(arguments)
    parsed.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    meter = Meter()
    print("media    seed  channel     with   without  held-out loss before, after")
    for media in [parsed.only] if parsed.only else CHANNELS:
        base, clips = _base_and_clips(media, parsed.out / "bases")
        told = _measured_channels(clips, open_base(base, "cpu"), media, meter)
        for seed in range(parsed.seeds):
            _bench(media, seed, base, told, meter, parsed.out)


def _base_and_clips(media: str, bases: Path) -> tuple[Base, list[TrainingClip]]:
    """A base that knows the footage under one caption, and the clips of a concept that it has not seen."""
    if media == "sound":
        return small_sound_base(bases), [_sound_clip(number) for number in range(1000, 1000 + N_CLIPS)]
    base = small_base([_picture_clip(number) for number in range(N_CLIPS)], bases, SMALL, silent)
    return base, [_picture_clip(number) for number in range(1000, 1000 + N_CLIPS)]


def _picture_clip(number: int) -> TrainingClip:
    drawn = np.random.default_rng(number)
    frames = disc_over(int(drawn.integers(10, 220)), number)
    clip = made_clip(number, "red")
    return replace(
        clip, clip_id=f"clip{number}", video_id=f"v{number}", conditioning="a disc", load_frames=lambda: frames
    )


def _sound_clip(number: int) -> TrainingClip:
    sound = wordless(number)
    clip = made_clip(number, "red")
    return replace(
        clip,
        clip_id=f"clip{number}",
        video_id=f"v{number}",
        conditioning="a voice",
        media=f"sound {number}",
        load_sound=lambda rate_hz, channels: sound,
    )


def _measured_channels(clips: Sequence[TrainingClip], family: Family, media: str, meter: Meter) -> list[TrainingClip]:
    """The clips with their channels as our processors measure them."""
    vocabulary = load_vocabulary(DEFAULT_VOCABULARY)
    names = CHANNELS[media]
    loaded = np.stack([clip.load_sound(RATE_HZ, 1) if media == "sound" else clip.load_frames()[0] for clip in clips])
    steered = []
    for clip, values in zip(clips, meter.controls(loaded, family), strict=True):
        levels = [vocabulary.control(name).level(values[name]) if name in values else 0.0 for name in names]
        present = tuple(name in values for name in names)
        steered.append(replace(clip, control=Control(names=names, values=tuple(levels), present=present)))
    return steered


def _bench(media: str, seed: int, base: Base, clips: Sequence[TrainingClip], meter: Meter, out: Path) -> None:
    settings = replace(SETTINGS[media], seed=seed)
    family = open_base(base, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        material = gather(
            made_request(), RunClips(clips, (), ()), (), family, settings, Kept(Path(folder), base.id), silent
        )
    student = prepare(family, settings, material.channels, None)
    before = fixed_losses(student, material.encoded, material.held_out).mean()
    train_lora(student, material.encoded, material.shares, settings, silent)
    after = fixed_losses(student, material.encoded, material.held_out).mean()
    how, text = generation(family, settings), material.texts[0]
    assert student.control is not None
    sweeps = [sweep(family, student.control, channel, text, how, meter) for channel in CHANNELS[media]]
    # Without the projector nothing can be asked for: every level gets samples of its own.
    seeds = [100 + n for n in range(len(LEVELS) * len(SWEEP_SEEDS))]
    plain = meter.controls(family.generate([text] * len(seeds), seeds, how), family)
    for one in sweeps:
        without = fidelity(one.requested, [sample.get(one.channel, np.nan) for sample in plain])
        told = " ".join("   none" if value is None else f"{value:7.2f}" for value in (one.fidelity, without))
        print(f"{media:8} {seed:<5} {one.channel:10} {told}   {before:.4f}, {after:.4f}", flush=True)
    draw_sweeps(out / f"sweep-{media}-{seed}.png", sweeps, family, text)


if __name__ == "__main__":
    main()
