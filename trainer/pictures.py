"""The pictures of a run: a grid of samples and the curve of its losses."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from trainer.lora import TrainedLora

CELL_LEAST_PX = 160
"""Small pictures are enlarged to this, pixel by pixel, so that the grid can be read."""
LABEL_PX = 130
SMOOTHING = 25
"""Steps of the running mean that is drawn over the loss."""


def draw_grid(path: Path, texts: Sequence[str], rows: Mapping[str, np.ndarray], title: str) -> Path:
    """Write a labelled grid: one column for each text, one row for each of `rows`.

    Args:
        rows: label to pictures uint8 [len(texts), R, R, 3] RGB.
    """
    side = next(iter(rows.values())).shape[1]
    cell = side * max(1, -(-CELL_LEAST_PX // side))
    font = ImageFont.load_default(size=13)
    captions = ["\n".join(textwrap.wrap(text, width=cell // 8)) for text in texts]
    head = 34 + 17 * max(caption.count("\n") + 1 for caption in captions)
    grid = Image.new("RGB", (LABEL_PX + len(texts) * (cell + 4), head + len(rows) * (cell + 4)), "white")
    draw = ImageDraw.Draw(grid)
    draw.text((6, 6), title, fill="black", font=font)
    for column, caption in enumerate(captions):
        draw.multiline_text((LABEL_PX + column * (cell + 4), 28), caption, fill="black", font=font)
    for row, (label, pictures) in enumerate(rows.items()):
        top = head + row * (cell + 4)
        draw.text((6, top + cell // 2 - 8), label, fill="black", font=font)
        for column, picture in enumerate(pictures):
            enlarged = Image.fromarray(picture).resize((cell, cell), Image.Resampling.NEAREST)
            grid.paste(enlarged, (LABEL_PX + column * (cell + 4), top))
    grid.save(path)
    return path


def draw_losses(path: Path, trained: TrainedLora, base_label: str) -> Path:
    """Write the loss of every step, its running mean, and the fixed-noise losses before and after."""
    losses = np.array(trained.losses)
    steps = np.arange(1, len(losses) + 1)
    width = min(SMOOTHING, len(losses))
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="0.8", linewidth=0.8, label="loss of the step")
    axes.plot(steps[width - 1 :], np.convolve(losses, np.ones(width) / width, "valid"), label=f"mean of {width} steps")
    ends = (0, len(losses))
    axes.plot(ends, (trained.fixed_before, trained.fixed_after), "o--", label="trained-on frames, fixed noise")
    axes.plot(ends, (trained.held_out_before, trained.held_out_after), "s--", label="held-out frames, fixed noise")
    axes.set(xlabel="step", ylabel="noise-prediction loss", title=f"LoRA on a {base_label}", ylim=(0, None))
    axes.legend()
    FigureCanvasAgg(figure).print_png(path)
    return path
