"""The pictures that the demo draws: clips by concept, and the map of clusters."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

_ROW_PX = 64
_STRIP_PX = 520
_NOISE_COLOUR = "0.6"


@dataclass(frozen=True)
class SheetRow:
    """One clip on the contact sheet: its thumbnail strip (JPEG) and a line about it."""

    strip: bytes
    line: str


def write_contact_sheet(path: Path, groups: Mapping[str, Sequence[SheetRow]]) -> None:
    """Thumbnail strips in groups, each under its title."""
    title_px, wide = 34, _STRIP_PX + 560
    high = sum(title_px + (_ROW_PX + 4) * len(rows) for rows in groups.values())
    sheet = Image.new("RGB", (wide, max(high, title_px)), "white")
    pen = ImageDraw.Draw(sheet)
    small, large = ImageFont.load_default(13), ImageFont.load_default(18)
    y = 0
    for title, rows in groups.items():
        pen.text((6, y + 8), title, "black", large)
        y += title_px
        for row in rows:
            strip = Image.open(io.BytesIO(row.strip)).convert("RGB")
            strip.thumbnail((_STRIP_PX, _ROW_PX))
            sheet.paste(strip, (0, y))
            pen.text((_STRIP_PX + 8, y + 6), row.line, "black", small, spacing=3)
            y += _ROW_PX + 4
    sheet.save(path)


def write_cluster_map(path: Path, points: np.ndarray, clusters: Sequence[int | None], flags: Sequence[str]) -> None:
    """Clips on the first two axes of the joint space.

    Args:
        points: float [N, D], D >= 1; a row with NaN is left out.
        clusters: per clip; None is noise.
        flags: per clip, `outlier`, `boundary` or empty.
    """
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.add_subplot()
    plane = np.pad(points, ((0, 0), (0, 1)))[:, :2]
    numbers = sorted({c for c in clusters if c is not None})
    for cluster in [None, *numbers]:
        inside = [i for i, c in enumerate(clusters) if c == cluster]
        colour = _NOISE_COLOUR if cluster is None else f"C{numbers.index(cluster) % 10}"
        label = f"no cluster ({len(inside)})" if cluster is None else f"cluster {cluster} ({len(inside)})"
        if inside:
            axes.scatter(plane[inside, 0], plane[inside, 1], s=36, color=colour, label=label, zorder=2)
    for flag, marker in (("outlier", "x"), ("boundary", "+")):
        marked = [i for i, f in enumerate(flags) if f == flag]
        if marked:
            label = f"{flag} ({len(marked)})"
            axes.scatter(plane[marked, 0], plane[marked, 1], s=90, marker=marker, color="black", label=label, zorder=3)
    axes.set(title="Clips in the joint space of their vectors", xlabel="first axis", ylabel="second axis")
    if len(clusters):
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
