"""The rows of the page that share the time axis: frames, spans, sound, curves."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape

from api.inspect.drawing import chart_svg, spectrogram_svg, wave_svg
from api.inspect.material import Chart, Material
from api.inspect.pictures import MEL_HIGH_HZ, MEL_LOW_HZ, envelope, mel_height, spectrogram_uri
from processors.base import DecodedClip
from store.records import Column, Json

FILM_FRAMES = 12
"""Chosen: at the usual width a thumbnail is then as wide as its place on the axis."""
TICKS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


def timeline(
    clip: DecodedClip, material: Material, changes: Sequence[Json], colours: Mapping[tuple[str, int], str]
) -> str:
    """All rows, the axis first."""
    duration_s = clip.duration_s
    rows = [_axis(duration_s), _film(clip)]
    if changes:
        spans = [(span["start_s"], span["end_s"], span["kind"]) for span in changes]
        rows.append(
            _bands(
                "changes",
                "from the clip's intensity: the annotation's onset, escalation, resolution",
                spans,
                duration_s,
                True,
            )
        )
    for column, spans in material.spans:
        rows.append(_bands(column.name, column.source, spans, duration_s, column.measured))
    rows += _sound(clip, material)
    rows += [_chart(number, chart, duration_s, colours) for number, chart in enumerate(material.charts)]
    return "".join(rows)


def readings(material: Material, colours: Mapping[tuple[str, int], str]) -> str:
    """What the page's script reads out under the cursor: JSON, one entry for each chart, in order."""
    told = [
        [{"times": [t for t, _ in line.points], "values": [_short(v) for _, v in line.points],
          "colour": colours.get(line.owner, "") if line.owner else "", "label": line.label} for line in chart.lines]
        for chart in material.charts
    ]  # fmt: skip
    return json.dumps(told, separators=(",", ":")).replace("</", "<\\/")


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _row(kind: str, title: str, about: str, body: str, aside: str = "", measured: bool = True) -> str:
    source = "measured" if measured else "opinion"
    return (
        f'<div class="row {kind} {source}"><div class="name" title="{escape(about)}">{title}</div>'
        f'<div class="plot">{body}</div><div class="aside">{aside}</div></div>'
    )


def _axis(duration_s: float) -> str:
    step = next((tick for tick in TICKS if duration_s / tick <= 12), TICKS[-1])
    digits = 0 if step >= 1 else 2 if step == 0.25 else 1
    ticks = "".join(
        f'<span class="tick" style="left:{i * step / duration_s:.4%}">{i * step:.{digits}f}</span>'
        for i in range(math.floor(duration_s / step + 1e-9) + 1)
    )
    return _row("axis", "seconds", "from the clip's start", ticks, '<span id="now"></span>')


def _film(clip: DecodedClip) -> str:
    height, width = clip.frames_rgb.shape[1:3]
    n_shown = min(FILM_FRAMES, len(clip.frames_rgb))
    shown = sorted({round(i * (len(clip.frames_rgb) - 1) / max(1, n_shown - 1)) for i in range(n_shown)})
    frames = "".join(
        f'<svg viewBox="0 0 {width} {height}"><title>{clip.frame_times_s[i]:.2f} s</title><use href="#frame{i}"/></svg>'
        for i in shown
    )
    return _row("film", "frames", "as the processors see them: 4 a second", frames, f"{len(clip.frames_rgb)} sampled")


def _bands(name: str, about: str, spans: Sequence[tuple[float, float, str]], duration_s: float, measured: bool) -> str:
    drawn = "".join(_band(start / duration_s, end / duration_s, label, f"{start:.2f} to {end:.2f} s")
                    for start, end, label in spans)  # fmt: skip
    total_s = sum(end - start for start, end, _ in spans)
    return _row("bands", _title(name), about, drawn, f"{total_s:.1f} s", measured)


def _band(start: float, end: float, label: str, told: str) -> str:
    place = f"left:{start:.3%};width:{end - start:.3%}"
    return f'<span class="band {escape(label)}" style="{place}" title="{escape(label)} {told}">{escape(label)}</span>'


def _sound(clip: DecodedClip, material: Material) -> list[str]:
    if clip.audio is None or not len(clip.audio):
        return [_row("silent", "sound", "", '<span class="none">no sound track</span>')]
    low, high = envelope(clip.audio)
    peak = float(max(abs(low.min()), abs(high.max())))
    peak_db = f"peak {20 * math.log10(peak):.0f} dBFS" if peak > 1e-5 else "silent"
    pitched = [c for c in material.charts if c.column.unit == "Hz" and c.high > MEL_LOW_HZ]
    curves = [
        [(t, None if v is None else mel_height(min(max(v, MEL_LOW_HZ), MEL_HIGH_HZ))) for t, v in line.points]
        for chart in pitched
        for line in chart.lines
    ]
    marks = [time_s for _, times_s in material.marks for time_s in times_s]
    over = [_title(c.title) for c in pitched] + [_title(column.name) for column, _ in material.marks]
    about = "72 mel bands, 50 Hz to 8 kHz, 70 dB below the loudest"
    name = "log-mel" + (f"<small>{', '.join(over)}</small>" if over else "")
    scale = "".join(
        f'<span class="hz" style="bottom:{mel_height(hz):.1%}">{label}</span>'
        for hz, label in ((200, "200 Hz"), (500, "500"), (1000, "1k"), (2000, "2k"), (4000, "4k"))
    )
    drawing = spectrogram_svg(spectrogram_uri(clip.audio, clip.audio_rate_hz), clip.duration_s, curves, marks)
    return [
        _row("sound", "waveform", "16 kHz, mono", wave_svg(low.tolist(), high.tolist()), peak_db),
        _row("mel", name, about, drawing, f'<span class="scale">{scale}</span>'),
    ]


def _chart(number: int, chart: Chart, duration_s: float, colours: Mapping[tuple[str, int], str]) -> str:
    unit = f"<small>{escape(chart.column.unit)}</small>" if chart.column.unit else ""
    scale = f'<span>{chart.high:.3g}</span><output id="read{number}"></output><span>{chart.low:.3g}</span>'
    name, about = _title(chart.title) + unit, about_column(chart.column)
    return _row("chart", name, about, chart_svg(chart, duration_s, colours), scale, chart.column.measured)


def about_column(column: Column) -> str:
    """A column's source, range and kind, for the pointer that rests on its name."""
    bounds = f"range {_bound(column.low)} to {_bound(column.high)}"
    who = "measured" if column.measured else "a model's opinion"
    return f"{column.name}: {column.source or 'no source given'} [{who}; {bounds} {column.unit}".rstrip() + "]"


def _bound(value: float | None) -> str:
    return "unbounded" if value is None else f"{value:g}"


def _title(name: str) -> str:
    return escape(name.removesuffix("_curve").replace("_tracks", " tracks").replace("_", " "))
