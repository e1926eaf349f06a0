"""MiVOLO's net: VOLO's trunk, which sees a face and a body at once.

Kuprashevich and Tolstykh 2023, "MiVOLO: Multi-input transformer for age and gender estimation" (arXiv 2307.04616), on
VOLO-D1 (Yuan et al. 2021, arXiv 2106.13112), whose trunk is timm's. Written after the papers; the names of the parts
are those of the published weights, so that these load as they are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from timm.layers import Mlp
from timm.layers.bottleneck_attn import PosEmbedRel
from timm.models.volo import VOLO
from torch import Tensor, nn

PATCH_PX = 8
HEAD_SIZE = 32
"""Of VOLO-D1: 6 heads for 192 numbers, 12 for 384."""
OUTPUTS = 3
"""Logits of male and female, and the age, scaled."""
STAGES = (0, 2, 3, 4)
"""Places of the stages in timm's `network`; place 1 halves the map."""


@dataclass(frozen=True)
class VoloSize:
    """What sets the net's shape, read off the names and shapes of its weights.

    The published one: 384 px, stem 64, layers (4, 4, 8, 2) of (192, 384, 384, 384) numbers.
    """

    image_px: int
    stem: int
    layers: tuple[int, ...]
    widths: tuple[int, ...]

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "VoloSize":
        """Raises KeyError: it is not MiVOLO's."""
        blocks = [re.match(r"network\.(\d+)\.(\d+)\.", name) for name in state]
        places = [(int(found[1]), int(found[2])) for found in blocks if found]
        return cls(
            image_px=state["pos_embed"].shape[1] * PATCH_PX * 2,
            stem=state["patch_embed.conv1.0.weight"].shape[0],
            layers=tuple(max((block + 1 for at, block in places if at == stage), default=0) for stage in STAGES),
            widths=tuple(state[f"network.{stage}.0.norm1.weight"].shape[0] for stage in STAGES),
        )


class MiVolo(VOLO):
    """Input: float32 [N, 6, S, S], a face and a body as RGB, normalised. Output: float32 [N, 3], see `OUTPUTS`."""

    def __init__(self, size: VoloSize) -> None:
        super().__init__(
            layers=list(size.layers),
            img_size=size.image_px,
            in_chans=6,
            num_classes=OUTPUTS,
            patch_size=PATCH_PX,
            stem_hidden_dim=size.stem,
            embed_dims=list(size.widths),
            num_heads=[width // HEAD_SIZE for width in size.widths],
        )
        self.patch_embed = FaceAndBody(size.image_px // PATCH_PX, size.stem, size.widths[0])  # type: ignore[assignment]


class FaceAndBody(nn.Module):
    """Patches of the face and of the body, each embedded by itself, then fused.

    Args:
        side: of the map of patches.
    """

    def __init__(self, side: int, stem: int, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _stem(stem), _stem(stem)
        self.proj1, self.proj2 = (nn.Conv2d(stem, width, PATCH_PX // 2, stride=PATCH_PX // 2) for _ in range(2))
        self.map = CrossAttention(side, width)

    def forward(self, pictures: Tensor) -> Tensor:
        face, body = pictures[:, :3], pictures[:, 3:]
        return self.map(self.proj1(self.conv1(face)), self.proj2(self.conv2(body)))


def _stem(width: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for before, kernel, stride in ((3, 7, 2), (width, 3, 1), (width, 3, 1)):
        convolution = nn.Conv2d(before, width, kernel, stride, padding=kernel // 2, bias=False)
        parts += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*parts)


class CrossAttention(nn.Module):
    """Each patch of the face looks at the body's patches, and each of the body's at the face's; both are fused.

    One head, relative positions (Bello et al. 2019; Srinivas et al. 2021): softmax(q k / sqrt(width) + position) v.
    """

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.qkv_f, self.qkv_p = (nn.Conv2d(width, 3 * width, 1, bias=False) for _ in range(2))
        self.pos_embed = PosEmbedRel((side, side), dim_head=width, scale=width**-0.5)
        self.norm = nn.LayerNorm([2 * width, side, side])
        self.mlp = Mlp(2 * width, hidden_features=4 * width, out_features=width, use_conv=True)

    def forward(self, face: Tensor, body: Tensor) -> Tensor:
        """Of maps float32 [N, width, side, side], one such map."""
        face_q, face_k, face_v = _tokens(self.qkv_f(face))
        body_q, body_k, body_v = _tokens(self.qkv_p(body))
        seen = [self._seen(face_q, body_k, body_v), self._seen(body_q, face_k, face_v)]
        maps = [tokens.transpose(1, 2).unflatten(2, face.shape[2:]) for tokens in seen]
        return self.mlp(self.norm(torch.cat(maps, dim=1)))

    def _seen(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        position = self.pos_embed(query)
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=position)


def _tokens(maps: Tensor) -> Sequence[Tensor]:
    """Queries, keys and values [N, side * side, width] of maps [N, 3 * width, side, side]."""
    return maps.flatten(2).transpose(1, 2).chunk(3, dim=2)
