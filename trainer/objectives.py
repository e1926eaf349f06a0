"""What a denoiser is trained to say of noised latents, and at which times: the three kinds that our families use.

`x` is the clean latent and `e` unit noise. Every kind noises as `a x + s e` with `a` and `s` of the time alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor


class Objective(ABC):
    """Noising, times, target. Times are in the family's own unit, [N]."""

    @abstractmethod
    def sample_times(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        """[N] times for latents [N, ...], as training draws them."""

    @abstractmethod
    def spread_times(self, latents: Tensor, n: int) -> Tensor:
        """[n] times spread evenly over what training draws, for losses that can be compared."""

    @abstractmethod
    def scales(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """(a, s), each [N]: latents are noised as `a x + s e`."""

    @abstractmethod
    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the denoiser should say."""

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents with their noise."""
        a, s = self._scales(latents, times)
        return a * latents + s * noise

    def weights(self, times: Tensor) -> Tensor:
        """[N] weights of the squared errors."""
        return torch.ones(len(times), device=times.device)

    def _scales(self, like: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *(1,) * (like.ndim - 1))
        a, s = self.scales(times.to(like.device))
        return a.to(like.dtype).view(shape), s.to(like.dtype).view(shape)


class Discrete(Objective):
    """Noise or velocity prediction on a schedule of discrete steps (Ho et al., arXiv 2006.11239; Salimans and Ho,
    arXiv 2202.00512).

    Args:
        alphas_cumprod: [T], of the base's scheduler.
        predicts: `epsilon` or `v_prediction`.
        snr_gamma: weights of min-SNR (Hang et al., arXiv 2303.09556); None: all the same.
    """

    def __init__(
        self,
        alphas_cumprod: Tensor,
        predicts: Literal["epsilon", "v_prediction"],
        snr_gamma: float | None = None,
    ) -> None:
        self._alphas = alphas_cumprod.float()
        self._predicts = predicts
        self._gamma = snr_gamma

    def sample_times(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randint(len(self._alphas), (len(latents),), generator=generator)

    def spread_times(self, latents: Tensor, n: int) -> Tensor:
        return ((torch.arange(n) + 0.5) * len(self._alphas) / n).long()

    def scales(self, times: Tensor) -> tuple[Tensor, Tensor]:
        alphas = self._alphas.to(times.device)[times]
        return alphas.sqrt(), (1 - alphas).sqrt()

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        if self._predicts == "epsilon":
            return noise
        a, s = self._scales(latents, times)
        return a * noise - s * latents

    def weights(self, times: Tensor) -> Tensor:
        if self._gamma is None:
            return super().weights(times)
        a, s = self.scales(times)
        snr = (a / s.clamp(min=1e-6)) ** 2
        kept = snr.clamp(max=self._gamma)
        return kept / (snr if self._predicts == "epsilon" else snr + 1)


class Flow(Objective):
    """Rectified flow (Liu et al., arXiv 2209.03003; Esser et al., arXiv 2403.03206): velocity `e - x` at sigma in
    (0, 1), drawn logit-normal and shifted towards noise.

    Args:
        shift: s' = shift s / (1 + (shift - 1) s); of the size of a batch's latents where it is a function of them.
    """

    def __init__(self, shift: float | Callable[[Sequence[int]], float] = 1.0) -> None:
        self._shift = shift

    def _shifted(self, sigmas: Tensor, latents: Tensor) -> Tensor:
        shift = self._shift(latents.shape) if callable(self._shift) else self._shift
        return shift * sigmas / (1 + (shift - 1) * sigmas)

    def sample_times(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        return self._shifted(torch.randn(len(latents), generator=generator).sigmoid(), latents)

    def spread_times(self, latents: Tensor, n: int) -> Tensor:
        return self._shifted(torch.special.ndtri((torch.arange(n) + 0.5) / n).sigmoid(), latents)

    def scales(self, times: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - times, times

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return noise - latents


class Angular(Objective):
    """Velocity prediction on the circle: a = cos(t pi / 2), s = sin(t pi / 2), t uniform in (0, 1) (Salimans and Ho,
    arXiv 2202.00512); with t = atan(sigma) 2 / pi that of Stable Audio (Evans et al., arXiv 2407.14358)."""

    def sample_times(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        return torch.rand(len(latents), generator=generator)

    def spread_times(self, latents: Tensor, n: int) -> Tensor:
        return (torch.arange(n) + 0.5) / n

    def scales(self, times: Tensor) -> tuple[Tensor, Tensor]:
        angles = times * (torch.pi / 2)
        return angles.cos(), angles.sin()

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        a, s = self._scales(latents, times)
        return a * noise - s * latents
