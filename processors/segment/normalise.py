"""From a decoded frame to an upright picture of the bucket's size, 8-bit limited-range BT.709 4:2:0.

Scaled on the planes as they come (swscale costs more than decoding), cropped about the centre, never
letterboxed. Rotation and mirroring of the display matrix and the sample aspect ratio are applied.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideData

from processors.color import Colour, Planes, colour_of, planes_to_bt709, planes_to_rgb, rgb_to_planes
from store.records import Json

_PLANAR = re.compile(r"yuvj?4(?P<layout>\d\d)p(?P<depth>\d+)?(le)?$")
_TO_PLANAR = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "yuva420p": "yuv420p",
    "yuva422p": "yuv422p",
    "yuva444p": "yuv444p",
    "yuva420p10le": "yuv420p10le",
    "yuva422p10le": "yuv422p10le",
    "yuva444p10le": "yuv444p10le",
    "yuva444p12le": "yuv444p12le",
}
"""The same numbers laid out in planes; swscale changes neither range nor matrix between these."""


@dataclass(frozen=True)
class Orientation:
    """A display matrix without its scale: transpose first, then mirror."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, plane: np.ndarray) -> np.ndarray:
        """The plane as it is meant to be seen; a view."""
        plane = plane.T if self.transpose else plane
        plane = plane[:, ::-1] if self.flip_x else plane
        return plane[::-1] if self.flip_y else plane


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The frame's display matrix [a b u; c d v; x y w] (ISO 14496-12, 8.2.2): shown x = a x + c y, y = b x + d y."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(np.int64)
    if abs(b) > abs(a):
        return Orientation(True, bool(c < 0), bool(b < 0))
    return Orientation(False, bool(a < 0), bool(d < 0))


def display_size(frame: av.VideoFrame, sample_aspect: Fraction, orientation: Orientation) -> tuple[float, float]:
    """Width and height in square pixels, as the picture is meant to be seen."""
    width, height = frame.width * float(sample_aspect), float(frame.height)
    return (height, width) if orientation.transpose else (width, height)


class Normaliser:
    """Brings the frames of one video to one size."""

    def __init__(self, width: int, height: int, sample_aspect: Fraction | float) -> None:
        """width, height: of the pictures given; both even."""
        self.width = width
        self.height = height
        self._sample_aspect = float(sample_aspect)
        self._turned: tuple[int, Orientation] | None = None
        """The rotation, in degrees, that the last frame told, and its orientation."""

    def state(self) -> Json:
        """What `of` needs."""
        return {"width": self.width, "height": self.height, "sample_aspect": self._sample_aspect}

    @classmethod
    def of(cls, state: Json) -> "Normaliser":
        """A normaliser like the one that this state was taken of."""
        return cls(state["width"], state["height"], state["sample_aspect"])

    def picture(self, frame: av.VideoFrame) -> np.ndarray:
        """The frame as uint8 [height * 3 / 2, width], I420: Y', then Cb, then Cr, limited-range BT.709."""
        orientation = self._orientation(frame)
        planes, depth, colour = self._scaled(frame, orientation)
        picture = np.empty((self.height * 3 // 2, self.width), np.uint8)
        for place, plane in zip(planes_of(picture), planes_to_bt709(planes, depth, colour), strict=True):
            np.copyto(place, orientation.apply(plane))
        return picture

    def _orientation(self, frame: av.VideoFrame) -> Orientation:
        """As `orientation_of`, which is asked again only when the frame's rotation is another than the last one's.

        A frame whose side data were looked at is in a cycle with them, and lives until the collector comes: a hundred
        of them, of 3 MB each at 1080p, were seen to wait.
        """
        rotation = int(frame.rotation)
        if self._turned is None or self._turned[0] != rotation:
            self._turned = rotation, orientation_of(frame)
        return self._turned[1]

    def _scaled(self, frame: av.VideoFrame, orientation: Orientation) -> tuple[Planes, int, Colour]:
        """Planes of the wanted size, before colour correction and turning."""
        size = (self.height, self.width) if orientation.transpose else (self.width, self.height)
        half = (size[0] // 2, size[1] // 2)
        crop = self._crop(frame.width, frame.height, size)
        frame, colour = _planar(frame), colour_of(frame)
        if frame.format.name == "rgb24":
            y, cb, cr = rgb_to_planes(_resize(_cut(_rows(frame, 0, 1, 3), crop, 1, 1), size))
            return (y, _resize(cb, half), _resize(cr, half)), 8, Colour("bt709", False, "sdr", False)
        depth = _depth(frame.format.name)
        bytes_each = 1 if depth == 8 else 2
        planes = []
        for index, wanted in enumerate((size, half, half)):
            if index < len(frame.planes):
                plane = _rows(frame, index, bytes_each, 1)
                x_ratio, y_ratio = _subsampling(frame, index)
                planes.append(_resize(_cut(plane, crop, x_ratio, y_ratio), wanted))
            else:
                planes.append(np.full((wanted[1], wanted[0]), 1 << (depth - 1), planes[0].dtype))
        return (planes[0], planes[1], planes[2]), depth, colour

    def _crop(self, width: int, height: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """x, y, width and height, centred, of the part whose shown aspect is the wanted one; even where it can be."""
        aspect = size[0] / size[1] / self._sample_aspect
        crop_width = min(width, round(height * aspect / 2) * 2)
        crop_height = min(height, round(width / aspect / 2) * 2)
        return (width - crop_width) // 4 * 2, (height - crop_height) // 4 * 2, crop_width, crop_height


def planes_of(picture: np.ndarray) -> Planes:
    """Views of an I420 picture: Y' [h, w], Cb and Cr [h / 2, w / 2]."""
    height = picture.shape[0] * 2 // 3
    chroma = picture[height:].reshape(2, height // 2, picture.shape[1] // 2)
    return picture[:height], chroma[0], chroma[1]


def shrunk_rgb(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """An I420 picture as R'G'B' of another size: uint8 [height, width, 3]."""
    y, cb, cr = (_resize(plane, (width, height)) for plane in planes_of(picture))
    return planes_to_rgb((y, cb, cr))


def _planar(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame in a planar Y'CbCr format, or in rgb24."""
    name = frame.format.name
    if _PLANAR.match(name) or name in ("gray", "rgb24", "gray10le", "gray12le"):
        return frame
    if name in _TO_PLANAR:
        return frame.reformat(format=_TO_PLANAR[name])
    return frame.reformat(format="rgb24")


def _depth(name: str) -> int:
    match = _PLANAR.match(name)
    digits = match["depth"] if match else name.removeprefix("gray").removesuffix("le")
    return int(digits) if digits else 8


def _subsampling(frame: av.VideoFrame, index: int) -> tuple[int, int]:
    plane = frame.planes[index]
    return round(frame.width / plane.width), round(frame.height / plane.height)


def _rows(frame: av.VideoFrame, index: int, bytes_each: int, channels: int) -> np.ndarray:
    """A view of one plane, [h, w] or [h, w, channels]; the lines' padding is cut off."""
    plane = frame.planes[index]
    data = np.frombuffer(memoryview(plane), np.uint8 if bytes_each == 1 else np.uint16)
    lines = data.reshape(-1, abs(plane.line_size) // bytes_each)[: plane.height, : plane.width * channels]
    return lines.reshape(plane.height, plane.width, channels) if channels > 1 else lines


def _cut(plane: np.ndarray, crop: tuple[int, int, int, int], x_ratio: int, y_ratio: int) -> np.ndarray:
    x, y, width, height = crop
    return plane[y // y_ratio : -(-(y + height) // y_ratio), x // x_ratio : -(-(x + width) // x_ratio)]


def _resize(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To (width, height): halved while it can be (OpenCV does that at memory's speed), then interpolated.

    Averaging over areas of other sizes costs ten times as much (0.9 ms for 512x512 to 480x480) and differs by
    less than x264 takes away.
    """
    while plane.shape[1] >= 2 * size[0] and plane.shape[0] >= 2 * size[1]:
        plane = cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if (plane.shape[1], plane.shape[0]) == size:
        return plane
    return cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
