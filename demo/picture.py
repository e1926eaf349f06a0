"""What the rendered footage shows: real photographs that installed packages carry, cut out, moved and graded,
and drawn people that walk and jump. Every image is uint8 BGR [H, W, 3].
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import cv2
import numpy as np

Bgr = tuple[int, ...]
"""Blue, green, red, 0 to 255."""

PHOTOGRAPHS = {
    "astronaut": ("scikit-image", "skimage/data/astronaut.png"),
    "officer": ("matplotlib", "matplotlib/mpl-data/sample_data/grace_hopper.jpg"),
    "cat": ("scikit-image", "skimage/data/chelsea.png"),
    "coffee": ("scikit-image", "skimage/data/coffee.png"),
    "flower": ("scikit-learn", "sklearn/datasets/images/flower.jpg"),
    "temple": ("scikit-learn", "sklearn/datasets/images/china.jpg"),
    "rocket": ("scikit-image", "skimage/data/rocket.jpg"),
    "stars": ("scikit-image", "skimage/data/hubble_deep_field.jpg"),
    "moon": ("scikit-image", "skimage/data/moon.png"),
    "brick": ("scikit-image", "skimage/data/brick.png"),
    "grass": ("scikit-image", "skimage/data/grass.png"),
    "gravel": ("scikit-image", "skimage/data/gravel.png"),
}
"""Files inside installed wheels: no download. Two have a face from the front: the astronaut Eileen Collins (NASA)
and Rear Admiral Grace Hopper (US Navy), both in the public domain; the others are CC0, public domain or CC BY 2.0
(china.jpg, flower.jpg)."""


@dataclass(frozen=True)
class Outline:
    """Where a person is in a photograph, in shares of its width and height: all that is surely outside `around`
    is background, all inside `face` (centre x, y, radius x, y) and `body` is the person. `mouth` is the middle of the
    lips."""

    around: tuple[tuple[float, float], ...]
    face: tuple[float, float, float, float]
    body: tuple[tuple[float, float], ...]
    mouth: tuple[float, float]


OUTLINES = {
    "astronaut": Outline(
        around=(
            (0, 1), (0, 0.66), (0.2, 0.4), (0.27, 0.1), (0.35, 0), (0.55, 0),
            (0.61, 0.14), (0.6, 0.34), (0.75, 0.55), (0.96, 0.7), (1, 1),
        ),
        face=(0.435, 0.17, 0.12, 0.13),
        body=((0.06, 0.97), (0.06, 0.72), (0.3, 0.5), (0.42, 0.4), (0.6, 0.48), (0.62, 0.95)),
        mouth=(0.45, 0.285),
    ),
    "officer": Outline(
        around=(
            (0.04, 1), (0.04, 0.63), (0.2, 0.58), (0.37, 0.51), (0.365, 0.45), (0.34, 0.38), (0.31, 0.28), (0.3, 0.17),
            (0.38, 0.04), (0.65, 0.02), (0.75, 0.15), (0.75, 0.4), (0.7, 0.5), (1, 0.62), (1, 1),
        ),
        face=(0.51, 0.28, 0.19, 0.2),
        body=((0.1, 1), (0.1, 0.7), (0.4, 0.5), (0.6, 0.5), (0.9, 0.72), (0.9, 1)),
        mouth=(0.507, 0.452),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """A person cut out of a photograph: `bgr` uint8 [H, W, 3], `alpha` uint8 [H, W]; the face's middle and height and
    the mouth's middle in pixels."""

    bgr: np.ndarray
    alpha: np.ndarray
    face_xy: tuple[float, float]
    face_height: float
    mouth_xy: tuple[float, float]


@cache
def photograph(name: str) -> np.ndarray:
    """The photograph of that name in `PHOTOGRAPHS`."""
    package, path = PHOTOGRAPHS[name]
    raw = Path(str(distribution(package).locate_file(path))).read_bytes()
    picture = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, f"{path} of {package} is no picture"
    return picture


@cache
def person(name: str) -> Person:
    """The person of that name in `OUTLINES`, cut out by GrabCut (Rother et al., SIGGRAPH 2004) from its outline."""
    outline = OUTLINES[name]
    bgr = cv2.resize(photograph(name), None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    size = np.array([bgr.shape[1], bgr.shape[0]])
    labels = np.full(bgr.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.fillPoly(labels, [(np.array(outline.around) * size).astype(np.int32)], cv2.GC_PR_FGD)
    cv2.fillPoly(labels, [(np.array(outline.body) * size).astype(np.int32)], cv2.GC_FGD)
    centre, radii = np.array(outline.face[:2]) * size, np.array(outline.face[2:]) * size
    cv2.ellipse(labels, centre.astype(int).tolist(), radii.astype(int).tolist(), 0, 0, 360, cv2.GC_FGD, -1)
    cv2.setRNGSeed(0)
    cv2.grabCut(bgr, labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    inside = np.where((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
    alpha = cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    alpha = cv2.erode(cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)), np.ones((3, 3), np.uint8))
    alpha = cv2.GaussianBlur(alpha, (5, 5), 0)
    mouth_x, mouth_y = (np.array(outline.mouth) * size).tolist()
    return Person(bgr, alpha, (float(centre[0]), float(centre[1])), float(2 * radii[1]), (mouth_x, mouth_y))


def open_mouth(someone: Person, opening: float) -> np.ndarray:
    """The person's picture with the mouth opened by `opening` in [0, 1]: the lower face moves down under a smooth
    bump, and a dark oval shows between the lips."""
    if opening < 0.1:
        return someone.bgr
    bgr = someone.bgr.copy()
    x, y = someone.mouth_xy
    tall = someone.face_height
    top, bottom, left, right = (int(v) for v in (y - 0.15 * tall, y + 0.4 * tall, x - 0.35 * tall, x + 0.35 * tall))
    columns, rows = np.meshgrid(np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32))
    bump = np.exp(-(((columns - x) / (0.17 * tall)) ** 2) - ((rows - y - 0.1 * tall) / (0.1 * tall)) ** 2)
    shift = (0.07 * tall * opening * bump).astype(np.float32)
    bgr[top:bottom, left:right] = cv2.remap(someone.bgr, columns, rows - shift, cv2.INTER_LINEAR)
    radii = (int(0.085 * tall), max(int(0.045 * tall * opening), 1))
    cv2.ellipse(bgr, (int(x), int(y + 0.03 * tall)), radii, 0, 0, 360, (30, 20, 60), -1, cv2.LINE_AA)
    return bgr


@dataclass(frozen=True)
class Pose:
    """Where a layer lies on the canvas: its anchor comes to `xy`, scaled and turned about it."""

    xy: tuple[float, float]
    scale: float = 1.0
    angle_deg: float = 0.0


def _matrix(anchor_xy: tuple[float, float], pose: Pose) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D(anchor_xy, pose.angle_deg, pose.scale)
    matrix[:, 2] += np.array(pose.xy) - np.array(anchor_xy)
    return matrix


def backdrop(picture: np.ndarray, size: tuple[int, int], pose: Pose) -> np.ndarray:
    """A canvas of `size` (width, height) filled by `picture`: at scale 1 it just covers, `pose.xy` is the shift of
    its centre in canvas pixels; mirrored where it ends."""
    high, wide = picture.shape[:2]
    cover = max(size[0] / wide, size[1] / high)
    centre = (size[0] / 2 + pose.xy[0], size[1] / 2 + pose.xy[1])
    matrix = _matrix((wide / 2, high / 2), Pose(centre, cover * pose.scale, pose.angle_deg))
    return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def paste(canvas: np.ndarray, layer: np.ndarray, alpha: np.ndarray, anchor_xy: tuple[float, float], pose: Pose) -> None:
    """Lay `layer` over `canvas`, in place, its `anchor_xy` at `pose.xy`; `alpha` uint8 [H, W] says how much."""
    size = (canvas.shape[1], canvas.shape[0])
    matrix = _matrix(anchor_xy, pose)
    over = cv2.warpAffine(layer, matrix, size)
    cover = cv2.warpAffine(alpha, matrix, size).astype(np.float32) / 255
    cv2.blendLinear(over, canvas, cover, 1 - cover, dst=canvas)


@dataclass(frozen=True)
class Grade:
    """Colour of a shot: exposure, a gain for blue and red against each other (warm above 0), and gamma."""

    exposure: float = 1.0
    warmth: float = 0.0
    gamma: float = 1.0

    def table(self) -> np.ndarray:
        """uint8 [1, 256, 3], for `cv2.LUT`."""
        level = np.linspace(0, 1, 256)[:, None] ** self.gamma * self.exposure
        gains = np.array([1 - self.warmth, 1.0, 1 + self.warmth])
        return np.clip(level * gains * 255, 0, 255).astype(np.uint8)[None]


def tint(grey: np.ndarray, bgr: Bgr) -> np.ndarray:
    """`grey` (any BGR picture) in shades of one colour, of the same mean contrast."""
    shade = cv2.cvtColor(grey, cv2.COLOR_BGR2GRAY)[..., None] / 128.0
    return np.clip(shade * np.array(bgr), 0, 255).astype(np.uint8)


def tile(name: str, scale: float) -> np.ndarray:
    """960x960 of a texture, its tiles scaled and mirrored so that no seam shows."""
    piece = cv2.resize(photograph(name), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    repeats = 960 - piece.shape[0]
    return cv2.copyMakeBorder(piece, 0, repeats, 0, repeats, cv2.BORDER_REFLECT)


@cache
def place(name: str) -> np.ndarray:
    """A backdrop for drawn people, 960x540: `street`, `meadow` or `stage`."""
    wide, high, floor = 960, 540, 330
    if name == "street":
        upper = tint(tile("brick", 0.45), (70, 90, 140))
        lower = tint(tile("gravel", 0.3), (110, 110, 115))
    elif name == "meadow":
        sky = np.linspace(1, 0.45, floor)[:, None, None] * np.array([235, 190, 120])
        upper = np.broadcast_to(255 - (255 - sky) * 0.8, (floor, wide, 3)).astype(np.uint8)
        lower = tint(tile("grass", 0.4), (45, 130, 75))
    else:
        across = np.exp(-(((np.arange(wide) - wide / 2) / 260) ** 2))[None, :, None]
        upper = np.broadcast_to(30 + across * np.array([140, 40, 120]), (floor, wide, 3)).astype(np.uint8)
        lower = np.broadcast_to(20 + across * np.array([60, 50, 90]), (high, wide, 3)).astype(np.uint8)
    return np.vstack([upper[:floor, :wide], lower[: high - floor, :wide]])


@dataclass(frozen=True)
class Figure:
    """A drawn person: height in pixels and colours of skin, shirt, trousers and hair."""

    height: float
    skin: Bgr
    shirt: Bgr
    trousers: Bgr
    hair: Bgr


Bend = tuple[float, float]
"""Angles of the two bones of an arm or a leg, in radians from straight down."""


def _gait(gait: str, phase: float) -> tuple[tuple[Bend, Bend], tuple[Bend, Bend]]:
    """How both legs and both arms bend, `walk` or `jump`."""
    swing, turn = float(np.sin(phase)), float(np.cos(phase))
    if gait == "walk":
        knees = (0.5 * max(turn, 0.0), 0.5 * max(-turn, 0.0))
        legs = ((0.5 * swing, 0.5 * swing - knees[0]), (-0.5 * swing, -0.5 * swing - knees[1]))
        return legs, ((-0.55 * swing, -0.55 * swing + 0.35), (0.55 * swing, 0.55 * swing + 0.35))
    crouch, reach = 0.5 * max(-swing, 0.0), 1.3 + 1.2 * swing
    legs = ((0.18 + crouch, 0.18 - crouch), (-0.18 - crouch, -0.18 + crouch))
    return legs, ((reach, reach + 0.3), (-reach, -reach - 0.3))


def _limb(canvas: np.ndarray, start: np.ndarray, bone: float, bend: Bend, colour: Bgr, width: float) -> np.ndarray:
    """Draw two bones of length `bone` from `start`; returns where the limb ends."""
    joint = start + bone * np.array([np.sin(bend[0]), np.cos(bend[0])])
    end = joint + bone * np.array([np.sin(bend[1]), np.cos(bend[1])])
    for a, b in ((start, joint), (joint, end)):
        cv2.line(canvas, _sixteenths(a), _sixteenths(b), colour, max(int(width), 1), cv2.LINE_AA, 4)
    return end


def _sixteenths(xy: np.ndarray) -> tuple[int, int]:
    """Pixels as OpenCV's fixed point with four bits after the point, so that slow movement is smooth."""
    return round(float(xy[0]) * 16), round(float(xy[1]) * 16)


def draw_figure(canvas: np.ndarray, figure: Figure, foot_xy: tuple[float, float], gait: str, phase: float) -> None:
    """Draw a person in place. gait: `walk` or `jump`; phase: radians, two steps or one jump every 2 pi."""
    tall = figure.height
    swing = float(np.sin(phase))
    lift = 0.22 * tall * max(swing, 0.0) if gait == "jump" else 0.015 * tall * abs(float(np.cos(phase)))
    hip = np.array([foot_xy[0], foot_xy[1] - 0.47 * tall - lift])
    shoulder = np.array([hip[0] - 0.02 * tall * swing, hip[1] - 0.29 * tall])
    chest, head = shoulder + np.array([0, 0.02 * tall]), shoulder - np.array([0, 0.115 * tall])
    legs, arms = _gait(gait, phase)
    far_leg, far_arm = (tuple(int(0.75 * c) for c in colour) for colour in (figure.trousers, figure.shirt))
    _limb(canvas, shoulder, 0.165 * tall, arms[1], far_arm, 0.055 * tall)
    _limb(canvas, hip, 0.235 * tall, legs[0], far_leg, 0.075 * tall)
    _limb(canvas, hip, 0.235 * tall, legs[1], figure.trousers, 0.075 * tall)
    _limb(canvas, chest, 0.135 * tall, (0.0, 0.0), figure.shirt, 0.17 * tall)
    hand = _limb(canvas, shoulder, 0.165 * tall, arms[0], figure.shirt, 0.055 * tall)
    hair = head - np.array([0, 0.027 * tall])
    for centre, radius, colour in ((hand, 0.03, figure.skin), (hair, 0.078, figure.hair), (head, 0.064, figure.skin)):
        cv2.circle(canvas, _sixteenths(centre), int(radius * tall * 16), colour, -1, cv2.LINE_AA, 4)
