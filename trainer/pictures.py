"""The pictures of a run: a grid of samples and the curve of its losses."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from store.records import Json
from trainer.evaluation import LEVELS, Sweep
from trainer.families.base import Family

CELL_LEAST_PX = 160
"""Small pictures are enlarged to this, pixel by pixel, so that the grid can be read."""
LABEL_PX = 130
SMOOTHING = 25
"""Steps of the running mean that is drawn over the loss."""


def draw_grid(path: Path, texts: Sequence[str], rows: Mapping[str, np.ndarray], family: Family, title: str) -> Path:
    """Write a labelled grid: one column for each text, one row for each of `rows`.

    Args:
        rows: label to media [len(texts), ...], as `Family` describes them.
    """
    shown = {label: as_pictures(media, family) for label, media in rows.items()}
    return _draw_cells(path, texts, shown, title)


def draw_sweeps(path: Path, sweeps: Sequence[Sweep], family: Family, text: str) -> Path:
    """Write a grid of control sweeps: a row for each channel, a column for each level, all from one seed and text."""
    shown = {}
    for one in sweeps:
        told = "not measurable" if one.fidelity is None else f"rank corr. {one.fidelity:.2f}"
        shown[f"{one.channel}\n{told}"] = as_pictures(one.samples, family)
    return _draw_cells(path, [f"{level:+g}" for level in LEVELS], shown, f"control alone; text: {text}")


def as_pictures(media: np.ndarray, family: Family) -> np.ndarray:
    """Media as pictures uint8 [N, H, W, 3]: of a video four frames side by side, of a sound its spectrogram."""
    if family.media == "picture":
        return media
    if family.media == "video":
        at = np.linspace(0, media.shape[1] - 1, 4).round().astype(int)
        return np.concatenate([media[:, row] for row in at], axis=2)
    return np.stack([_spectrogram(one.mean(axis=0), family.rules.rate_hz) for one in media])


def _spectrogram(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """uint8 [96, 192, 3]: level over time and frequency up to 8 kHz, from -80 dB (black) to 0 (white)."""
    size = 1024
    hop = max(1, (len(sound) - size) // 191)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (0, size)), size)[::hop][:192]
    power = np.abs(np.fft.rfft(windows * np.hanning(size), axis=1)) ** 2
    bins = np.unique(np.linspace(0, min(8000, rate_hz / 2) / rate_hz * size, 97).round().astype(int))
    bands = np.stack([power[:, a:b].mean(axis=1) for a, b in pairwise(bins)], axis=1)
    level = 10 * np.log10(bands / (size / 4) ** 2 + 1e-12)
    grey = (np.clip(level / 80 + 1, 0, 1) * 255).astype(np.uint8).T[::-1]
    return np.repeat(np.asarray(Image.fromarray(grey).resize((192, 96)))[:, :, None], 3, axis=2)


def _draw_cells(path: Path, texts: Sequence[str], rows: Mapping[str, np.ndarray], title: str) -> Path:
    height, width = next(iter(rows.values())).shape[1:3]
    times = max(1, -(-CELL_LEAST_PX // height))
    cell, wide = height * times, width * times
    font = ImageFont.load_default(size=13)
    captions = ["\n".join(textwrap.wrap(text, width=wide // 8)) for text in texts]
    head = 34 + 17 * max(caption.count("\n") + 1 for caption in captions)
    grid = Image.new("RGB", (LABEL_PX + len(texts) * (wide + 4), head + len(rows) * (cell + 4)), "white")
    draw = ImageDraw.Draw(grid)
    draw.text((6, 6), title, fill="black", font=font)
    for column, caption in enumerate(captions):
        draw.multiline_text((LABEL_PX + column * (wide + 4), 28), caption, fill="black", font=font)
    for row, (label, pictures) in enumerate(rows.items()):
        top = head + row * (cell + 4)
        draw.multiline_text((6, top + cell // 2 - 8), label, fill="black", font=font)
        for column, picture in enumerate(pictures):
            enlarged = Image.fromarray(picture).resize((wide, cell), Image.Resampling.NEAREST)
            grid.paste(enlarged, (LABEL_PX + column * (wide + 4), top))
    grid.save(path)
    return path


def draw_losses(path: Path, losses: Sequence[float], metrics: Json) -> Path:
    """Write the loss of every step, its running mean, and the fixed-noise losses before and after."""
    values = np.array(losses)
    steps = np.arange(1, len(values) + 1)
    width = min(SMOOTHING, len(values))
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, values, color="0.8", linewidth=0.8, label="loss of the step")
    axes.plot(steps[width - 1 :], np.convolve(values, np.ones(width) / width, "valid"), label=f"mean of {width} steps")
    ends = (0, len(values))
    for kind, label, mark in (("fixed", "trained-on clips", "o--"), ("held_out", "held-out clips", "s--")):
        told = [metrics[f"{kind}_loss_{when}"] for when in ("before", "after")]
        axes.plot(ends, told, mark, label=f"{label}, fixed noise")
    axes.set(xlabel="step", ylabel="loss", title=f"LoRA on a {metrics['base_label']}", ylim=(0, None))
    axes.legend()
    FigureCanvasAgg(figure).print_png(path)
    return path
