"""A base for machines without base weights: small, of the real classes, pre-trained briefly on the footage itself.

It is a Stable Diffusion pipeline of diffusers and transformers in every part (UNet, KL autoencoder, CLIP text
encoder and tokenizer), saved and loaded like any other, so that all that comes after runs the code that a
pretrained base runs. What it draws is only as good as some minutes of footage and a minute or two of training
allow, and it says so wherever it goes (`SMALL_LABEL`).
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from torch.nn.functional import avg_pool2d
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from store.files import discard_old
from store.records import digest
from trainer.bases import BASE_FILE, SMALL_LABEL, Base
from trainer.cutting import check_frames, some_frames
from trainer.dataset import TrainingClip, draw_shares, held_out_ids, refuse_unfit
from trainer.families.parts import as_pixels, tokenize
from trainer.families.sd import StableDiffusion
from trainer.loop import Progress, Told, drawn, fit

VERSION = 2
"""Of the architecture and training below; a bump makes new bases."""
CAPTION_LENGTH = 77
"""Tokens, as CLIP's."""
KL_WEIGHT = 4e-8
"""Of the autoencoder's KL term, summed over the latent; chosen: keeps the latent bounded and blurs nothing."""
COARSE_WEIGHT = 2.0
"""Of the error of 4x4 means; chosen: colours come right before the steps run out."""
_PARTIAL = ".partial"
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True)
class SmallBaseSettings:
    """Steps chosen to take about two minutes of one core (137 s measured on a busy one: 52 clips at 64 px)."""

    resolution_px: int = 64
    per_clip: int = 8
    at_most: int = 2_000
    """Clips: their frames are held in memory, 100 KB a clip."""
    vae_steps: int = 400
    vae_batch: int = 8
    vae_lr: float = 4e-3
    unet_steps: int = 450
    unet_batch: int = 16
    unet_lr: float = 2e-3
    caption_dropout: float = 0.1
    """Share of empty texts, as in Stable Diffusion, so that guidance works."""
    seed: int = 0


def small_base(clips: Sequence[TrainingClip], bases: Path, settings: SmallBaseSettings, progress: Progress) -> Base:
    """The small base of these clips, built unless `bases` already holds it.

    Of very many clips it takes `settings.at_most`, drawn by their ids.

    Args:
        clips: footage that may be trained on.
        bases: folder of bases; the base is written aside and renamed, so that a killed run leaves no half base.

    Raises:
        Conflict: a clip is held.
        InputError: too few clips, or a loss that is not finite.
    """
    refuse_unfit(clips)
    # An id is a hash: the first in their order are a draw that hardly changes while footage grows.
    ordered = sorted(clips, key=lambda clip: clip.clip_id)[: settings.at_most]
    base_id = small_base_id(ordered, settings)
    folder = bases / base_id
    if not folder.is_dir():
        bases.mkdir(parents=True, exist_ok=True)
        discard_old(bases.glob(f"*{_PARTIAL}"))
        partial = Path(tempfile.mkdtemp(prefix=f"{base_id}.", suffix=_PARTIAL, dir=bases))
        held_out = held_out_ids([clip.clip_id for clip in ordered])
        trained_on = [clip for clip in ordered if clip.clip_id not in held_out]
        pipeline, losses = _pretrain(_Frames.of(trained_on, settings), settings, progress)
        pipeline.save_pretrained(partial)
        _label(
            Base(id=base_id, folder=partial, label=SMALL_LABEL, clip_ids=tuple(c.clip_id for c in trained_on)),
            settings,
            losses,
        )
        _put(partial, folder)
    return Base.read(folder)


def _put(partial: Path, folder: Path) -> None:
    """Give a whole base its place, unless another run has put the same one there."""
    try:
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial)
        if not folder.is_dir():
            raise


@dataclass(frozen=True)
class _Frames:
    """Frames uint8 [N, R, R, 3] of clips, the clip of each, int64 [N], how often each is drawn, float64 [N], and the
    clips' texts."""

    frames_rgb: np.ndarray
    clip_of: Tensor
    shares: Tensor
    texts: tuple[str, ...]

    @staticmethod
    def of(clips: Sequence[TrainingClip], settings: SmallBaseSettings) -> "_Frames":
        side = settings.resolution_px
        frames, clip_of, shares = [], [], []
        for number, (clip, share) in enumerate(zip(clips, draw_shares(clips), strict=True)):
            loaded = clip.load_frames()
            check_frames(clip, loaded)
            own = some_frames(loaded, side, side, settings.per_clip)
            frames += [own]
            clip_of += [number] * len(own)
            shares += [share / len(own)] * len(own)
        texts = tuple(clip.conditioning for clip in clips)
        return _Frames(np.concatenate(frames), torch.tensor(clip_of), torch.tensor(shares, dtype=torch.float64), texts)


def small_base_id(clips: Sequence[TrainingClip], settings: SmallBaseSettings) -> str:
    """Content id of the base: what it is trained on, by which settings, from which seed."""
    trained_on = sorted([clip.clip_id, clip.conditioning] for clip in clips)
    return "small-" + digest([VERSION, trained_on, asdict(settings)])[:16]


def build_tokenizer(texts: Sequence[str]) -> CLIPTokenizer:
    """CLIP's byte-level BPE over the words of `texts`; a word that is not among them is spelt in bytes."""
    letters = [letter + end for end in ("", "</w>") for letter in sorted(ByteLevel.alphabet())]
    spelling = CLIPTokenizer(vocab=_numbered([*letters, BOS, EOS]), merges=[])
    learnt = spelling.train_new_from_iterator(texts, vocab_size=4096, show_progress=False)
    merges: Any = [tuple(pair) for pair in json.loads(learnt.backend_tokenizer.to_str())["model"]["merges"]]
    words = ["".join(pair) for pair in merges]
    return CLIPTokenizer(vocab=_numbered([*letters, *words, BOS, EOS]), merges=merges, model_max_length=CAPTION_LENGTH)


def _numbered(tokens: Sequence[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def _build(texts: Sequence[str], settings: SmallBaseSettings) -> Any:
    """An untrained pipeline: 0.23M parameters of autoencoder (factor 4), 2.7M of UNet, 64-wide text encoder."""
    tokenizer = build_tokenizer(texts)
    side = settings.resolution_px // 4
    vae = AutoencoderKL(
        block_out_channels=(16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        mid_block_add_attention=False,
        sample_size=settings.resolution_px,
        scaling_factor=1.0,
    )
    unet = UNet2DConditionModel(
        sample_size=side,
        block_out_channels=(32, 64, 96),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=64,
    )
    # Stable Diffusion's schedule, to its end: at the last step nothing of the picture is left, so that drawing begins
    # where training did and control decides on brightness too (Lin et al., arXiv 2305.08891).
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        steps_offset=1,  # not used with this spacing; the pipeline warns of others
        timestep_spacing="trailing",
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=_text_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CAPTION_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def _pretrain(frames: _Frames, settings: SmallBaseSettings, progress: Progress) -> tuple[Any, dict[str, list[float]]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        pipeline = _build(frames.texts, settings)
    steps = settings.vae_steps + settings.unet_steps
    vae_losses = _fit_vae(pipeline.vae, frames, settings, lambda step, loss: progress("base", step, steps, loss))
    family = StableDiffusion(pipeline)
    unet_losses = _fit_unet(
        family, frames, settings, lambda step, loss: progress("base", settings.vae_steps + step, steps, loss)
    )
    return pipeline, {"vae": vae_losses, "unet": unet_losses}


def _fit_vae(vae: Any, frames: _Frames, settings: SmallBaseSettings, told: Told) -> list[float]:
    vae.to(memory_format=torch.channels_last).train()
    n_latent = vae.config.latent_channels
    with torch.no_grad():
        # A posterior that starts narrow: with PyTorch's start its noise drowns the latent for half of the steps.
        vae.quant_conv.weight[n_latent:] = 0
        vae.quant_conv.bias[n_latent:] = -6

    def loss_of_step(step: int) -> Tensor:
        generator = drawn(settings.seed, step)
        rows = torch.multinomial(frames.shares, settings.vae_batch, replacement=True, generator=generator)
        pixels = as_pixels(frames.frames_rgb[rows.numpy()])
        posterior = vae.encode(pixels).latent_dist
        off = vae.decode(posterior.sample(generator)).sample - pixels
        coarse = avg_pool2d(off, 4).abs().mean()
        return off.abs().mean() + off.square().mean() + COARSE_WEIGHT * coarse + KL_WEIGHT * posterior.kl().mean()

    losses = fit(list(vae.parameters()), loss_of_step, settings.vae_steps, settings.vae_lr, told)
    vae.to(memory_format=torch.contiguous_format).requires_grad_(False).eval()
    _normalise_latents(vae, as_pixels(frames.frames_rgb))
    return losses


@torch.no_grad()
def _normalise_latents(vae: Any, pixels: Tensor) -> None:
    """Give every latent channel mean 0 and deviation 1 over `pixels`, as the noise schedule expects.

    The affine map is folded into the 1x1 convolutions around the latent; what the autoencoder rebuilds stays.
    """
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in pixels.split(64)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    into, out_of, n = vae.quant_conv, vae.post_quant_conv, len(mean)
    out_of.bias += out_of.weight[:, :, 0, 0] @ mean
    out_of.weight *= deviation[None, :, None, None]
    into.bias[:n] = (into.bias[:n] - mean) / deviation
    into.weight[:n] /= deviation[:, None, None, None]
    into.bias[n:] -= 2 * deviation.log()


def _fit_unet(family: StableDiffusion, frames: _Frames, settings: SmallBaseSettings, told: Told) -> list[float]:
    """UNet and text encoder together, by the loss that adapters are trained with."""
    latents = family.encode_media(frames.frames_rgb)
    text_encoder, unet = family.pipeline.text_encoder, family.denoiser
    token_ids = tokenize(family.pipeline.tokenizer, [*frames.texts, ""])
    empty = len(frames.texts)
    for module in (text_encoder, unet):
        module.requires_grad_(True).train()

    def loss_of_step(step: int) -> Tensor:
        generator = drawn(settings.seed + 1, step)
        rows = torch.multinomial(frames.shares, settings.unet_batch, replacement=True, generator=generator)
        dropped = torch.rand(settings.unet_batch, generator=generator) < settings.caption_dropout
        states = text_encoder(token_ids[frames.clip_of[rows].masked_fill(dropped, empty)]).last_hidden_state
        noise = torch.randn(latents[rows].shape, generator=generator)
        times = family.objective.sample_times(noise, generator)
        return family.loss(latents[rows], noise, times, {"encoder_hidden_states": states}).mean()

    parameters = [*unet.parameters(), *text_encoder.parameters()]
    losses = fit(parameters, loss_of_step, settings.unet_steps, settings.unet_lr, told)
    for module in (text_encoder, unet):
        module.requires_grad_(False).eval()
    return losses


def _label(base: Base, settings: SmallBaseSettings, losses: dict[str, list[float]]) -> None:
    """Say what the base is, in its own files."""
    base.write()
    index = base.folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_cliploom_label": SMALL_LABEL}, indent=2))
    final = {name: sum(values[-50:]) / len(values[-50:]) for name, values in losses.items()}
    (base.folder / "README.md").write_text(
        f"# {base.id}\n\n"
        f"**{SMALL_LABEL}.** A Stable Diffusion pipeline in miniature, made so that adapters can be trained and tried"
        " on a machine that holds no base weights.\n\n"
        f"- trained on {len(base.clip_ids)} clips (ids in `{BASE_FILE}`), from random weights\n"
        f"- settings: `{json.dumps(asdict(settings))}`\n"
        f"- mean loss over the last 50 steps: autoencoder {final['vae']:.3f}, UNet {final['unet']:.3f}\n"
        f"- load: `StableDiffusionPipeline.from_pretrained(folder)`\n\n"
        "Not for: any use of its pictures; judging how an adapter would do on a real base.\n"
    )
