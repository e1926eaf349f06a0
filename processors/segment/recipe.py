"""What determines the clips of a video: the recipe, and the size buckets that it may choose from."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Literal

from store.errors import SettingsError
from store.records import digest

Detector = Literal["histogram", "transnet"]
SEGMENT_VERSION = 1
"""Raised whenever the same recipe would give other clips, files or curves."""


@dataclass(frozen=True)
class SegmentRecipe:
    """How footage is cut and normalised. Every field is part of the recipe's hash."""

    detectors: tuple[Detector, ...] = ("histogram", "transnet")
    min_clip_s: float = 1.0
    max_clip_s: float = 10.0
    fps: tuple[int, int] = (24, 1)
    """Constant rate of the clips: numerator, denominator."""
    buckets: tuple[tuple[int, int], ...] = ((640, 352), (352, 640), (480, 480), (512, 384), (384, 512), (768, 320))
    """Widths and heights; the one nearest in aspect is taken, at half size where the source is smaller."""
    crf: int = 20
    audio_rate_hz: int = 48_000
    audio_kbit_s: int = 128
    """Per clip, for all channels."""

    def __post_init__(self) -> None:
        if not set(self.detectors) <= {"histogram", "transnet"} or not self.detectors:
            raise SettingsError(f"detectors {self.detectors!r}: expected histogram, transnet or both")
        if not 0 < 2 * self.min_clip_s <= self.max_clip_s:
            raise SettingsError(
                f"min_clip_s {self.min_clip_s} and max_clip_s {self.max_clip_s}: max must be at least twice min"
            )
        if not self.buckets or any(side % 32 for bucket in self.buckets for side in bucket):
            raise SettingsError(f"buckets {self.buckets!r}: sides must be multiples of 32, so that half is one of 16")

    @property
    def rate(self) -> Fraction:
        """Pictures per second of the clips."""
        return Fraction(*self.fps)

    def digest(self, weights: Mapping[str, str]) -> str:
        """The recipe's hash, with the version of this code and the digests of the detectors' weights."""
        return digest([SEGMENT_VERSION, asdict(self), dict(weights)])[:16]

    def bucket(self, display_width: float, display_height: float) -> tuple[int, int]:
        """The size that a picture of this display size is brought to.

        The bucket nearest in (log) aspect; at half size if the picture is smaller than it after cropping. A
        picture smaller than that is enlarged, so that every clip has a size of the list or of its halves.
        """
        aspect = math.log(display_width / display_height)
        width, height = min(self.buckets, key=lambda size: abs(math.log(size[0] / size[1]) - aspect))
        if min(display_width / width, display_height / height) < 1:
            return width // 2, height // 2
        return width, height
