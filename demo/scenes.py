"""The six kinds of shot that the rendered footage is made of, each a picture that moves and the sounds that go
with it. They differ in what is seen, how it moves and how it sounds, so that clusters and concepts have
something to find: two with faces (calm and lively), two of things (bright and dark), two of drawn people.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from demo.picture import Figure, Grade, Pose, backdrop, draw_figure, open_mouth, paste, person, photograph, place

Size = tuple[int, int]
Draw = Callable[[float, float], np.ndarray]
"""Draws the frame at (seconds from the shot's start, loudness of its sound in [0, 1]): uint8 BGR [H, W, 3]."""


@dataclass(frozen=True)
class Kind:
    """A kind of shot.

    open: makes the shot's `Draw` from (size, duration_s, random generator) and names the faces seen from the front.
    sounds: of which one is chosen (see `demo.sound.SOUNDS`); None is silence.
    """

    open: Callable[[Size, float, np.random.Generator], tuple[Draw, tuple[str, ...]]]
    sounds: tuple[str | None, ...]


def _effort(rng: np.random.Generator, duration_s: float) -> Callable[[float], float]:
    """How strongly a lively shot moves at a time: steadily, rising, or rising and falling."""
    course = rng.choice(["steady", "rise", "arch"])

    def effort(time_s: float) -> float:
        t = min(max(time_s / duration_s, 0.0), 1.0)
        return {"steady": 1.0, "rise": 0.15 + 0.85 * t, "arch": 0.15 + 0.85 * float(np.sin(np.pi * t))}[course]

    return effort


def _camera(size: Size, duration_s: float, rng: np.random.Generator, shake: float) -> Callable[[float, float], Pose]:
    """A slow pan and zoom; `shake` is the amplitude of a hand-held shake in shares of the height."""
    start, end = rng.uniform(-0.025, 0.025, (2, 2)) * size
    zoom = rng.permutation([1.15, rng.uniform(1.2, 1.32)])
    rates_hz, phases = rng.uniform(1.2, 3.2, 4), rng.uniform(0, 6.28, 4)

    def pose(time_s: float, effort: float) -> Pose:
        t = time_s / duration_s
        wave = np.sin(2 * np.pi * rates_hz * time_s + phases) * shake * effort * size[1]
        x, y = start + (end - start) * t + [wave[0] + 0.5 * wave[1], wave[2] + 0.5 * wave[3]]
        return Pose((float(x), float(y)), float(zoom[0] + (zoom[1] - zoom[0]) * t), float(wave[1] / size[1] * 40))

    return pose


def _talk(size: Size, duration_s: float, rng: np.random.Generator) -> tuple[Draw, tuple[str, ...]]:
    """A face that speaks calmly before a blurred background, in warm light."""
    name = str(rng.choice(["astronaut", "officer"]))
    someone = person(name)
    behind = cv2.GaussianBlur(photograph(str(rng.choice(["temple", "flower", "coffee"]))), (0, 0), 5)
    camera = _camera(size, duration_s, rng, shake=0.0)
    side, tall = rng.uniform(0.42, 0.58), rng.uniform(0.36, 0.46)
    grade = Grade(1.0, rng.uniform(0.06, 0.14), 0.95).table()

    def draw(time_s: float, loudness: float) -> np.ndarray:
        pose = camera(time_s, 1.0)
        canvas = backdrop(behind, size, pose)
        sway = np.sin(2 * np.pi * 0.35 * time_s) * 0.012 * size[0]
        xy = (side * size[0] + sway + 1.6 * pose.xy[0], (0.38 - 0.008 * loudness) * size[1])
        scale = tall * min(size) * (0.9 + 0.12 * time_s / duration_s) / someone.face_height
        nod = Pose(xy, scale, 2.5 * float(np.sin(1.7 * time_s)))
        paste(canvas, open_mouth(someone, loudness), someone.alpha, someone.face_xy, nod)
        return cv2.LUT(canvas, grade)

    return draw, (name,)


def _outburst(size: Size, duration_s: float, rng: np.random.Generator) -> tuple[Draw, tuple[str, ...]]:
    """A face close by that laughs, sobs or moans and shakes, before a hand-held, hot background."""
    name = str(rng.choice(["astronaut", "officer"]))
    someone = person(name)
    camera, effort = _camera(size, duration_s, rng, shake=0.035), _effort(rng, duration_s)
    grade = Grade(1.1, rng.uniform(0.22, 0.32), 1.2).table()
    rate_hz = rng.uniform(1.3, 2.1)

    def draw(time_s: float, loudness: float) -> np.ndarray:
        strength = effort(time_s)
        pose = camera(time_s, strength)
        canvas = backdrop(place("stage"), size, Pose(pose.xy, pose.scale + 0.2, pose.angle_deg))
        beat = float(np.sin(2 * np.pi * rate_hz * time_s)) * strength
        x = (0.5 + 0.06 * beat) * size[0] + pose.xy[0]
        y = (0.46 - 0.06 * loudness * strength) * size[1] + pose.xy[1]
        shaken = Pose((x, y), min(size) * (0.56 + 0.06 * strength) / someone.face_height, 9 * beat)
        paste(canvas, open_mouth(someone, loudness), someone.alpha, someone.face_xy, shaken)
        return cv2.LUT(canvas, grade)

    return draw, (name,)


def _still(size: Size, duration_s: float, rng: np.random.Generator) -> tuple[Draw, tuple[str, ...]]:
    """A thing, a building or an animal in bright, plain light, under a slow pan and zoom."""
    name = str(rng.choice(["coffee", "flower", "cat", "temple"]))
    picture = photograph(name)
    camera, grade = _camera(size, duration_s, rng, shake=0.0), Grade(1.08, 0.0, 0.85).table()
    return lambda time_s, loudness: cv2.LUT(backdrop(picture, size, camera(time_s, 1.0)), grade), ()


def _night(size: Size, duration_s: float, rng: np.random.Generator) -> tuple[Draw, tuple[str, ...]]:
    """A rocket, the moon or the stars: dark and cold, with snow that falls slowly."""
    name = str(rng.choice(["rocket", "moon", "stars"]))
    picture, exposure = photograph(name), 1.1 if name == "stars" else 0.7
    camera, grade = _camera(size, duration_s, rng, shake=0.0), Grade(exposure, -0.3, 2.0 - exposure).table()
    flakes = rng.uniform(0, 1, (70, 3))

    def draw(time_s: float, loudness: float) -> np.ndarray:
        canvas = cv2.LUT(backdrop(picture, size, camera(time_s, 1.0)), grade)
        for x, y, near in flakes:
            fall = (y + time_s * (0.05 + 0.09 * near)) % 1.0
            drift = x + 0.015 * np.sin(time_s + 20 * x)
            centre = (int(drift * size[0] * 16), int(fall * size[1] * 16))
            cv2.circle(canvas, centre, int((0.8 + 1.6 * near) * 16), (200, 180, 160), -1, cv2.LINE_AA, 4)
        return canvas

    return draw, ()


def _figure(rng: np.random.Generator, size: Size) -> Figure:
    """A person of any colours, about half as tall as the frame, less where the frame is upright."""
    height = rng.uniform(0.44, 0.58) * min(size[1], size[0])

    def colour(low: int, high: int) -> tuple[int, int, int]:
        b, g, r = rng.integers(low, high, 3).tolist()
        return b, g, r

    tone = rng.uniform(0.45, 1.0)
    skin = (int(150 * tone), int(180 * tone), int(230 * tone))
    return Figure(height, skin, colour(40, 240), colour(30, 120), colour(10, 70))


def _walk(size: Size, duration_s: float, rng: np.random.Generator) -> tuple[Draw, tuple[str, ...]]:
    """Two or three drawn people who walk through a street or a meadow."""
    where = place(str(rng.choice(["street", "meadow"])))
    camera, grade = _camera(size, duration_s, rng, shake=0.0), Grade(1.0, -0.05, 1.0).table()
    people = [_figure(rng, size) for _ in range(int(rng.integers(2, 4)))]
    starts = rng.uniform(0.05, 0.4, len(people))
    speeds = rng.uniform(0.35, 0.5, len(people)) / max(duration_s, 2.5)

    def draw(time_s: float, loudness: float) -> np.ndarray:
        pose = camera(time_s, 1.0)
        canvas = backdrop(where, size, pose)
        for k, figure in enumerate(people):
            x = (starts[k] + speeds[k] * time_s) * size[0] + pose.xy[0]
            pace = x / (0.13 * figure.height)
            draw_figure(canvas, figure, (float(x), (0.84 + 0.05 * k) * size[1] + pose.xy[1]), "walk", float(pace))
        return cv2.LUT(canvas, grade)

    return draw, ()


def _dance(size: Size, duration_s: float, rng: np.random.Generator) -> tuple[Draw, tuple[str, ...]]:
    """Drawn people who jump on a stage under changing light and confetti, filmed by a shaking hand."""
    camera, effort = _camera(size, duration_s, rng, shake=0.02), _effort(rng, duration_s)
    people = [_figure(rng, size) for _ in range(3)]
    bits, colours = rng.uniform(0, 1, (60, 3)), rng.integers(60, 256, (60, 3)).tolist()
    rate_hz, hue, levels = rng.uniform(1.2, 1.9), rng.uniform(0, 6.28), np.arange(256.0)[None, :, None]

    def draw(time_s: float, loudness: float) -> np.ndarray:
        strength = effort(time_s)
        pose = camera(time_s, strength)
        canvas = backdrop(place("stage"), size, pose)
        glow = 1.35 + 0.12 * strength * np.sin(2 * np.pi * 0.7 * time_s + hue + np.array([0, 2.1, 4.2]))
        canvas = cv2.LUT(canvas, np.clip(levels * glow, 0, 255).astype(np.uint8))
        for k, figure in enumerate(people):
            foot = ((0.25 + 0.25 * k) * size[0] + pose.xy[0], 0.9 * size[1] + pose.xy[1])
            beat = 2 * np.pi * rate_hz * time_s * (0.6 + 0.4 * strength) + 1.3 * k
            draw_figure(canvas, figure, foot, "jump", float(beat))
        for (x, y, near), colour in zip(bits, colours, strict=True):
            fall = (y + time_s * (0.25 + 0.4 * near) * strength) % 1.0
            corner = (int((x + 0.03 * np.sin(5 * time_s + 9 * y)) * size[0]), int(fall * size[1]))
            cv2.rectangle(canvas, corner, (corner[0] + 3 + int(4 * near), corner[1] + 3), colour, -1)
        return canvas

    return draw, ()


KINDS: dict[str, Kind] = {
    "talk": Kind(_talk, ("speech",)),
    "outburst": Kind(_outburst, ("laugh", "sob", "moan")),
    "still": Kind(_still, (None, "sigh", "noise")),
    "night": Kind(_night, ("music", "noise")),
    "walk": Kind(_walk, ("speech", "noise")),
    "dance": Kind(_dance, ("music", "laugh")),
}
