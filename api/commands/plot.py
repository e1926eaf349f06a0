"""`cliploom plot`: pictures of the dataset, as PNG."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from api.commands.output import DEFAULT_URL, Url, service
from store.records import Json

app = typer.Typer(no_args_is_help=True, help="Pictures of the dataset: map, purity, growth, outliers.")

Out = Annotated[Path, typer.Option(help="PNG file to write.")]
_COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#EE7733", "#009988")
"""Colours that are told apart by everyone (Paul Tol's bright and vibrant schemes)."""
_GREY = "0.65"
_NAMED = 16
"""Clusters in the legend, the largest. Chosen: of 45 the legend left no room for the map; all are numbered on it."""
_SIZE_IN = (8.0, 6.0)


@app.command("map")
def map_(out: Out = Path("map.png"), url: Url = DEFAULT_URL) -> None:
    """The clips in two dimensions, by cluster, with outliers and boundary cases."""
    with service(url, as_json=False) as client:
        _write(out, draw_map, client.get("/curation/map"))


@app.command()
def outliers(out: Out = Path("outliers.png"), url: Url = DEFAULT_URL) -> None:
    """Clips by outlier score."""
    with service(url, as_json=False) as client:
        _write(out, draw_outliers, client.get("/curation/outliers"))


@app.command()
def growth(out: Out = Path("growth.png"), url: Url = DEFAULT_URL) -> None:
    """Videos and clips over time."""
    with service(url, as_json=False) as client:
        _write(out, draw_growth, client.get("/curation/growth"))


@app.command()
def purity(
    concept: Annotated[str, typer.Argument(help="The concept's name.")],
    out: Out = Path("purity.png"),
    url: Url = DEFAULT_URL,
) -> None:
    """A concept's purity over time, with its lower bound, and what it takes to be ready."""
    with service(url, as_json=False) as client:
        asked = client.get(f"/concepts/{concept}")["concept"]["definition"]["purity"]
        history = client.get(f"/concepts/{concept}/history")
        _write(out, draw_purity, {"concept": concept, "asked": asked, "history": history})


def _write(out: Path, draw: Callable[[Axes, Any], None], answer: Json | list[Json]) -> None:
    write_plot(out, draw, answer)
    typer.echo(str(out))


def write_plot(out: Path, draw: Callable[[Axes, Any], None], answer: Json | list[Json]) -> None:
    """Draw what the API answered into a PNG file."""
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    draw(figure.add_subplot(), answer)
    figure.savefig(out, dpi=110)


def _dated(axes: Axes) -> None:
    """Write days and times along x."""
    locator = AutoDateLocator(maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def draw_map(axes: Axes, points: list[Json]) -> None:
    """Clips by cluster: colours and shapes, numbers at their middles."""
    sizes = Counter(one["cluster"] for one in points if one["cluster"] is not None)
    numbers = sorted(sizes)
    named = {None, *sorted(numbers, key=lambda number: (-sizes[number], number))[:_NAMED]}
    for cluster in (None, *numbers):
        inside = [one for one in points if one["cluster"] == cluster]
        if not inside:
            continue
        place = 0 if cluster is None else numbers.index(cluster)
        colour = _GREY if cluster is None else _COLOURS[place % len(_COLOURS)]
        shape = "." if cluster is None else "osD^v"[place // len(_COLOURS) % 5]
        name = "no cluster" if cluster is None else f"cluster {cluster}"
        label = f"{name} ({len(inside)})" if cluster in named else None
        xs, ys = [one["x"] for one in inside], [one["y"] for one in inside]
        axes.scatter(xs, ys, s=26, color=colour, marker=shape, alpha=0.8, linewidths=0, label=label, zorder=2)
        if cluster is not None:
            middle = sorted(xs)[len(xs) // 2], sorted(ys)[len(ys) // 2]
            box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
            axes.annotate(str(cluster), middle, ha="center", va="center", fontsize=9, bbox=box, zorder=4)
    for flag, marker, word in (("is_outlier", "x", "outlier"), ("is_boundary", "+", "boundary")):
        marked = [one for one in points if one[flag]]
        if marked:
            xs, ys = [one["x"] for one in marked], [one["y"] for one in marked]
            label = f"{word} ({len(marked)})"
            axes.scatter(xs, ys, s=60, marker=marker, color="black", linewidths=1.0, label=label, zorder=3)
    axes.set(title=f"{len(points):,} clips, near where they are alike", xticks=[], yticks=[], aspect="equal")
    if len(numbers) > _NAMED:
        axes.plot([], [], " ", label=f"{len(numbers) - _NAMED} smaller ones")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def draw_outliers(axes: Axes, answer: Json) -> None:
    """Histogram of the scores, with the threshold."""
    edges = answer["edges"]
    width = edges[1] - edges[0]
    axes.bar(edges[:-1], answer["in_clusters"], width, align="edge", color=_COLOURS[0], label="in clusters")
    below = answer["in_clusters"]
    axes.bar(edges[:-1], answer["in_none"], width, below, align="edge", color=_COLOURS[1], label="in no cluster")
    axes.axvline(answer["threshold"], color="black", linestyle="--", label=f"outliers from {answer['threshold']:g}")
    axes.set(title="Clips by outlier score", xlabel="outlier score (GLOSH)", ylabel="clips", xlim=(0, 1))
    axes.legend(frameon=False)


def draw_growth(axes: Axes, days: list[Json]) -> None:
    """Clips, and videos on a scale of their own."""
    times = date2num([datetime.fromisoformat(one["day"]) for one in days])
    axes.step(times, [one["clips"] for one in days], where="post", color=_COLOURS[0], marker="o", label="clips")
    axes.set(title="Growth", ylabel="clips")
    _dated(axes)
    other = axes.twinx()
    other.step(times, [one["videos"] for one in days], where="post", color=_COLOURS[1], marker="s", label="videos")
    other.set_ylabel("videos")
    for drawn in (axes, other):
        drawn.set_ylim(bottom=0)
    lines = [*axes.get_lines(), *other.get_lines()]
    axes.legend(lines, [str(line.get_label()) for line in lines], frameon=False, loc="upper left")


def draw_purity(axes: Axes, answer: Json) -> None:
    """The estimate, its lower bound, the threshold, and the number of clips."""
    known = [one for one in answer["history"] if one["purity"] is not None]
    times = date2num([datetime.fromisoformat(one["computed_at"]) for one in known])
    axes.plot(times, [one["purity"] for one in known], color=_COLOURS[0], marker="o", label="purity")
    low = [one["purity_low"] for one in known]
    axes.plot(times, low, color=_COLOURS[0], linestyle=":", marker=".", label="its lower bound")
    axes.fill_between(times, low, [one["purity"] for one in known], color=_COLOURS[0], alpha=0.12, linewidth=0)  # type: ignore[arg-type]
    axes.axhline(answer["asked"], color="black", linestyle="--", label=f"bound asked for: {answer['asked']:g}")
    axes.set(title=f"Purity of {answer['concept']}", ylim=(0, 1.02), ylabel="purity")
    _dated(axes)
    other = axes.twinx()
    other.plot(times, [one["n_distinct"] for one in known], color=_COLOURS[1], marker="s", label="clips open to use")
    other.set_ylabel("clips open to use, copies once")
    other.set_ylim(bottom=0)
    lines = [*axes.get_lines(), *other.get_lines()]
    axes.legend(lines, [str(line.get_label()) for line in lines], frameon=False, loc="lower right")
