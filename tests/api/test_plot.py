"""`cliploom plot`: what the pictures show."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from api.commands.plot import draw_growth, draw_map, draw_outliers, draw_purity, write_plot

POINTS = [
    {"clip_id": f"c{i}", "x": float(i % 5), "y": float(i // 5), "cluster": None if i % 7 == 0 else i % 3}
    | {"is_outlier": i == 0, "is_boundary": i in (3, 4)}
    for i in range(25)
]


def axes():
    return Figure().add_subplot()


def legend(drawn):
    return [text.get_text() for text in drawn.get_legend().get_texts()]


def test_the_map_tells_every_cluster_and_flag_with_its_number_of_clips():
    drawn = axes()
    draw_map(drawn, POINTS)
    assert legend(drawn) == [
        "no cluster (4)",
        "cluster 0 (7)",
        "cluster 1 (7)",
        "cluster 2 (7)",
        "outlier (1)",
        "boundary (2)",
    ]
    assert [text.get_text() for text in drawn.texts] == ["0", "1", "2"]


def test_of_many_clusters_the_legend_names_the_largest_and_the_map_numbers_all():
    drawn = axes()
    points = [
        {"clip_id": f"{k}-{i}", "x": float(k), "y": float(i), "cluster": k, "is_outlier": False, "is_boundary": False}
        for k in range(40)
        for i in range(1 + k)
    ]
    draw_map(drawn, points)
    assert legend(drawn)[0] == "cluster 24 (25)"
    assert legend(drawn)[-2:] == ["cluster 39 (40)", "24 smaller ones"]
    assert len(drawn.texts) == 40


def test_the_histogram_stacks_clips_in_none_on_those_in_clusters():
    drawn = axes()
    draw_outliers(drawn, {"edges": [0.0, 0.5, 1.0], "in_clusters": [5, 1], "in_none": [0, 3], "threshold": 0.9})
    heights = [patch.get_y() + patch.get_height() for patch in drawn.patches]
    assert heights == [5, 1, 5, 4]


def test_purity_is_drawn_where_it_is_known():
    told = {"purity": 0.9, "purity_low": 0.7, "n_distinct": 12}
    history = [
        {"computed_at": "2026-01-01T12:00:00+00:00", "purity": None, "purity_low": None, "n_distinct": 1},
        {"computed_at": "2026-01-01T13:00:00+00:00"} | told,
        {"computed_at": "2026-01-01T14:00:00+00:00"} | told,
    ]
    drawn = axes()
    draw_purity(drawn, {"concept": "calm", "asked": 0.6, "history": history})
    assert [len(line.get_xdata()) for line in drawn.get_lines()[:2]] == [2, 2]


@pytest.mark.parametrize(
    ("draw", "answer"),
    [
        (draw_map, POINTS),
        (
            draw_growth,
            [{"day": "2026-01-01", "videos": 2, "clips": 9}, {"day": "2026-01-04", "videos": 3, "clips": 20}],
        ),
    ],
)
def test_a_picture_is_written(tmp_path, draw, answer):
    write_plot(tmp_path / "one.png", draw, answer)
    assert np.array(Image.open(tmp_path / "one.png").convert("L")).std() > 5
