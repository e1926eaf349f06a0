"""Long footage in chunks: where they end changes nothing, be the reading still open or taken up from a checkpoint."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from processors.segment.clip import SegmentedClip
from processors.segment.reading import SegmentedVideo
from processors.segment.recipe import SegmentRecipe
from processors.segment.run import Segmenter
from tests.processors.made_footage import number_of, numbered, read_back, scene, tone, with_sound, write_video

QUICK = SegmentRecipe(detectors=("histogram",), min_clip_s=0.5, max_clip_s=2.0)
VIDEO_ID = "v" * 64
OPEN_GOP = {"preset": "veryfast", "x264-params": "open-gop=1:keyint=50:min-keyint=50:scenecut=0:bframes=3:b-adapt=0"}


def everything(width: int = 320, height: int = 176) -> list[np.ndarray]:
    """11 s at 25 Hz: cuts at 2.4, 3.2, 4.6 and 9.2 s, dissolves from 2.0 to 2.4 and 6.8 to 7.2 s, a fade at the end."""
    spans = {1: 50, 2: 30, 3: 35, 4: 60, 5: 50, 6: 50}
    pictures = [scene(seed, i, width, height) for seed, length in spans.items() for i in range(length)]
    for first, seed in ((50, 2), (170, 5)):
        for i in range(10):
            after = scene(seed, i, width, height)
            pictures[first + i] = cv2.addWeighted(pictures[first - 1], 1 - (i + 1) / 11, after, (i + 1) / 11, 0)
    for i in range(15):
        pictures[-15 + i] = cv2.convertScaleAbs(pictures[-15 + i], alpha=max(0.0, 1 - i / 12))
    return [numbered(picture, i) for i, picture in enumerate(pictures)]


def melody(seconds: float) -> np.ndarray:
    """Float [N] at 44.1 kHz, never the same for long."""
    time_s = np.arange(round(44_100 * seconds)) / 44_100
    return 0.4 * np.sin(2 * np.pi * (200 + 30 * time_s) * time_s)


def footage(name: str, folder: Path) -> Path:
    """The videos on which chunks are tried."""
    pictures = everything()
    if name == "open_gop.mp4":
        path = write_video(folder / "mute.mp4", pictures, options=OPEN_GOP)
        return with_sound(path, folder / name, melody(10.5))
    if name == "uneven.mkv":
        times = np.cumsum(np.random.default_rng(1).choice([20, 33, 40, 67], len(pictures))).tolist()
        return write_video(folder / name, pictures, times, sounds=[(tone(9, 300), 0.4, True)], options=OPEN_GOP)
    if name == "frames.avi":
        return write_video(folder / name, pictures, codec="mpeg4", max_b_frames=2, bit_rate=2_000_000)
    if name == "stream.ts":
        path = write_video(folder / "mute.mp4", pictures, options=OPEN_GOP)
        return with_sound(path, folder / name, melody(11), "mono")
    assert name == "fast.mkv", name
    times = [round(i * 1000 / 120) for i in range(600)]
    return write_video(folder / name, [numbered(scene(6, i, 320, 176), i) for i in range(600)], times)


def shown(clip: SegmentedClip) -> dict[str, Any]:
    """All that a clip is, and what its files hold."""
    fields = {name: value for name, value in vars(clip).items() if not name.endswith("_path")}
    luma, _, sound = read_back(clip.media_path)
    return fields | {
        "numbers": [number_of(picture) for picture in luma],
        "sound": None if sound is None else len(sound),
        "strip": clip.strip_path.read_bytes(),
        "samples": clip.samples_path.read_bytes(),
    }


def told(video: SegmentedVideo) -> dict[str, Any]:
    """All of a video but its clips."""
    return {name: value for name, value in vars(video).items() if name != "clips"}


def in_chunks(
    path: Path, out: Path, chunk_s: Fraction, restored: bool, recipe: SegmentRecipe = QUICK
) -> tuple[SegmentedVideo, list[SegmentedClip], list[bytes]]:
    """The video, all its clips, and the checkpoints; `restored`: each chunk by a segmenter that knows nothing else."""
    out.mkdir()
    clips: list[SegmentedClip] = []
    checkpoints: list[bytes] = []
    reading = Segmenter(recipe).load("cpu").open(path, VIDEO_ID)
    try:
        while (video := reading.read(out, chunk_s, clips.append)) is None:
            assert reading.clip_ids == tuple(clip.clip_id for clip in clips)
            checkpoints.append(reading.checkpoint())
            if restored:
                reading.close()
                reading = Segmenter(recipe).load("cpu").resume(path, VIDEO_ID, checkpoints[-1])
    finally:
        reading.close()
    return video, clips, checkpoints


@pytest.mark.parametrize(
    ("name", "chunk_s"),
    [
        ("open_gop.mp4", "1"),
        ("open_gop.mp4", "2.3"),
        ("open_gop.mp4", "5"),
        ("uneven.mkv", "2.3"),
        ("frames.avi", "2.3"),
        ("stream.ts", "2.3"),
        ("fast.mkv", "1.3"),
    ],
)
def test_chunks_give_what_one_pass_gives(name: str, chunk_s: str, tmp_path: Path) -> None:
    path = footage(name, tmp_path)
    (tmp_path / "whole").mkdir()
    whole = Segmenter(QUICK).load("cpu").segment(path, VIDEO_ID, tmp_path / "whole")
    expected = [shown(clip) for clip in whole.clips]
    assert len(expected) >= 2
    live, live_clips, live_checkpoints = in_chunks(path, tmp_path / "live", Fraction(chunk_s), restored=False)
    video, clips, checkpoints = in_chunks(path, tmp_path / "restored", Fraction(chunk_s), restored=True)
    assert len(checkpoints) >= 2
    assert [shown(clip) for clip in live_clips] == expected
    assert [shown(clip) for clip in clips] == expected
    assert told(live) == told(video) == told(whole)
    assert checkpoints == live_checkpoints
