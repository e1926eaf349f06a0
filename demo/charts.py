"""The picture that the demo draws itself: clips by concept."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_ROW_PX = 64
_STRIP_PX = 520


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
