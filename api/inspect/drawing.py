"""SVG of what lies on frames and on the time axis. Text is HTML's business: these are stretched to the page's width."""

from collections.abc import Mapping, Sequence
from html import escape

from api.inspect.material import Chart, Line, Material, Point, Sight
from processors.skeleton import BONES, LEAST_SCORE

COLOURS = ("#2f81d6", "#e08a00", "#1a9d72", "#d0568f", "#8e6bd0", "#d5532b", "#2aa7b8", "#8a9a1f")
"""Of tracks, in turn. Chosen: after Okabe and Ito (2008), told apart by most colour-blind eyes, on light and dark."""
WIDTH, HEIGHT = 1000.0, 100.0
"""Units of a row's drawing."""
ROOM = 6.0
"""Of HEIGHT, left free above and below a curve."""


def colours_of(material: Material) -> dict[tuple[str, int], str]:
    """A colour for every track, the same all over the page."""
    owners = [*material.owners]
    for chart in material.charts:
        owners += [line.owner for line in chart.lines if line.owner is not None and line.owner not in owners]
    return {owner: COLOURS[i % len(COLOURS)] for i, owner in enumerate(dict.fromkeys(owners))}


def frame_svg(
    number: int, uri: str, size: tuple[int, int], sights: Sequence[Sight], colours: Mapping[tuple[str, int], str]
) -> str:
    """The frame and what lies on it as one group that the page shows in several places."""
    width, height = size
    parts = [f'<image href="{uri}" width="{width}" height="{height}" decoding="sync"/>']
    for sight in sights:
        colour = colours.get(sight.owner, COLOURS[0])
        parts.append(_box(sight, colour, width, height) if sight.box_xyxy else _bones(sight, colour, width, height))
    return f'<g id="frame{number}">{"".join(parts)}</g>'


def _box(sight: Sight, colour: str, width: int, height: int) -> str:
    left, top, right, bottom = (
        value * size for value, size in zip(sight.box_xyxy, (width, height, width, height), strict=True)
    )
    dash = "" if sight.certain else ' stroke-dasharray="4 3" opacity="0.75"'
    box = (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" rx="2" fill="none"'
        f' stroke="{colour}" stroke-width="{height / 110:.2f}"{dash}/>'
    )
    return box + _tag(sight.label, colour, left, top, width, height / 24) if sight.label else box


def _tag(label: str, colour: str, left: float, top: float, width: int, text: float) -> str:
    """The label above a box's left corner, inside it where there is no room; `text` is the letters' size."""
    wide, high = len(label) * text * 0.54 + text * 0.6, text * 1.4
    x, y = max(0.0, min(left, width - wide)), top - high if top > high else top
    return (
        f'<g class="tag"><rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="2" fill="{colour}"/>'
        f'<text x="{x + text * 0.3:.1f}" y="{y + text * 1.05:.1f}" font-size="{text:.1f}" fill="#fff">{escape(label)}'
        "</text></g>"
    )


def _bones(sight: Sight, colour: str, width: int, height: int) -> str:
    points = [(x * width, y * height, score >= LEAST_SCORE) for x, y, score in sight.keypoints]
    bones = "".join(
        f'<line x1="{points[a][0]:.1f}" y1="{points[a][1]:.1f}" x2="{points[b][0]:.1f}" y2="{points[b][1]:.1f}"/>'
        for a, b in BONES
        if b < len(points) and points[a][2] and points[b][2]
    )
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{height / 90:.2f}"/>' for x, y, seen in points if seen)
    return (
        f'<g stroke="{colour}" stroke-width="{height / 90:.2f}" stroke-linecap="round" opacity="0.9">{bones}</g>'
        f'<g fill="#fff" stroke="{colour}" stroke-width="{height / 180:.2f}">{dots}</g>'
    )


def chart_svg(chart: Chart, duration_s: float, colours: Mapping[tuple[str, int], str]) -> str:
    """The chart's lines; the area below a line that is alone is tinted, zero is marked where it lies inside."""
    parts = []
    if chart.low < 0.0 < chart.high:
        parts.append(f'<line class="zero" x1="0" x2="{WIDTH:g}" y1="{_y(0.0, chart):.1f}" y2="{_y(0.0, chart):.1f}"/>')
    for line in chart.lines:
        colour = "" if line.owner is None else f' style="stroke:{colours[line.owner]}"'
        for run in _runs(line):
            places = [(time_s / duration_s * WIDTH, _y(value, chart)) for time_s, value in run]
            if len(places) == 1:
                places.append((places[0][0] + 4.0, places[0][1]))
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            if len(chart.lines) == 1 and not colour:
                foot = _y(min(max(0.0, chart.low), chart.high), chart)
                area = f"{places[0][0]:.1f},{foot:.1f} {path} {places[-1][0]:.1f},{foot:.1f}"
                parts.append(f'<polygon class="area" points="{area}"/>')
            parts.append(f'<polyline class="line" points="{path}"{colour}/>')
    return _svg("".join(parts))


def _y(value: float, chart: Chart) -> float:
    share = (min(max(value, chart.low), chart.high) - chart.low) / (chart.high - chart.low)
    return HEIGHT - ROOM - share * (HEIGHT - 2 * ROOM)


def _runs(line: Line) -> list[list[tuple[float, float]]]:
    """The stretches of the line without a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for time_s, value in line.points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((time_s, value))
    return [run for run in runs if run]


def wave_svg(low: Sequence[float], high: Sequence[float]) -> str:
    """The sound's envelope, as tall as its loudest moment."""
    loudest = max(1e-6, *(abs(value) for value in (*low, *high)))
    step = WIDTH / len(low)
    upper = [f"{i * step:.1f},{HEIGHT / 2 * (1 - value / loudest):.1f}" for i, value in enumerate(high)]
    lower = [f"{i * step:.1f},{HEIGHT / 2 * (1 - value / loudest):.1f}" for i, value in enumerate(low)]
    return _svg(f'<polygon class="wave" points="{" ".join([*upper, *reversed(lower)])}"/>')


def spectrogram_svg(uri: str, duration_s: float, pitches: Sequence[Sequence[Point]], marks: Sequence[float]) -> str:
    """The spectrogram with curves over it (heights in 0..1) and a tick at every mark."""
    parts = [f'<image href="{uri}" width="{WIDTH:g}" height="{HEIGHT:g}" preserveAspectRatio="none"/>']
    for points in pitches:
        for run in _runs(Line("", tuple(points))):
            places = [(t / duration_s * WIDTH, (1.0 - height) * HEIGHT) for t, height in run]
            places += [(places[0][0] + 4.0, places[0][1])] if len(places) == 1 else []
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="pitch-edge" points="{path}"/><polyline class="pitch" points="{path}"/>')
    for time_s in marks:
        x = time_s / duration_s * WIDTH
        parts.append(f'<line class="onset" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT * 0.14:g}"/>')
    return _svg("".join(parts))


def _svg(inside: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" aria-hidden="true">{inside}</svg>'
