"""What stage B gains on a narrow distinction, over a random subset of its size and over its parent.

    python -m tests.bench.stages --seeds 3

On a small base (see `trainer.smallbase`) that knows discs over red, green and blue ground: stage A learns a broad
concept, discs over yellow ground, of which every fourth is a narrow one, with a ring around the disc. Stage B goes on
from it with a quarter of replay: on the narrow clips, or on as many drawn at random from all. Printed is the loss at
fixed noise on narrow clips that no run has trained on, with the standard error over clips of the gain over each.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tests.trainer.made_discs import COLOURS_RGB, made_clip, made_request, silent
from trainer.adapters import save_adapter
from trainer.bases import Base
from trainer.dataset import TrainingClip, held_out_ids
from trainer.encoded import Kept
from trainer.evaluation import gain
from trainer.lora import Parent, Student, fixed_losses, prepare, train_lora
from trainer.material import Material, RunClips, gather
from trainer.opening import open_base
from trainer.settings import LoraSettings
from trainer.smallbase import SmallBaseSettings, small_base

N_CLIPS = 192
SMALL = SmallBaseSettings(resolution_px=32, per_clip=2, vae_steps=400, unet_steps=400)
STAGE_A = LoraSettings(resolution_px=32, per_clip=1, steps=300, batch=8, control=False)
STAGE_B = replace(STAGE_A, lr_share=0.25, steps=200, replay=0.25)


def disc(colour: str, number: int, is_narrow: bool) -> TrainingClip:
    """A clip of one frame: a light disc anywhere over a ground of about this colour, with a dark ring or without."""
    drawn = np.random.default_rng(number)
    rows, columns = np.mgrid[:48, :48]
    y, x = drawn.integers(14, 34, 2)
    away = np.hypot(rows - y, columns - x)
    frame = np.broadcast_to(np.array(COLOURS_RGB[colour]) + drawn.integers(-30, 30), (48, 48, 3)).clip(0, 255)
    frame = np.where((away < 8)[:, :, None], 235, frame)
    if is_narrow:
        frame = np.where(((away >= 9) & (away < 12))[:, :, None], 20, frame)
    frames = frame.astype(np.uint8)[None]
    clip = made_clip(number, colour)
    text = f"disc over {colour} ground"
    return replace(clip, clip_id=f"clip{number}", video_id=f"v{number}", conditioning=text, load_frames=lambda: frames)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parsed = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        known = [disc(colour, number, False) for number, colour in enumerate(("red", "green", "blue") * 24)]
        base = small_base(known, Path(folder, "bases"), SMALL, silent)
        print("seed  narrow loss: stage A  B narrow  B random   gain over A      gain over random")
        for seed in range(parsed.seeds):
            _compare(seed, base, Path(folder))


def _compare(seed: int, base: Base, folder: Path) -> None:
    clips = [disc("yellow", 1000 + n, n % 4 == 0) for n in range(N_CLIPS)]
    narrow = clips[::4]
    held_out = held_out_ids([clip.clip_id for clip in clips])
    trained_on = [clip for clip in clips if clip.clip_id not in held_out]
    own = [clip for clip in narrow if clip.clip_id not in held_out]
    picked = np.random.default_rng(seed).choice(len(trained_on), len(own), replace=False)
    # Those that are measured on belong to every run, and are drawn by none.
    unseen = [clip for clip in narrow if clip.clip_id in held_out]
    random = [*(trained_on[n] for n in picked), *unseen]
    kept = Kept(folder / "kept", base.id)
    stage_a, _ = _trained(base, RunClips(clips, (), ()), replace(STAGE_A, seed=seed), None, kept)
    parent = Parent(save_adapter(stage_a.family, None, folder, {}), None)
    settings = replace(STAGE_B, seed=seed + 10)
    found = {}
    for name, members in (("narrow", narrow), ("random", random)):
        student, material = _trained(base, RunClips(members, clips, ()), settings, parent, kept)
        rows = [row for row in material.held_out if _clip(members, material, row) in {one.clip_id for one in unseen}]
        found[name] = fixed_losses(student, material.encoded, rows)
        if name == "narrow":
            fresh = prepare(open_base(base, "cpu"), settings, (), parent)
            found["A"] = fixed_losses(fresh, material.encoded, rows)
    numbers = list(range(len(found["A"])))
    gains = [gain(found[name], found["narrow"], numbers) for name in ("A", "random")]
    losses = "  ".join(f"{found[name].mean():8.4f}" for name in ("A", "narrow", "random"))
    told = "  ".join(f"{one.mean:.4f} +- {one.error:.4f}" for one in gains)
    print(f"{seed:<5}        {losses}    {told}   of {len(numbers)} clips", flush=True)


def _trained(
    base: Base, clips: RunClips, settings: LoraSettings, parent: Parent | None, kept: Kept
) -> tuple[Student, Material]:
    family = open_base(base, "cpu")
    request = made_request(stage="B" if parent else "A", parent="p" if parent else None)
    material = gather(request, clips, (), family, settings, kept, silent)
    student = prepare(family, settings, (), parent)
    train_lora(student, material.encoded, material.shares, settings, silent)
    return student, material


def _clip(members: Sequence[TrainingClip], material: Material, row: int) -> str:
    number = int(material.encoded.clip_of[row])
    return members[number].clip_id if number < len(members) else ""


if __name__ == "__main__":
    main()
