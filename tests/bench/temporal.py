"""What the temporal loss does to the flicker of an adapter's videos, on a small base that is trained here.

    python -m tests.bench.temporal --out DIR                                     # six minutes of one core
    python -m tests.bench.temporal --out DIR --weights 0 0.3 1 3 --seeds 10 11   # on the base that DIR holds by then

The base is a small LTX-Video of diffusers' classes (transformer of 0.3M parameters, autoencoder of 8 x 8 pixels a
frame); it is trained on light discs that cross red, green and blue ground, and in half of that footage the light
flickers, which no caption says. The concept's clips have yellow ground and steady light: 16 to train on, 8 held out.
An adapter is trained on them as runs do (`trainer.lora`, defaults of `LoraSettings`) for each weight and seed. Told are

    held-out   loss of the held-out clips on fixed noise, without the temporal term
    flicker    `trainer.evaluation.flicker` of 16 videos drawn from seeds of their own; footage: as the autoencoder
               rebuilds it, since no adapter can be nearer than that
    motion     how far the first frame is from the last once each is divided by its own light, as a share of footage's:
               a video that stands still does not flicker either

and the strips of the first seed are drawn to DIR/temporal.png. The weight was chosen on seeds 10 and 11, first with
violet ground as the concept and with a base of their own. Seen:

    seed  weight  held-out  ratio  flicker  ratio  motion      footage: flicker 0.0072; base: 0.0732
       0       0    0.1590  1.000   0.0206   1.00    0.84
       0       1    0.1568  0.986   0.0146   0.71    0.80
       1       0    0.1578  1.000   0.0207   1.00    0.84
       1       1    0.1560  0.989   0.0143   0.69    0.82
       2       0    0.1603  1.000   0.0216   1.00    0.83
       2       1    0.1565  0.976   0.0147   0.68    0.81
      10     0.3    0.1572  0.988   0.0182   0.84    0.82
      10       1    0.1580  0.994   0.0149   0.68    0.80
      10       3    0.1697  1.067   0.0122   0.56    0.76
      11     0.3    0.1575  0.986   0.0176   0.83    0.80
      11       1    0.1587  0.993   0.0145   0.68    0.78
      11       3    0.1721  1.077   0.0125   0.59    0.75

Where the concept's own light flickers (`--swing 0.2`: footage 0.1117), so do the videos: 0.1055, 0.1027 and 0.1031 at
weight 0 become 0.1097, 0.1084 and 0.1088 at weight 1, nearer to the footage's.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXPipeline, LTXVideoTransformer3DModel
from diffusers.utils import logging
from torch import Tensor
from torch.nn.functional import avg_pool3d

from tests.trainer.families.tiny.parts import TEXT_WIDTH, t5_text
from tests.trainer.made_discs import COLOURS_RGB, disc_frames, made_clip, silent
from trainer.bases import SMALL_LABEL, Base
from trainer.cutting import fitted
from trainer.encoded import Encoded, Kept, encode
from trainer.evaluation import flicker
from trainer.families.base import Family, Generation
from trainer.families.ltx import LTX
from trainer.families.parts import as_frames, as_pixels
from trainer.loop import drawn, fit
from trainer.lora import fixed_losses, prepare, train_lora
from trainer.opening import open_base
from trainer.settings import LoraSettings

SIDE_PX, N_FRAMES, CHANNELS = 32, 9, 16
GROUNDS, CONCEPT = ("red", "green", "blue"), "yellow"
SWING = 0.2
"""Light of a frame that flickers: 1 with up to so much more or less."""
TRAINED_ON, HELD_OUT, DRAWN = 16, 8, 16
HOW = Generation(steps=20, guidance=1.0, width_px=SIDE_PX, height_px=SIDE_PX, n_frames=N_FRAMES)
SETTINGS = LoraSettings(resolution_px=SIDE_PX, per_clip=1, frames=N_FRAMES, control=False)


def footage(ground: str, seed: int, swing: float) -> np.ndarray:
    """A disc that crosses the ground to one side: uint8 [N_FRAMES, SIDE_PX, SIDE_PX, 3]."""
    frames = disc_frames(ground, 2 * N_FRAMES, seed)[::2]
    light = 1 + swing * np.random.default_rng(seed).uniform(-1, 1, (N_FRAMES, 1, 1, 1))
    lit = np.clip(frames[:, :, :: 1 if seed % 2 else -1] * light, 0, 255).astype(np.uint8)
    return np.stack([fitted(frame, SIDE_PX, SIDE_PX) for frame in lit])


def caption(ground: str) -> str:
    """What is said of a video."""
    return f"a light disc slides over {ground} ground"


# --- the base ---


def build() -> LTXPipeline:
    """An untrained pipeline; a latent is one frame's 8 x 8 pixels, so that motion is the transformer's business."""
    torch.manual_seed(0)
    tokenizer, text_encoder = t5_text([caption(ground) for ground in COLOURS_RGB])
    vae = AutoencoderKLLTXVideo(
        latent_channels=CHANNELS,
        block_out_channels=(48,),
        decoder_block_out_channels=(48,),
        down_block_types=("LTXVideoDownBlock3D",),
        spatio_temporal_scaling=(False,),
        decoder_spatio_temporal_scaling=(False,),
        layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        decoder_inject_noise=(False, False),
        downsample_type=("conv",),
        upsample_residual=(False,),
        upsample_factor=(1,),
        patch_size=8,
    )
    transformer = LTXVideoTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_attention_heads=4,
        attention_head_dim=16,
        cross_attention_dim=64,
        caption_channels=TEXT_WIDTH,
        num_layers=4,
    )
    # LTX-Video's schedule.
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        shift_terminal=0.1,
    )
    return LTXPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, transformer=transformer, scheduler=scheduler
    )


def told(step: int, loss: float) -> None:
    """Print every hundredth loss."""
    if step % 100 == 0:
        print(f"  step {step}: {loss:.3f}", flush=True)


def fit_autoencoder(vae: AutoencoderKLLTXVideo, videos: np.ndarray, steps: int = 1000) -> None:
    """Train on three frames at a time in all kinds of light, then let latents have mean 0 and deviation 1."""
    pixels = as_pixels(videos).transpose(1, 2)
    vae.requires_grad_(True).train()

    def loss_of_step(step: int) -> Tensor:
        numbers = drawn(0, step)
        rows = torch.randint(len(pixels), (8,), generator=numbers)
        start = int(torch.randint(N_FRAMES - 2, (1,), generator=numbers))
        light = 0.7 + 0.6 * torch.rand(8, 1, 3, 1, 1, generator=numbers)
        wanted = ((pixels[rows, :, start : start + 3] + 1) * light).clamp(0, 2) - 1
        latents = vae.encode(wanted).latent_dist.mode()
        off = vae.decode(latents + 0.05 * torch.randn(latents.shape, generator=numbers)).sample - wanted
        coarse = avg_pool3d(off, (1, 4, 4)).abs().mean()
        return off.abs().mean() + off.square().mean() + 2 * coarse + 1e-4 * latents.square().mean()

    fit(list(vae.parameters()), loss_of_step, steps, 3e-3, told)
    vae.requires_grad_(False).eval()
    with torch.no_grad():
        latents = torch.cat([vae.encode(some).latent_dist.mode() for some in pixels.split(16)])
    vae.latents_mean.copy_(latents.mean((0, 2, 3, 4)))
    vae.latents_std.copy_(latents.std((0, 2, 3, 4)))


def fit_transformer(family: Family, latents: Tensor, ground_of: Tensor, steps: int = 700) -> None:
    """Train on latents with the caption of their ground."""
    texts = family.encode_texts([*(caption(ground) for ground in GROUNDS), ""])
    transformer = family.denoiser.requires_grad_(True).train()

    def loss_of_step(step: int) -> Tensor:
        numbers = drawn(1, step)
        rows = torch.randint(len(latents), (16,), generator=numbers)
        text = ground_of[rows].masked_fill(torch.rand(16, generator=numbers) < 0.1, len(GROUNDS))
        noise = torch.randn(latents[rows].shape, generator=numbers)
        times = family.objective.sample_times(noise, numbers)
        return family.loss(latents[rows], noise, times, {name: states[text] for name, states in texts.items()}).mean()

    fit(list(transformer.parameters()), loss_of_step, steps, 2e-3, told)
    transformer.requires_grad_(False).eval()


def make_base(folder: Path, n: int = 150) -> None:
    """Train and save the base; its autoencoder has seen yellow ground too, as one of a real base would have."""
    grounds = [i % len(GROUNDS) for i in range(n)]
    videos = np.stack([footage(GROUNDS[g], i, SWING * (i // len(GROUNDS) % 2)) for i, g in enumerate(grounds)])
    pipeline = build()
    print("autoencoder", flush=True)
    fit_autoencoder(pipeline.vae, np.concatenate([videos, [footage(CONCEPT, n + i, 0.0) for i in range(50)]]))
    family = LTX(pipeline)
    print("transformer", flush=True)
    fit_transformer(family, family.encode_media(videos), torch.tensor(grounds))
    pipeline.save_pretrained(folder)
    Base(id=Base.read(folder).id, folder=folder, label=SMALL_LABEL).write()


# --- the adapters ---


@dataclass(frozen=True)
class Told:
    """What came of an adapter. videos: uint8 [DRAWN, T, H, W, 3]."""

    held_out: float
    videos: np.ndarray


def material(family: Family, kept: Kept, swing: float) -> Encoded:
    """The concept's clips in light of that swing, those to train on first."""
    clips = [
        replace(
            made_clip(i, CONCEPT),
            caption=caption(CONCEPT),
            media=f"concept {i} {swing}",
            load_video=lambda rate_hz, seed=1000 + i: footage(CONCEPT, seed, swing),
        )
        for i in range(TRAINED_ON + HELD_OUT)
    ]
    return encode(clips, [[(caption(CONCEPT), 1.0)]] * len(clips), (), family, SETTINGS.cut, kept, silent)


def adapted(base: Base, encoded: Encoded, settings: LoraSettings) -> Told:
    """Train an adapter and draw with it."""
    family = open_base(base, "cpu")
    student = prepare(family, settings, (), None)
    shares = np.repeat([1 / TRAINED_ON, 0.0], [TRAINED_ON, HELD_OUT])
    train_lora(student, encoded, shares, settings, silent)
    held_out = fixed_losses(student, encoded, list(range(TRAINED_ON, TRAINED_ON + HELD_OUT))).mean()
    return Told(float(held_out), drawn_with(family))


def drawn_with(family: Family) -> np.ndarray:
    """Videos of the concept's caption: uint8 [DRAWN, T, H, W, 3]."""
    return family.generate([caption(CONCEPT)] * DRAWN, range(500, 500 + DRAWN), HOW)


@torch.no_grad()
def rebuilt(family: Family, latents: Sequence[Tensor]) -> np.ndarray:
    """Videos of latents, uint8 [N, T, H, W, 3]."""
    vae = family.pipeline.vae
    mean, deviation = (values.view(1, -1, 1, 1, 1) for values in (vae.latents_mean, vae.latents_std))
    return as_frames(
        (vae.decode(torch.stack(list(latents)) * deviation + mean).sample / 2 + 0.5).movedim(1, -1).numpy()
    )


def motion(videos: np.ndarray) -> float:
    """How far the last frames of uint8 [N, T, H, W, 3] are from the first, whatever their light: the median, which is
    the ground's, is divided out."""
    luma = videos.mean(-1)
    even = luma / np.median(luma, axis=(2, 3), keepdims=True)
    return float(np.abs(even[:, -1] - even[:, 0]).mean())


def draw_strips(strips: Sequence[tuple[str, np.ndarray]], path: Path, n: int = 4) -> None:
    """The first videos of each, frame by frame, below its name."""
    matplotlib.use("Agg")
    figure, axes = plt.subplots(len(strips), figsize=(7, 3.4 * len(strips)))
    for axis, (name, videos) in zip(axes, strips, strict=True):
        axis.imshow(np.concatenate([np.concatenate(list(video), axis=1) for video in videos[:n]]))
        axis.set_title(name, fontsize=10)
        axis.axis("off")
    figure.savefig(path, dpi=130, bbox_inches="tight")


def main() -> None:
    """Print the table and draw the strips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--weights", type=float, nargs="+", default=[0.0, SETTINGS.temporal], help="each is compared with the first"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--swing", type=float, default=0.0, help="of the light in the concept's clips")
    given = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    folder = given.out / "base"
    if not folder.is_dir():
        make_base(folder)
    base = Base.read(folder)
    family = open_base(base, "cpu")
    encoded = material(family, Kept(given.out / "kept", base.id), given.swing)
    real, undone = rebuilt(family, encoded.latents[TRAINED_ON:]), drawn_with(family)
    strips = [("footage, rebuilt", real), ("base", undone)]
    for name, videos in strips:
        print(f"{name}: flicker {flicker(videos):.4f}, motion {motion(videos) / motion(real):.2f}", flush=True)
    print("seed  weight  held-out  ratio  flicker  ratio  motion")
    for seed in given.seeds:
        runs = {
            weight: adapted(base, encoded, replace(SETTINGS, temporal=weight, seed=seed)) for weight in given.weights
        }
        plain = runs[given.weights[0]]
        for weight, one in runs.items():
            shakes = flicker(one.videos)
            print(
                f"{seed:4}  {weight:6g}  {one.held_out:8.4f}  {one.held_out / plain.held_out:5.3f}  {shakes:7.4f}"
                f"  {shakes / flicker(plain.videos):5.2f}  {motion(one.videos) / motion(real):6.2f}",
                flush=True,
            )
            if seed == given.seeds[0]:
                strips.append((f"weight {weight:g}, seed {seed}", one.videos))
    draw_strips(strips, given.out / "temporal.png")


if __name__ == "__main__":
    main()
