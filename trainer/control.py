"""Control without text: numbers such as arousal or motion energy steer a diffusion model beside its prompt.

This file stands alone: it needs torch and safetensors, and is copied next to every adapter that was trained with
control, as `cliploom_control.py`. With it, a pipeline of diffusers is steered like this:

    from cliploom_control import load_control

    pipeline.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors")
    control = load_control(folder, pipeline)
    with control.steer(arousal=0.8, motion=-0.5, strength=1.0):
        image = pipeline("a prompt").images[0]

Channels that are not named are absent. Without `steer`, and where every channel is absent, the model is unchanged.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONTROL_FILE = "control_projector.safetensors"


class ControlProjector(nn.Module):
    """B (silu(A [v p, p]) - silu(A 0)), added to a model's embedding of the time.

    B starts at zero, so that training starts from the model as it is (as in ControlNet, Zhang et al., arXiv
    2302.05543); the subtraction keeps absent channels without any effect for ever.

    Args:
        names: of the channels.
        width: of the embedding that it is added to.
        module: path, inside the denoiser, of the module whose output that is.
    """

    def __init__(self, names: Sequence[str], width: int, module: str, hidden: int = 256) -> None:
        super().__init__()
        self.names = tuple(names)
        self.module = module
        self.into = nn.Linear(2 * len(self.names), hidden)
        self.out = nn.Linear(hidden, width, bias=False)
        nn.init.zeros_(self.out.weight)
        self._rows: tuple[Tensor, Tensor, float] | None = None
        self._hook: Any = None

    def forward(self, values: Tensor, present: Tensor) -> Tensor:
        """[N, width] for values float [N, C] in [-1, 1] and present [N, C], 1 where a channel is given and else 0."""
        given = torch.cat([values * present, present], dim=-1).to(self.into.weight.dtype)
        act = nn.functional.silu
        return self.out(act(self.into(given)) - act(self.into(torch.zeros_like(given))))

    def attach(self, denoiser: nn.Module) -> None:
        """Add what `steer` and `steer_rows` ask for to the module's output, until `detach`."""
        self._hook = denoiser.get_submodule(self.module).register_forward_hook(self._add)

    def detach(self) -> None:
        """Leave the denoiser as it was."""
        if self._hook is not None:
            self._hook.remove()
        self._hook = None

    @contextmanager
    def steer(self, strength: float = 1.0, **values: float) -> Iterator[None]:
        """Steer every sample by these channels, each in [-1, 1], while the context lasts.

        Raises:
            ValueError: a channel is not known.
        """
        unknown = sorted(values.keys() - set(self.names))
        if unknown:
            raise ValueError(f"control channels {', '.join(unknown)} are not known; known: {', '.join(self.names)}")
        row = torch.tensor([[values.get(name, 0.0) for name in self.names]])
        present = torch.tensor([[float(name in values) for name in self.names]])
        with self.steer_rows(row, present, strength):
            yield

    @contextmanager
    def steer_rows(self, values: Tensor, present: Tensor, strength: float = 1.0) -> Iterator[None]:
        """Steer each sample of a batch by its row of values [N, C] where present [N, C]; one row steers all."""
        before, self._rows = self._rows, (values, present, strength)
        try:
            yield
        finally:
            self._rows = before

    def _add(self, _: nn.Module, __: Any, output: Any) -> Any:
        if self._rows is None:
            return output
        embedded: Tensor = output[0] if isinstance(output, tuple) else output
        values, present, strength = self._rows
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
        """Become another projector, whose channels are all among these; the channels that it has not do nothing yet.

        Raises:
            ValueError: it has channels that are none of these, or is of another base.
        """
        lost = sorted(set(other.names) - set(self.names))
        if lost or other.module != self.module or other.out.weight.shape != self.out.weight.shape:
            raise ValueError(
                f"a control projector of channels {', '.join(other.names)} at {other.module} cannot become one of"
                f" {', '.join(self.names)} at {self.module}; keep the channels, and the base"
            )
        self.out.weight.copy_(other.out.weight)
        self.into.bias.copy_(other.into.bias)
        self.into.weight.zero_()
        n, m = len(self.names), len(other.names)
        for column, name in enumerate(other.names):
            at = self.names.index(name)
            self.into.weight[:, [at, n + at]] = other.into.weight[:, [column, m + column]]

    def save(self, folder: Path) -> Path:
        """Write the projector, with all that `load_control` needs."""
        facts = {"names": self.names, "module": self.module, "width": self.out.out_features}
        header = {"format": "pt", "cliploom_control": json.dumps(facts | {"hidden": self.into.out_features})}
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
    projector = ControlProjector(facts["names"], facts["width"], facts["module"], facts["hidden"])
    projector.load_state_dict(load_file(path))
    return projector


def load_control(folder: str | Path, pipeline: Any) -> ControlProjector:
    """Attach the projector in `folder` to a pipeline of the family that it was trained on."""
    projector = read_control(Path(folder) / CONTROL_FILE)
    denoiser = getattr(pipeline, "transformer", None) or pipeline.unet
    projector.to(denoiser.device).requires_grad_(False).attach(denoiser)
    return projector
