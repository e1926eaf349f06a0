"""Poses on a small real base that the bench trains itself: do the people who are drawn stand where they were asked to?

    python -m tests.bench.pose --out build/pose         # some minutes on two cores
    python -m tests.bench.pose --seeds 1

Footage: light figures of blocks on dark ground, anywhere, with one red arm that is held anywhere between up and down,
all with one caption; their key points are those that they are drawn by. Poses that are not of the footage are asked for
from one seed. Printed is Spearman's rank correlation of what was asked for with where the figure and its arm are in the
samples, with the projector, and without, where every sample has a seed of its own; and the held-out loss with the
clips' own poses and without them. The first line is of the figures themselves as the base's autoencoder rebuilds them:
what is lost there, no sample can show (arms are, by the few steps that it is trained for). `poses-*.png` shows what was
asked for and what came.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from tests.trainer.made_discs import made_clip, made_request, silent
from trainer.bases import Base
from trainer.cutting import fitted
from trainer.dataset import PoseTrack, TrainingClip
from trainer.encoded import Kept
from trainer.evaluation import fidelity
from trainer.families.parts import as_frames
from trainer.lora import fixed_losses, prepare, train_lora
from trainer.material import RunClips, gather
from trainer.opening import open_base
from trainer.pictures import draw_grid
from trainer.run import generation
from trainer.settings import LoraSettings
from trainer.skeletons import draw_people
from trainer.smallbase import SmallBaseSettings, small_base

N_CLIPS, N_ASKED = 128, 32
SIDE, DRAWN = 64, 32
"""Pixels of the footage, and of what is trained on and drawn."""
TEXT = "a person"
SETTINGS = LoraSettings(
    resolution_px=DRAWN, per_clip=1, steps=400, batch=16, lr=2e-3, guidance=1.0, control=False, pose=True
)
SMALL = SmallBaseSettings(resolution_px=DRAWN, per_clip=1, vae_steps=400, unet_steps=600)
TOLD = ("across", "down", "arm")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/pose"))
    parsed = parser.parse_args(arguments)
    parsed.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    base = small_base([_clip(number) for number in range(N_CLIPS)], parsed.out / "bases", SMALL, silent)
    clips = [_clip(number) for number in range(1000, 1000 + N_CLIPS)]
    print("rebuilt by the autoencoder:", *(f"{name} {value:.2f}" for name, value in _rebuilt(base).items()), flush=True)
    print(
        "seed  "
        + "".join(f"{name:>8} {'without':>8}" for name in TOLD)
        + "   held-out loss with poses, without, before"
    )
    for seed in range(parsed.seeds):
        _bench(seed, base, clips, parsed.out)


def _person(number: int) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Key points [17, 3], and how far across, down and, from the shoulder, up the right hand is, in shares."""
    x, y, angle = np.random.default_rng(number).uniform((0.3, 0.35, -1.2), (0.7, 0.65, 1.2))
    shoulder, half = np.array([x - 0.07, y - 0.14]), 0.07
    reach = np.array([-np.cos(angle), -np.sin(angle)])
    places = {
        **{0: (x, y - 0.22), 1: (x + 0.02, y - 0.24), 2: (x - 0.02, y - 0.24)},
        **{3: (x + 0.05, y - 0.22), 4: (x - 0.05, y - 0.22), 5: (x + half, y - 0.14), 6: shoulder},
        **{7: (x + half, y - 0.05), 8: shoulder + 0.09 * reach, 9: (x + half, y + 0.03), 10: shoulder + 0.18 * reach},
        **{11: (x + 0.05, y + 0.05), 12: (x - 0.05, y + 0.05), 13: (x + 0.05, y + 0.14), 14: (x - 0.05, y + 0.14)},
        **{15: (x + 0.05, y + 0.24), 16: (x - 0.05, y + 0.24)},
    }
    points = np.array([[*places[point], 0.9] for point in range(17)])
    return points, (float(x), float(y), float(np.sin(angle)))


def _drawn(points: np.ndarray) -> np.ndarray:
    """The figure: uint8 [SIDE, SIDE, 3]."""
    frame = np.full((SIDE, SIDE, 3), (40, 60, 90), np.uint8)
    at = (points[:, :2] * SIDE).round().astype(int)
    cv2.rectangle(frame, (at[6] + [0, -1]).tolist(), at[15].tolist(), (230, 230, 230), -1)
    cv2.circle(frame, at[0].tolist(), 4, (230, 230, 230), -1)
    cv2.line(frame, at[6].tolist(), at[10].tolist(), (210, 30, 30), 4)
    return frame


def _clip(number: int) -> TrainingClip:
    points, _ = _person(number)
    return replace(
        made_clip(number, "red"),
        clip_id=f"clip{number}",
        video_id=f"v{number}",
        conditioning=TEXT,
        media=f"figure {number}",
        load_frames=lambda: _drawn(points)[None],
        load_times=lambda: np.zeros(1),
        poses=(PoseTrack((0.0,), (tuple((x, y, score) for x, y, score in points.tolist()),)),),
    )


def _measured(sample: np.ndarray) -> tuple[float, float, float]:
    """The same of a sample; NaN where no figure or no arm is in it."""
    red, green, blue = sample.astype(float).transpose(2, 0, 1)
    rows, columns = np.mgrid[:DRAWN, :DRAWN] / DRAWN
    body, arm = (red > 140) & (green > 140) & (blue > 140), (red > 120) & (green < 110) & (blue < 110)
    if body.sum() < 8:
        return np.nan, np.nan, np.nan
    across, down = columns[body].mean(), rows[body].mean()
    return across, down, down - rows[arm].mean() if arm.sum() >= 2 else np.nan


@torch.no_grad()
def _rebuilt(base: Base) -> dict[str, float]:
    """Rank correlations of figures' places with those that are measured once the autoencoder has rebuilt them."""
    family = open_base(base, "cpu")
    people, asked = zip(*(_person(5000 + number) for number in range(N_ASKED)), strict=True)
    latents = family.encode_media(np.stack([fitted(_drawn(person), DRAWN, DRAWN) for person in people]))
    pixels = family.pipeline.vae.decode(latents / family.pipeline.vae.config.scaling_factor).sample.movedim(1, -1)
    found = np.array([_measured(one) for one in as_frames((pixels / 2 + 0.5).numpy())]).T.tolist()
    told = (fidelity(*pair) for pair in zip(zip(*asked, strict=True), found, strict=True))
    return {name: np.nan if value is None else value for name, value in zip(TOLD, told, strict=True)}


def _bench(seed: int, base: Base, clips: Sequence[TrainingClip], out: Path) -> None:
    settings, family = replace(SETTINGS, seed=seed), open_base(base, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        kept = Kept(Path(folder), base.id)
        material = gather(made_request(), RunClips(clips, (), ()), (), family, settings, kept, silent)
    student = prepare(family, settings, material.channels, None)
    before = fixed_losses(student, material.encoded, material.held_out).mean()
    train_lora(student, material.encoded, material.shares, settings, silent)
    losses = [fixed_losses(student, material.encoded, material.held_out, one).mean() for one in (True, False)]
    people, asked = zip(*(_person(5000 + number) for number in range(N_ASKED)), strict=True)
    poses = np.stack([fitted(draw_people(person[None], SIDE, SIDE), DRAWN, DRAWN) for person in people])
    how, control, texts = generation(family, settings), student.control, [TEXT] * N_ASKED
    assert control is not None
    assert control.pose is not None
    rows, absent = control.pose.by_latent(torch.from_numpy(poses)[:, None]), torch.zeros(N_ASKED, 0)
    with control.steer_rows(absent, absent, poses=(rows, torch.ones(N_ASKED))):
        posed = family.generate(texts, [11] * N_ASKED, how)
    plain = family.generate(texts, range(100, 100 + N_ASKED), how)
    found = [np.array([_measured(sample) for sample in samples]).T for samples in (posed, plain)]
    cells = []
    for wanted, *told in zip(zip(*asked, strict=True), *found, strict=True):
        values = (fidelity(wanted, one.tolist()) for one in told)
        cells += ["    none" if value is None else f"{value:8.2f}" for value in values]
    print(f"{seed:<5} {' '.join(cells)}   {losses[0]:.4f}, {losses[1]:.4f}, {before:.4f}", flush=True)
    figures = np.stack([fitted(_drawn(person), DRAWN, DRAWN) for person in people[:8]])
    shown = {"asked for": poses[:8], "its figure": figures, "with it": posed[:8], "without": plain[:8]}
    draw_grid(out / f"poses-{seed}.png", texts[:8], shown, family, f"poses, seed {seed}")


if __name__ == "__main__":
    main()
