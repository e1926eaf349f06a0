"""One clip as one HTML page that needs nothing else: pictures, curves, distributions, decisions, recipes.

No network, no script but the page's own few lines; it opens from a file. Every text that comes from the store is
escaped.
"""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from api.inspect.drawing import colours_of, frame_svg
from api.inspect.material import Material, material_of, sights_at
from api.inspect.pictures import jpeg_uri, wav_uri
from api.inspect.timeline import about_column, readings, timeline
from api.routes.why import ClipWhy
from processors.base import DecodedClip
from store.clip_columns import ClipRow
from store.records import Column

LONGEST_TEXT = 160


def page(row: ClipRow, columns: Sequence[Column], why: ClipWhy, clip: DecodedClip | None) -> str:
    """The page.

    Args:
        columns: those that are shown, as declared.
        clip: what the processors saw; None where the clip's samples are not there.
    """
    material = material_of(row, columns)
    colours = colours_of(material)
    name = row["conditioning"] or "clip without an annotation"
    parts = [_header(row, why, name)]
    if clip is not None:
        parts += [_top(clip, material, row, colours), _timeline(clip, material, row, colours)]
    parts += [_distributions(material), _numbers(material), _decisions(why), _recipes(why)]
    if clip is not None:
        parts.append(_all_frames(clip))
    css, script = ((files("api.inspect") / file).read_text(encoding="utf-8") for file in ("page.css", "page.js"))
    running = f"{_facts(clip, material, colours)}<script>{script}</script>" if clip is not None else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(name)} · {row['clip_id'][:8]}</title><style>{css}</style></head><body><main>"
        f"{''.join(parts)}<footer>Made by Cliploom. This page holds the clip's pictures and sound: treat it as the"
        f" footage itself.</footer></main>{running}</body></html>\n"
    )


# --- head ------------------------------------------------------------------------------------------------------


def _header(row: ClipRow, why: ClipWhy, name: str) -> str:
    lineage = why.lineage
    verdict = why.verdict or "undecided"
    facts = {
        "clip": f'<span class="id">{escape(row["clip_id"])}</span>',
        "from": f"{_text(lineage.video_name)}, shot {_text(lineage.shot)}, at {_seconds(lineage.start_s)}",
        "length": _seconds(lineage.duration_s),
        "picture": f"{row['width']} × {row['height']}" if row["width"] else "–",
        "source": _text(lineage.source),
        "licence": _text(lineage.licence),
        "stage": _text(why.stage),
        "annotated by": _text(why.engine),
    }
    decided = [d for d in why.decisions if d.verdict != "keep"]
    reasons = "".join(f"<span><b>{escape(d.rule)}</b> <small>{escape(_told(d.reason))}</small></span>" for d in decided)
    listed = "".join(f"<span>{label} <b>{value}</b></span>" for label, value in facts.items())
    return (
        f'<header><div class="facts"><span>Cliploom · clip inspection</span></div><h1>{escape(name)}</h1>'
        f'<div class="facts">{listed}</div>'
        f'<div class="why"><span class="verdict {verdict}">{verdict}</span>{reasons or _unopposed(why)}</div></header>'
    )


def _unopposed(why: ClipWhy) -> str:
    return "<small>no rule speaks against it</small>" if why.decisions else "<small>not judged yet</small>"


def _top(clip: DecodedClip, material: Material, row: ClipRow, colours: Mapping[tuple[str, int], str]) -> str:
    height, width = clip.frames_rgb.shape[1:3]
    frames = "".join(
        frame_svg(i, jpeg_uri(frame), (width, height), sights_at(material, float(clip.frame_times_s[i])), colours)
        for i, frame in enumerate(clip.frames_rgb)
    )
    sound = ""
    if clip.audio is not None and len(clip.audio):
        sound = f'<audio preload="auto" src="{wav_uri(clip.audio, clip.audio_rate_hz)}"></audio>'
    legend = "".join(
        f'<span><i style="background:{colours[owner]}"></i>{escape(_owner(owner))}</span>' for owner in material.owners
    )
    return (
        f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{frames}</defs></svg>'
        f'<div class="top"><section class="stage"><svg viewBox="0 0 {width} {height}" role="img" aria-label="frame">'
        f'<use id="shown" href="#frame{len(clip.frames_rgb) // 2}"/></svg><div class="controls">'
        f'<button id="play" type="button">Play</button>{sound}<span id="frameno"></span>'
        f'<span class="legend">{legend}</span></div></section><div>{_annotation(material, row)}</div></div>'
    )


def _owner(owner: tuple[str, int]) -> str:
    """What the legend calls a track."""
    column, number = owner
    return f"{column.removesuffix('_tracks')} {number}" if column.endswith("_tracks") else column.replace("_", " ")


def _annotation(material: Material, row: ClipRow) -> str:
    control = row["control"] or {}
    bars = "".join(
        _bar(name, f"{value:+.2f}", 50 + min(0.0, value) * 50, abs(value) * 50, middle=True)
        for name, value, present in zip(
            control.get("names", ()), control.get("values", ()), control.get("present", ()), strict=True
        )
        if present
    )
    affect = row["affect"] or {}
    trend = affect.get("arousal_trend")
    told = f"<p><small>arousal trend {trend:+.3f} a second</small></p>" if trend is not None else ""
    chips = "".join(_chip(column, term) for column, term in material.words)
    return (
        f'<section><h2>Annotation</h2><div class="chips">{chips or "<small>none yet</small>"}</div>{told}</section>'
        + (f'<section><h2>Control vector</h2><div class="soft">{bars}</div></section>' if bars else "")
    )


def _chip(column: Column, term: str | None) -> str:
    about, unknown = escape(about_column(column)), "" if term is not None else " unknown"
    shown = "unknown" if term is None else _text(term)
    return f'<span class="chip{unknown}" title="{about}"><small>{escape(column.name)}</small>{shown}</span>'


# --- body ------------------------------------------------------------------------------------------------------


def _timeline(clip: DecodedClip, material: Material, row: ClipRow, colours: Mapping[tuple[str, int], str]) -> str:
    rows = timeline(clip, material, row["temporal"] or (), colours)
    return (
        '<section><h2>Over time</h2><p class="key"><span><i></i>measured by signal processing</span>'
        '<span><i class="op"></i>a model’s opinion</span><span>move over the rows, use the arrow keys, or play</span>'
        f'</p><div class="timeline" id="timeline">{rows}<div id="cursor"></div></div></section>'
    )


def _distributions(material: Material) -> str:
    cards = []
    for column, shares in material.distributions:
        total = sum(max(0.0, share) for share in shares.values())
        bars = "".join(
            _bar(label, f"{share:.2f}", 0, min(1.0, max(0.0, share)) * 100) for label, share in shares.items()
        )
        cards.append(
            f'<div class="soft {_who(column)}"><h3 title="{escape(about_column(column))}">{escape(column.name)}'
            f"<small>{_doubt(list(shares.values()), total)}</small></h3>{bars}</div>"
        )
    if not cards:
        return ""
    return f'<section><h2>Soft judgements</h2><div class="spread">{"".join(cards)}</div></section>'


def _doubt(shares: Sequence[float], total: float) -> str:
    """How undecided a distribution is: its entropy as a share of the greatest; nothing where it is none."""
    if len(shares) < 2 or not math.isclose(total, 1.0, abs_tol=0.02):
        return ""
    entropy = -sum(share * math.log(share) for share in shares if share > 0)
    return f"uncertainty {entropy / math.log(len(shares)):.0%}"


def _bar(label: str, value: str, left: float, width: float, middle: bool = False) -> str:
    line = '<span class="mid"></span>' if middle else ""
    return (
        f'<div class="bar"><span title="{escape(label)}">{escape(label)}</span>'
        f'<i>{line}<b style="left:{left:.1f}%;width:{width:.1f}%"></b></i><span>{value}</span></div>'
    )


def _numbers(material: Material) -> str:
    lines = [_number(column, value) for column, value in material.numbers]
    lines += [_long(column, value) for column, value in material.others if column.name not in material.tracks]
    missing = ", ".join(column.name for column in material.missing)
    nothing = f"<p><small>not found, or not measured: {escape(missing)}</small></p>" if missing else ""
    return f'<section><h2>Values</h2><div class="numbers">{"".join(lines)}</div>{nothing}</section>'


def _number(column: Column, value: Any) -> str:
    unit = f" <small>{escape(column.unit)}</small>" if column.unit else ""
    gauge = ""
    if isinstance(value, int | float) and column.low is not None and column.high is not None:
        share = (value - column.low) / (column.high - column.low)
        gauge = f'<div class="gauge"><b style="width:{min(1.0, max(0.0, share)):.1%}"></b></div>'
    about = escape(about_column(column))
    return (
        f'<div class="number {_who(column)}"><span class="of" title="{about}">{escape(column.name)}'
        f'</span><span class="is">{_text(value)}{unit}</span>{gauge or "<span></span>"}</div>'
    )


def _long(column: Column, value: Any) -> str:
    """A value that is neither number, text, curve nor any other known form."""
    told = escape(_told(json.dumps(value, ensure_ascii=False, separators=(", ", ": "))))
    return (
        f'<div class="number long {_who(column)}"><span class="of" title="{escape(about_column(column))}">'
        f'{escape(column.name)}</span><span class="is">{"none" if value in ([], {}) else told}</span></div>'
    )


def _decisions(why: ClipWhy) -> str:
    rows = [
        (f'<span class="{d.verdict}">{d.verdict}</span>', escape(d.rule), _text(d.score), _text(d.threshold),
         escape(d.by), escape(_told(d.reason)))
        for d in why.decisions
    ]  # fmt: skip
    reviews = [
        tuple(_text(review.get(name)) for name in ("decided_at", "subject", "verdict", "covers", "by", "reason"))
        for review in why.reviews
    ]
    table = _table("Decisions", ("verdict", "rule", "score", "threshold", "by", "why"), rows)
    return table + _table("Reviews", ("when", "of", "verdict", "covers", "by", "why"), reviews)


def _recipes(why: ClipWhy) -> str:
    measured = {name: why.recipes.measured.get(name) for name in sorted({*why.recipes.measured, *why.failed})}
    recipes = {"segment": why.recipes.segment, **measured}
    recipes |= {"annotation": why.recipes.annotation, "curation": why.recipes.curation}
    rows = [
        (escape(name), f"<code>{_text(recipe)}</code>", _text(why.failed.get(name)))
        for name, recipe in recipes.items()
        if recipe is not None or name in why.failed
    ]
    return _table("Recipes", ("of", "recipe", "failed because"), rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<section><h2>{title}</h2><div class="wide"><table><tr>{head}</tr>{body}</table></div></section>'


def _all_frames(clip: DecodedClip) -> str:
    height, width = clip.frames_rgb.shape[1:3]
    figures = "".join(
        f'<figure><svg viewBox="0 0 {width} {height}"><use href="#frame{i}"/></svg>'
        f"<figcaption>{time_s:.2f} s</figcaption></figure>"
        for i, time_s in enumerate(clip.frame_times_s)
    )
    return (
        f"<section><details><summary>All {len(clip.frames_rgb)} frames</summary>"
        f'<div class="frames">{figures}</div></details></section>'
    )


def _facts(clip: DecodedClip, material: Material, colours: Mapping[tuple[str, int], str]) -> str:
    told = json.dumps({"duration": clip.duration_s, "times": [round(float(t), 4) for t in clip.frame_times_s]})
    return f'<script type="application/json" id="facts">{told[:-1]},"charts":{readings(material, colours)}}}</script>'


# --- words -----------------------------------------------------------------------------------------------------


def _who(column: Column) -> str:
    return "measured" if column.measured else "opinion"


def _text(value: Any) -> str:
    """A value for people, escaped."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(part) for part in value) or "–"
    return escape(_told(str(value)))


def _told(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"
