"""Where the statistics of `processors/audio/wordless.py` lie, so that each has the same say within its kind.

Measured once over the 180 vocal bursts (6 speakers, 30 emotions) of EmoGator (Buhl 2023, Apache-2.0) that the
project develops with, rounded; no label was used. In the order of `wordless.statistics`; a kind begins on a new
line. Changing a number changes every vector: raise `Wordless.version` with it.
"""

# fmt: off
WORDLESS_CENTRE = (
    -22.52, -27.46, -29.14, -23.11, -27.17, -28.37, -23.08, -25.97, -27.48, -23.22, -26.34, -27.24,
    -297.48, -175.34, -89.70, 58.92, 227.33, 646.62,
    6.25, 4.92, 0.131, 12.74,
    0.448, -0.122, 7.72, 0.22,
    0.875, 0.844, 0.782, 0.72, 0.631, 0.516, 0.407, 0.277, 0.132, -0.0388, -0.202, -0.321, -0.354,
    -0.28, -0.107, 0.0534,
)
"""Means."""

WORDLESS_SCALE = (
    4.54, 5.17, 5.02, 4.26, 4.74, 5.25, 3.65, 3.18, 3.55, 3.23, 2.61, 3.05,
    154.74, 100.36, 57.80, 70.64, 154.13, 197.67,
    5.26, 1.71, 4.38, 6.00,
    0.318, 6.97, 6.67, 0.147,
    0.0695, 0.0849, 0.112, 0.132, 0.152, 0.167, 0.174, 0.173, 0.167, 0.155, 0.149, 0.165, 0.167, 0.138, 0.141, 0.115,
)
"""Standard deviations."""
