"""Control without text: numbers such as arousal, and poses of people, steer a diffusion model beside its prompt.

This file stands alone: it needs torch and safetensors, and is copied next to every adapter that was trained with
control, as `cliploom_control.py`. With it, a pipeline of diffusers is steered like this:

    from cliploom_control import load_control

    pipeline.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors")
    control = load_control(folder, pipeline)
    with control.steer(arousal=0.8, motion=-0.5, pose=frames, strength=1.0):
        image = pipeline("a prompt").images[0]

Channels that are not named are absent, and so is a pose that is not given. Without `steer`, and where everything is
absent, the model is unchanged. Where poses were trained, `cliploom_skeletons.py` beside this file draws their frames.
"""

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool3d, pixel_unshuffle, silu

CONTROL_FILE = "control_projector.safetensors"


class _Added(nn.Module, ABC):
    """Adds something to the output of a module of the denoiser, while it is asked to.

    Args:
        module: its path inside the denoiser.
    """

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module
        self._asked: Any = None
        self._hook: Any = None

    def attach(self, denoiser: nn.Module) -> None:
        """Add what is asked for to the module's output, until `detach`."""
        self._hook = denoiser.get_submodule(self.module).register_forward_hook(self._add)

    def detach(self) -> None:
        """Leave the denoiser as it was."""
        if self._hook is not None:
            self._hook.remove()
        self._hook = None

    @contextmanager
    def ask(self, *asked: Any) -> Iterator[None]:
        """Ask for this while the context lasts."""
        before, self._asked = self._asked, asked
        try:
            yield
        finally:
            self._asked = before

    @abstractmethod
    def _add(self, _: nn.Module, __: Any, output: Any) -> Any:
        """The module's output with what is asked for; a forward hook."""


class PoseProjector(_Added):
    """A small convolution net over pose frames, added to the tokens that the denoiser makes of noised latents.

    Its last layer starts at zero, as in ControlNet (Zhang et al., arXiv 2302.05543). Frames are reduced to twice the
    grid of tokens, and each token is given the four pixels of its place and those around it.

    Args:
        width: of a token.
        module: path of the module that makes the tokens: of a picture or of latents one by one [N, D, h, w], of a video
            [N, D, T, h, w], or of either in a row [N, T h w, D].
        latent_frames: a video's first latent is its first frame, each other one so many frames.
        token_latents: so many latents, one after the other, make a token.
    """

    def __init__(
        self, width: int, module: str, latent_frames: int = 1, token_latents: int = 1, hidden: int = 64
    ) -> None:
        super().__init__(module)
        self.facts = {"width": width, "module": module, "latent_frames": latent_frames, "token_latents": token_latents}
        self.facts |= {"hidden": hidden}
        self._latent_frames, self._token_latents = latent_frames, token_latents
        self.into = nn.Conv2d(12, hidden, 3, padding=1)
        self.around = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.out = nn.Conv2d(hidden, width, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, poses: Tensor, present: Tensor, grid: Sequence[int]) -> Tensor:
        """[N, T, width, h, w] for poses [N, 3, L, H, W] in 0..255, L latents or more than T, and a grid of (T, h, w).

        Args:
            present: [N], 1 where a pose is given and else 0.
        """
        n_tokens, height, width = grid
        pixels = poses.to(self.out.weight.device).to(self.out.weight.dtype) / 255.0
        small = adaptive_avg_pool3d(pixels, (n_tokens, 2 * height, 2 * width)).transpose(1, 2)
        of_place = silu(self.into(pixel_unshuffle(small.flatten(0, 1), 2)))
        added = self.out(silu(self.around(of_place))).unflatten(0, small.shape[:2])
        return added * present.to(added).view(-1, 1, 1, 1, 1)

    def by_latent(self, frames_rgb: Tensor) -> Tensor:
        """Poses float [N, 3, L, H, W] of frames uint8 [N, T, H, W, 3].

        Raises:
            ValueError: no such number of frames makes latents.
        """
        n_latents, rest = divmod(frames_rgb.shape[1] - 1, self._latent_frames)
        if rest:
            raise ValueError(
                f"a pose of {frames_rgb.shape[1]} frames; a video has a multiple of {self._latent_frames} and one more"
            )
        n_latents = -(-(n_latents + 1) // self._token_latents) * self._token_latents
        return by_latent(frames_rgb.float(), self._latent_frames, n_latents).permute(0, 4, 1, 2, 3)

    def _add(self, _: nn.Module, __: Any, output: Any) -> Any:
        if self._asked is None:
            return output
        poses, present, strength = self._asked
        grid = self._grid(output, poses)
        added = strength * self(poses, present, grid)
        n, batch = len(added), len(output) // grid[0] if output.ndim == 4 else len(output)
        if batch % n:
            raise ValueError(f"{n} poses for a batch of {batch}; give one, or one for each sample")
        added = added.repeat(batch // n, 1, 1, 1, 1).to(output)  # As a guided pipeline puts samples in.
        if output.ndim == 5:
            return output + added.transpose(1, 2)
        return output + (added.flatten(0, 1) if output.ndim == 4 else added.permute(0, 1, 3, 4, 2).flatten(1, 3))

    def _grid(self, output: Tensor, poses: Tensor) -> tuple[int, int, int]:
        """(T, h, w) of the tokens. In a row they do not tell it; they are of the same shape as the pose's frames."""
        tall, wide = poses.shape[-2:]
        n_tokens = poses.shape[2] // self._token_latents
        if output.ndim == 3:
            of_frame = output.shape[1] // n_tokens
            height = max(1, round((of_frame * tall / wide) ** 0.5))
            width, found = of_frame // height, output.shape[1]
        else:
            height, width = output.shape[-2:]
            found = height * width * (output.shape[2] if output.ndim == 5 else n_tokens)
        if n_tokens * height * width != found or abs(height * wide - width * tall) >= max(tall, wide):
            raise ValueError(
                f"a pose of {poses.shape[2]} latents of {wide} x {tall} px does not fit what is drawn; give frames of"
                " the same shape, and of a video as many as it has"
            )
        return n_tokens, height, width


class ControlProjector(_Added):
    """B (silu(A [v p, p]) - silu(A 0)), added to what a model makes of the time or of latents; also adds poses.

    B starts at zero, so that training starts from the model as it is (as in ControlNet, Zhang et al., arXiv
    2302.05543); the subtraction keeps absent channels without any effect for ever.

    Args:
        names: of the channels; there may be none.
        width: of what it is added to.
        module: path, inside the denoiser, of the module whose output that is.
        pose: what adds poses.
    """

    def __init__(
        self, names: Sequence[str], width: int, module: str, hidden: int = 256, pose: PoseProjector | None = None
    ) -> None:
        super().__init__(module)
        self.names = tuple(names)
        hidden = hidden if names else 0
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            self.into = nn.Linear(2 * len(self.names), hidden)
            self.out = nn.Linear(hidden, width, bias=False)
        nn.init.zeros_(self.out.weight)
        self.pose = pose

    def forward(self, values: Tensor, present: Tensor) -> Tensor:
        """[N, width] for values float [N, C] in [-1, 1] and present [N, C], 1 where a channel is given and else 0."""
        given = torch.cat([values * present, present], dim=-1).to(self.into.weight.dtype)
        return self.out(silu(self.into(given)) - silu(self.into(torch.zeros_like(given))))

    def attach(self, denoiser: nn.Module) -> None:
        """Add what `steer` and `steer_rows` ask for to the outputs of modules, until `detach`."""
        super().attach(denoiser)
        if self.pose is not None:
            self.pose.attach(denoiser)

    def detach(self) -> None:
        """Leave the denoiser as it was."""
        super().detach()
        if self.pose is not None:
            self.pose.detach()

    @contextmanager
    def steer(self, strength: float = 1.0, pose: Any = None, **values: float) -> Iterator[None]:
        """Steer every sample by these channels, each in [-1, 1], and this pose, while the context lasts.

        Args:
            pose: skeletons on black as `cliploom_skeletons.draw_people` draws them, an array or tensor uint8
                [H, W, 3] of a picture and [T, H, W, 3] of a video, of the shape of what is drawn. Black: nobody.

        Raises:
            ValueError: a channel is not known, there is nothing for poses, or the pose is no such array.
        """
        unknown = sorted(values.keys() - set(self.names))
        if unknown:
            raise ValueError(f"control channels {', '.join(unknown)} are not known; known: {', '.join(self.names)}")
        row = torch.tensor([[values.get(name, 0.0) for name in self.names]])
        present = torch.tensor([[float(name in values) for name in self.names]])
        with self.steer_rows(row, present, strength, None if pose is None else self._given(pose)):
            yield

    @contextmanager
    def steer_rows(
        self, values: Tensor, present: Tensor, strength: float = 1.0, poses: tuple[Tensor, Tensor] | None = None
    ) -> Iterator[None]:
        """Steer each sample of a batch by its row of values [N, C] where present [N, C]; one row steers all.

        Args:
            poses: those of `PoseProjector.by_latent`, and which samples have one [N]; read where there is a `pose`.
        """
        posing = self.pose.ask(*poses, strength) if self.pose is not None and poses is not None else nullcontext()
        with self.ask(values, present, strength), posing:
            yield

    def _given(self, pose: Any) -> tuple[Tensor, Tensor]:
        if self.pose is None:
            raise ValueError("this control was trained without poses; train with `pose = true`")
        frames_rgb = torch.as_tensor(pose)
        if frames_rgb.ndim not in (3, 4) or frames_rgb.shape[-1] != 3 or frames_rgb.dtype != torch.uint8:
            raise ValueError(
                f"a pose of shape {list(frames_rgb.shape)} and type {frames_rgb.dtype}; expected uint8 [H, W, 3] of a"
                " picture or [T, H, W, 3] of a video"
            )
        return self.pose.by_latent(frames_rgb.view(1, -1, *frames_rgb.shape[-3:])), torch.ones(1)

    def _add(self, _: nn.Module, __: Any, output: Any) -> Any:
        if self._asked is None or not self.names:
            return output
        embedded: Tensor = output[0] if isinstance(output, tuple) else output
        values, present, strength = self._asked
        added = strength * self(values.to(self.into.weight.device), present.to(self.into.weight.device))
        n, batch = len(added), embedded.shape[0]
        if batch % n:
            raise ValueError(f"{n} rows of control for a batch of {batch}; give one row, or one for each sample")
        # A guided pipeline puts the same samples in twice, one after the other: without and with their text.
        added = added.repeat(batch // n, 1).to(embedded)
        steered = embedded + added.view(batch, *(1,) * (embedded.ndim - 2), -1)
        return (steered, *output[1:]) if isinstance(output, tuple) else steered

    @torch.no_grad()
    def take_over(self, other: "ControlProjector") -> None:
        """Become another projector, whose channels are all among these; the channels that it has not do nothing yet,
        and neither do poses if it has none. What it has of poses is left behind where there is no `pose` here.

        Raises:
            ValueError: it has channels that are none of these, or is of another base.
        """
        lost = sorted(set(other.names) - set(self.names))
        fits = other.module == self.module and other.out.out_features == self.out.out_features
        fits = fits and (not other.names or other.out.weight.shape == self.out.weight.shape)
        if self.pose is not None and other.pose is not None:
            fits = fits and self.pose.facts == other.pose.facts
        if lost or not fits:
            raise ValueError(
                f"a control projector of channels {', '.join(other.names)} at {other.module} cannot become one of"
                f" {', '.join(self.names)} at {self.module}; keep the channels, and the base"
            )
        if self.pose is not None and other.pose is not None:
            self.pose.load_state_dict(other.pose.state_dict())
        if not other.names:
            return
        self.out.weight.copy_(other.out.weight)
        self.into.bias.copy_(other.into.bias)
        self.into.weight.zero_()
        n, m = len(self.names), len(other.names)
        for column, name in enumerate(other.names):
            at = self.names.index(name)
            self.into.weight[:, [at, n + at]] = other.into.weight[:, [column, m + column]]

    def save(self, folder: Path) -> Path:
        """Write the projector, with all that `load_control` needs."""
        facts: dict[str, Any] = {"names": self.names, "module": self.module, "width": self.out.out_features}
        facts |= {"hidden": self.into.out_features, "pose": None if self.pose is None else self.pose.facts}
        header = {"format": "pt", "cliploom_control": json.dumps(facts)}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / CONTROL_FILE, metadata=header)
        return folder / CONTROL_FILE


def read_control(path: Path) -> ControlProjector:
    """The projector in a file.

    Raises:
        ValueError: it is no control projector.
    """
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
    if "cliploom_control" not in header:
        raise ValueError(f"{path} is no control projector: it does not say which channels it has")
    facts = json.loads(header["cliploom_control"])
    pose = PoseProjector(**facts["pose"]) if facts.get("pose") else None  # Earlier versions knew of none.
    projector = ControlProjector(facts["names"], facts["width"], facts["module"], facts["hidden"], pose)
    projector.load_state_dict(load_file(path))
    return projector


def load_control(folder: str | Path, pipeline: Any) -> ControlProjector:
    """Attach the projector in `folder` to a pipeline of the family that it was trained on."""
    projector = read_control(Path(folder) / CONTROL_FILE)
    denoiser = getattr(pipeline, "transformer", None) or pipeline.unet
    projector.to(denoiser.device).requires_grad_(False).attach(denoiser)
    return projector


def by_latent(frames: Tensor, latent_frames: int, n_latents: int) -> Tensor:
    """[N, n_latents, ...] of [N, T, ...]: video autoencoders give a latent of the first frame, then one of each
    `latent_frames` frames; more latents than that are the first, again."""
    rest = frames[:, 1:]
    each = rest.unflatten(1, (-1, latent_frames)).mean(2) if rest.shape[1] else rest
    found = torch.cat([frames[:, :1], each], dim=1)
    return torch.cat([found[:, :1].expand(-1, n_latents - found.shape[1], *frames.shape[2:]), found], dim=1)
