"""The page that a run ends with: verdict, curves, samples, sweeps and settings, in one file that needs no other."""

import base64
import io
import wave
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from store.records import Json, TrainingRequested
from trainer.families.base import Family

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #1c2024 }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.verdict { border-left: 4px solid #b3541e; padding: .4rem 1rem; background: #fbf3ee }
.verdict.promoted { border-color: #1f7a4d; background: #eef8f2 }
img { max-width: 100%; border: 1px solid #ddd }
table { border-collapse: collapse } td { padding: .15rem 1.2rem .15rem 0 }
td.number { text-align: right; font-variant-numeric: tabular-nums } .note { color: #667 } audio { height: 32px }
@media (prefers-color-scheme: dark) { body { background: #16181a; color: #e6e6e6 } .verdict { background: #2a211b }
  .verdict.promoted { background: #18251e } img { border-color: #444 } }
"""
_LOSSES = (
    ("held_out_loss_before", "held-out loss before"),
    ("held_out_loss_after", "held-out loss after"),
    ("held_out_gain_error", "standard error of the gain"),
    ("fixed_loss_before", "loss of trained-on clips before"),
    ("fixed_loss_after", "loss of trained-on clips after"),
    ("pose_gain", "held-out loss lower by the clips' own poses"),
    ("pose_gain_error", "standard error of that"),
    ("likeness_gap_before", "nearer to the concept than to others, before"),
    ("likeness_gap_after", "nearer to the concept than to others, after"),
    ("drift", "drift on neutral prompts (1: as far as another seed)"),
    ("flicker_footage", "flicker of the footage"),
    ("flicker_before", "flicker before"),
    ("flicker_after", "flicker after"),
    ("reload_max_abs_diff", "difference after a reload"),
)


def write_report(
    path: Path,
    request: TrainingRequested,
    metrics: Json,
    pictures: Mapping[str, Path],
    texts: Sequence[str],
    rows: Mapping[str, np.ndarray],
    family: Family,
) -> Path:
    """Write the page.

    Args:
        pictures: heading to PNG file. texts, rows: of the sample grid, whose sounds can be heard.
    """
    is_promoted = metrics["promoted"]
    said = "is promoted" if is_promoted else "is not promoted"
    measured = [(label, metrics[name]) for name, label in _LOSSES if name in metrics]
    measured += [(f"control of {name}, rank correlation", told) for name, told in metrics["control_fidelity"].items()]
    why = "".join(f"<li>{escape(reason)}</li>" for reason in metrics["verdict"])
    parts = [
        f"<h1>{escape(request.concept)}, stage {request.stage}</h1>",
        f"<p class=note>run {escape(request.run_id)} on {escape(metrics['base_label'])}; {escape(request.reason)}</p>",
        f"<div class='verdict {'promoted' * is_promoted}'><b>The adapter {said}.</b><ul>{why}</ul></div>",
        f"<h2>Measured</h2>{_table(measured)}",
    ]
    for heading, picture in pictures.items():
        data = base64.b64encode(picture.read_bytes()).decode()
        alt = escape(heading)
        parts.append(f"<h2>{alt}</h2><img alt='{alt}' src='data:image/png;base64,{data}'>")
    if family.media == "sound":
        parts.append("<h2>To be heard</h2>" + _sounds(texts, rows, family.rules.rate_hz))
    parts.append(f"<h2>Settings</h2>{_table(metrics['settings'].items())}")
    title = f"{escape(request.concept)}: run {escape(request.run_id[:12])}"
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{title}</title>"
    body = "".join(parts)
    path.write_text(
        f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>"
    )
    return path


def _table(rows: Iterable[tuple[str, object]]) -> str:
    cells = "".join(f"<tr><td>{escape(name)}</td><td class=number>{_told(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _told(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else escape(str(value))


def _sounds(texts: Sequence[str], rows: Mapping[str, np.ndarray], rate_hz: int) -> str:
    lines = []
    for label, sounds in rows.items():
        players = "".join(f"<td><audio controls src='{_wav(sound, rate_hz)}'></audio></td>" for sound in sounds)
        lines.append(f"<tr><td>{escape(label)}</td>{players}</tr>")
    head = "".join(f"<td class=note>{escape(text)}</td>" for text in texts)
    return f"<table><tr><td></td>{head}</tr>{''.join(lines)}</table>"


def _wav(sound: np.ndarray, rate_hz: int) -> str:
    """A data URL of float32 [C, S] as 16-bit WAV."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(len(sound))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(sound, -1, 1).T * 32767).astype("<i2").tobytes())
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"
