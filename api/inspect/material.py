"""What the page of a clip shows, told apart by the form of each value, so that a new column needs no code.

curve columns                                              -> a curve each
list of {times_s, boxes_xyxy, ...}                         -> boxes on the frames
list of {times_s, keypoints, ...}                          -> skeletons on the frames
list of {times_s, NAME: numbers, NAME: {LABEL: numbers}}   -> a row of curves for each name, a line for each track
list of {time_s, boxes_xyxy}                               -> boxes on the frames of those times
list of [start, end] in seconds                            -> bands on the time axis
list of numbers in seconds                                 -> marks on the time axis
{LABEL: probability}                                       -> bars
a text                                                     -> a chip
a number, and anything else                                -> a line of the table
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from store.clip_columns import ClipRow
from store.records import Column

WITHHELD = "identity"
"""Columns whose names begin so tell people apart: they are not shown. Vectors are not shown at all."""
SAME_TIME_S = 0.002
LONGEST_GAP_S = 1.0
"""A box between two sights no further apart than this is shown, dashed, where it would lie."""
LEAST_RANGE = {"frame heights/s": 0.05, "1/s": 0.05, "deg/s": 4.0, "dBFS": 12.0, "Hz": 50.0}
"""A chart of this unit spans so much at least, so that noise does not look like an event."""
Point = tuple[float, float | None]
"""Time in seconds and value."""


@dataclass(frozen=True)
class Line:
    """One line of a chart: `owner` is the (column, track) whose colour it has, None for the chart's own."""

    label: str
    points: tuple[Point, ...]
    owner: tuple[str, int] | None = None


@dataclass(frozen=True)
class Chart:
    """A row on the time axis; low and high are the range shown."""

    title: str
    column: Column
    lines: tuple[Line, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Sight:
    """A box or a skeleton at a time. box_xyxy and keypoints in 0..1 of the frame; certain: False between sights; label:
    empty where there is nothing to tell apart."""

    owner: tuple[str, int]
    label: str
    box_xyxy: tuple[float, ...] = ()
    keypoints: tuple[tuple[float, float, float], ...] = ()
    certain: bool = True


@dataclass
class Material:
    """A clip's values, sorted by how they are shown; columns in the order of the table."""

    charts: list[Chart] = field(default_factory=list)
    spans: list[tuple[Column, list[tuple[float, float, str]]]] = field(default_factory=list)
    """Bands: start and end in seconds, label."""
    marks: list[tuple[Column, list[float]]] = field(default_factory=list)
    distributions: list[tuple[Column, dict[str, float]]] = field(default_factory=list)
    words: list[tuple[Column, str | None]] = field(default_factory=list)
    numbers: list[tuple[Column, float]] = field(default_factory=list)
    others: list[tuple[Column, Any]] = field(default_factory=list)
    missing: list[Column] = field(default_factory=list)
    tracks: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    """Columns with boxes or skeletons."""
    owners: list[tuple[str, int]] = field(default_factory=list)
    """(column, track) of everything that has boxes or skeletons of its own, in order: the place is the colour."""


def declared_columns(schema: pa.Schema) -> list[Column]:
    """The columns of processors and annotation in the clip table, as they were declared, but for private ones."""
    found = []
    for entry in schema:
        told = {name.decode(): value.decode() for name, value in (entry.metadata or {}).items()}
        if "kind" in told and not entry.name.startswith(WITHHELD):
            known = {name: value for name, value in told.items() if name in Column.model_fields}
            found.append(Column.model_validate({"name": entry.name, **known}))
    return found


def material_of(row: ClipRow, columns: Sequence[Column]) -> Material:
    """The clip's values by the way in which they are shown."""
    material = Material()
    for column in columns:
        value = row.get(column.name)
        if column.kind == "text":
            material.words.append((column, value))
        elif value is None:
            material.missing.append(column)
        elif column.kind == "curve":
            points = tuple((i / (column.rate_hz or 1.0), number) for i, number in enumerate(value))
            material.charts += _charts(column.name, column, [Line("", points)])
        elif column.kind == "json":
            _sort_in(material, column, value)
        elif column.kind != "vector":
            material.numbers.append((column, value))
    for column, value in list(material.others):  # tracks of tracks, once all that have boxes are known
        if _are_tracks(value):
            material.others.remove((column, value))
            material.charts += _track_charts(column, value, material)
    return material


def _sort_in(material: Material, column: Column, value: Any) -> None:
    if isinstance(value, dict) and value and all(_is_number(part) for part in value.values()):
        material.distributions.append((column, _in_told_order(value, column.source)))
    elif _are_tracks(value) and any("boxes_xyxy" in entry or "keypoints" in entry for entry in value):
        material.tracks[column.name] = value
        if any("boxes_xyxy" in entry for entry in value):
            material.owners += [(column.name, _number(entry, i)) for i, entry in enumerate(value)]
        material.others.append((column, value))
    elif _are(value, lambda part: isinstance(part, dict) and "time_s" in part and "boxes_xyxy" in part):
        material.tracks[column.name] = [
            {"times_s": [part["time_s"]] * len(part["boxes_xyxy"]), "boxes_xyxy": part["boxes_xyxy"], "apart": True}
            for part in value
        ]
        material.owners.append((column.name, 0))
    elif column.unit == "s" and _are(value, lambda part: isinstance(part, list) and len(part) == 2):
        material.spans.append((column, [(start, end, "") for start, end in value]))
    elif column.unit == "s" and _are(value, _is_number):
        material.marks.append((column, value))
    else:
        material.others.append((column, value))


def _in_told_order(shares: Mapping[str, float], source: str) -> dict[str, float]:
    """The shares in the order in which the column's source names them: the table holds them by name."""
    told = {label: source.find(label) for label in shares}
    return dict(sorted(shares.items(), key=lambda share: (told[share[0]] < 0, told[share[0]])))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are(value: Any, test: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(test(part) for part in value)


def _are_tracks(value: Any) -> bool:
    return _are(value, lambda part: isinstance(part, dict) and isinstance(part.get("times_s"), list))


def _number(entry: Mapping[str, Any], place: int) -> int:
    """The track's number: its own, else its place in the list."""
    track = entry.get("track")
    return track if isinstance(track, int) else place


def owner_of(column: str, entry: Mapping[str, Any], place: int, material: Material) -> tuple[str, int]:
    """Whose colour a track's entry has: that of the boxes that it is about, where there are such."""
    about = entry.get("of") or ("people_tracks" if "keypoints" in entry else "face_tracks")
    for owner in ((column, _number(entry, place)), (str(about), _number(entry, place))):
        if owner in material.owners:
            return owner
    return column, _number(entry, place)


def _track_charts(column: Column, value: Sequence[Mapping[str, Any]], material: Material) -> list[Chart]:
    """A chart for every list of numbers, one for each of the track's times, that the entries hold."""
    lines: dict[str, list[Line]] = {}
    for place, entry in enumerate(value):
        owner = owner_of(column.name, entry, place, material)
        for name, numbers in _numbers(entry):
            points = tuple(zip(entry["times_s"], numbers, strict=True))
            label = f"{entry['of'].removesuffix('_tracks')} " if "of" in entry else ""
            lines.setdefault(name, []).append(Line(f"{label}{owner[1]}", points, owner))
    charts = []
    for name, found in lines.items():
        scale = {"low": 0.0, "high": 1.0, "unit": ""} if name == "scores" else {}
        charts += _charts(f"{column.name} · {name}", column.model_copy(update=scale), found)
    return charts


def _numbers(entry: Mapping[str, Any]) -> Iterator[tuple[str, list[float | None]]]:
    length = len(entry["times_s"])
    for name, part in entry.items():
        inside = part.items() if isinstance(part, dict) else [("", part)]
        for label, numbers in inside:
            fits = _are(numbers, lambda number: number is None or _is_number(number)) and len(numbers) == length
            if name != "times_s" and fits:
                yield f"{name} {label}".strip(), numbers


def _charts(title: str, column: Column, lines: Sequence[Line]) -> list[Chart]:
    """The chart of the lines, or none where nothing is known. The range is the declared one where it is one, else
    that of the values, with zero."""
    values = [value for line in lines for _, value in line.points if value is not None]
    if not values:
        return []
    if column.low is not None and column.high is not None and column.high - column.low <= 2.0:
        return [Chart(title, column, tuple(lines), column.low, column.high)]
    near_zero = column.low == 0.0 or min(values) < 0.0 < max(values)
    low, high = (min(0.0, *values), max(0.0, *values)) if near_zero else (min(values), max(values))
    lacking = max(0.0, LEAST_RANGE.get(column.unit, 1e-6) - (high - low))
    if near_zero:  # zero stays where it is
        share = high / (high - low) if high > low else 1.0
        return [Chart(title, column, tuple(lines), low - lacking * (1.0 - share), high + lacking * share)]
    return [Chart(title, column, tuple(lines), low - lacking / 2, high + lacking / 2)]


def sights_at(material: Material, time_s: float) -> list[Sight]:
    """Boxes and skeletons on the frame of that time."""
    sights = []
    for column, tracks in material.tracks.items():
        for place, entry in enumerate(tracks):
            if entry.get("apart"):
                sights += [
                    Sight((column, 0), "", tuple(box))
                    for at_s, box in zip(entry["times_s"], entry["boxes_xyxy"], strict=True)
                    if abs(at_s - time_s) <= SAME_TIME_S
                ]
                continue
            sight = _sight(column, place, entry, time_s, material)
            if sight is not None:
                sights.append(sight)
    return sights


def _sight(column: str, place: int, entry: Mapping[str, Any], time_s: float, material: Material) -> Sight | None:
    times_s = entry["times_s"]
    after = next((i for i, at_s in enumerate(times_s) if at_s >= time_s - SAME_TIME_S), None)
    if after is None:
        return None
    owner = owner_of(column, entry, place, material)
    label = _label(column, owner[1], entry, after)
    certain = abs(times_s[after] - time_s) <= SAME_TIME_S
    if "keypoints" in entry:
        points = tuple(tuple(point) for point in entry["keypoints"][after])
        return Sight(owner, label, keypoints=points) if certain else None  # type: ignore[arg-type]
    boxes = entry["boxes_xyxy"]
    if certain:
        return Sight(owner, label, tuple(boxes[after]))
    if after == 0 or times_s[after] - times_s[after - 1] > LONGEST_GAP_S:
        return None
    share = (time_s - times_s[after - 1]) / (times_s[after] - times_s[after - 1])
    box = tuple(a + share * (b - a) for a, b in zip(boxes[after - 1], boxes[after], strict=True))
    return Sight(owner, label, box, certain=False)


def _label(column: str, number: int, entry: Mapping[str, Any], at: int) -> str:
    kind = entry.get("label") or column.removesuffix("_tracks")
    told = f"{kind} {number}"
    if isinstance(identity := entry.get("identity"), str):
        told += f" · {identity[:8]}"
    scores = entry.get("scores")
    return f"{told} · {scores[at]:.2f}" if scores else told
