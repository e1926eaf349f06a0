"""What a diffusion family declares, so that one training loop serves them all.

A family is one file. It wraps the loaded pipeline of a base and says which modules an adapter may touch, where
control is added, what sizes the base takes, how media and texts become what the denoiser reads, what the denoiser is
trained to say, and what ComfyUI calls its modules.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from trainer.control import PoseProjector
from trainer.families.comfyui import ComfyLayout
from trainer.objectives import Objective

Texts = dict[str, Tensor]
"""Arguments of the denoiser that carry the text; the first dimension counts texts."""
Targets = Literal["cross_attention", "conditioning"]


@dataclass(frozen=True)
class Rules:
    """What a base takes.

    side_px: the sides of pictures are multiples of it. frame_step, step_latents: videos have `frame_step * n + 1`
    frames, of which come `step_latents * n + 1` latents. token_latents: so many of these, one after the other, are one
    token; where their number is no multiple, the first is repeated. frame_rate: that the base was trained at; None: not
    a video. rate_hz, channels: of sound.
    """

    side_px: int = 8
    frame_step: int = 1
    frame_rate: float | None = None
    rate_hz: int = 0
    channels: int = 0
    step_latents: int = 1
    token_latents: int = 1

    @property
    def latent_frames(self) -> int:
        """Frames of each latent but the first, which is of one."""
        return self.frame_step // self.step_latents


@dataclass(frozen=True)
class Generation:
    """How media are drawn from a model; what its kind of media has not is not read."""

    steps: int
    guidance: float
    width_px: int = 0
    height_px: int = 0
    n_frames: int = 1
    duration_s: float = 0.0


class Family(ABC):
    """One diffusion family over one loaded base; the base's own weights are frozen.

    Media are uint8 [N, H, W, 3] RGB of a picture family, uint8 [N, T, H, W, 3] RGB of a video family, and float32
    [N, C, S] in [-1, 1] at `rules.rate_hz` of a sound family.
    """

    pipeline_class: ClassVar[Any]
    """Pipeline of diffusers; a base's `model_index.json` names it."""
    media: ClassVar[Literal["picture", "video", "sound"]]
    denoiser_name: ClassVar[Literal["unet", "transformer"]]
    """The pipeline's component that adapters are added to; names in adapter files begin with it."""
    cross_attention: ClassVar[str]
    """Modules that get an adapter: a regular expression over module names, matched whole (PEFT does so only for a
    string; a list would match by suffix and reach self-attention)."""
    conditioning: ClassVar[str]
    """Modules of the conditioning pathway, which get one too where a run asks for it; empty: there are none."""
    control_at: ClassVar[str]
    """Module of the denoiser whose output [N, ..., D] control is added to: it reaches all of a sample, as the embedding
    of the time does that scales and shifts every layer."""
    pose_at: ClassVar[str | None] = None
    """Module of the denoiser that makes tokens of noised latents, which poses are added to; None: none are."""
    text: ClassVar[Literal["conditioning", "caption"]] = "conditioning"
    """What of a clip its texts are: the short conditioning string, or the caption, for encoders that read sentences."""
    frame_axis: ClassVar[int] = 2
    """Axis of a video's latents that counts frames."""
    comfy: ClassVar[ComfyLayout | None] = None
    """What ComfyUI calls the modules that adapters are on; None: it loads no adapters of the family."""
    recommended: ClassVar[Mapping[str, Any]] = {}
    """Fields of `LoraSettings` that others publish for full-size bases of the family."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        pipeline.set_progress_bar_config(disable=True)
        for component in pipeline.components.values():
            if isinstance(component, nn.Module):
                component.requires_grad_(False).eval()

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype = torch.float32) -> "Family":
        """The base in `folder`, on `device`; nothing is fetched."""
        return cls(cls.pipeline_class.from_pretrained(folder, local_files_only=True, torch_dtype=dtype).to(device))

    # --- what a family defines ---

    @property
    @abstractmethod
    def rules(self) -> Rules:
        """What the loaded base takes."""

    @property
    @abstractmethod
    def objective(self) -> Objective:
        """What the denoiser is trained to say."""

    @abstractmethod
    def encode_media(self, media: np.ndarray) -> Tensor:
        """Scaled latents float32 [N, ...] on the CPU. Of a posterior the mode, not a sample: latents are kept, and a
        run is a function of its seed."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> Texts:
        """What the denoiser is given for each text, on the CPU."""

    @abstractmethod
    def predict(self, noised: Tensor, times: Tensor, texts: Texts) -> Tensor:
        """The denoiser's output, of the shape and type of noised latents float32 [N, ...]; differentiable. All are on
        the denoiser's device; times are the objective's."""

    @abstractmethod
    def generate(self, texts: Sequence[str], seeds: Sequence[int], how: Generation) -> np.ndarray:
        """A picture, video or sound for each text and seed, as the pipeline gives it."""

    # --- what all share ---

    @property
    def denoiser(self) -> Any:
        """The module that adapters are added to."""
        return getattr(self.pipeline, self.denoiser_name)

    @cached_property
    def dtype(self) -> torch.dtype:
        """What the base computes in. The denoiser looks through all its modules whenever it is asked."""
        return self.denoiser.dtype

    @property
    def control_width(self) -> int:
        """D of what control is added to."""
        module = self.denoiser.get_submodule(self.control_at)
        return [one for one in module.modules() if isinstance(one, nn.Linear)][-1].out_features

    def pose_projector(self) -> PoseProjector | None:
        """One that does nothing yet; None where the family takes no poses."""
        if self.pose_at is None:
            return None
        width = len(self.denoiser.get_submodule(self.pose_at).weight)
        return PoseProjector(width, self.pose_at, self.rules.latent_frames, self.rules.token_latents)

    def loss(
        self,
        latents: Tensor,
        noise: Tensor,
        times: Tensor,
        texts: Texts,
        temporal: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Weighted squared error [N] of the prediction for each latent.

        weights: of the squared errors, of a shape that latents take; the loss of motion is of the whole frame.
        temporal: weight of the squared difference of a video's error from frame to frame, `|d_t (v^ - v)|^2` beside
        `|v^ - v|^2`. It asks for the footage's motion, not for none; what all frames have wrong costs nothing more.
        Chosen: the prediction's error, over that of the clean video which it amounts to, weighted by the share of
        signal squared. Both do the same at the times of short videos (a base as in `tests.bench.temporal`, two seeds:
        flicker falls by 60% and 53% at weight 1, by 59% and 51% at weight 20 of the other); at those of long ones,
        which have more noise, by 33% and by 17%. At the weight 0.1, which the other had, nothing was seen.
        """
        objective = self.objective
        noised = objective.noised(latents, noise, times)
        error = self.predict(noised, times, texts) - objective.target(latents, noise, times)
        squared = error.square() if weights is None else weights * error.square()
        loss = squared.flatten(1).mean(1)
        if temporal > 0.0 and self.media == "video" and latents.shape[self.frame_axis] > 1:
            loss = loss + temporal * error.diff(dim=self.frame_axis).square().flatten(1).mean(1)
        return objective.weights(times) * loss

    def pattern(self, targets: Targets) -> str:
        """The regular expression of the modules that an adapter touches."""
        with_conditioning = targets == "conditioning" and self.conditioning
        return f"{self.cross_attention}|{self.conditioning}" if with_conditioning else self.cross_attention

    def target_modules(self, targets: Targets = "cross_attention") -> list[str]:
        """Names of the denoiser's modules that an adapter touches."""
        pattern = self.pattern(targets)
        return [name for name, _ in self.denoiser.named_modules() if re.fullmatch(pattern, name)]
