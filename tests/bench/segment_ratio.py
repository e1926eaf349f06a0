"""Time of the segment step against a bare decode of the same file, in the same run.

    python -m tests.bench.segment_ratio [FILE]

Without a file, 60 s of 1280x720 are rendered: 18 shots of drifting texture with a tone. Rounds are interleaved
and the best of each kind counts, since other work on the machine only ever makes a run slower. Time on the clock
and processor time of all threads are both told: only the second means much on a busy machine.

Seen on two busy cores, processor time as a ratio to the bare decode (0.5 to 5 ms a picture): shots, curves and
samples 1.5 at 1080p, 1.7 to 2.2 at 720p, 2.6 at 512x512; with clips written 2.3 to 4.7; TransNetV2 adds 0.8 s to
each 50 pictures that are not still, which is more than all else together.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import av
import cv2
import numpy as np

from processors.decode import open_source
from processors.segment.recipe import Detector, SegmentRecipe
from processors.segment.run import Segmenter

ROUNDS = 3


def render(path: Path, seconds: int = 60) -> None:
    """H.264, 1280x720, 30 pictures per second, a cut every 3.3 s, with sound."""
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (60, 120, 3)).astype(np.uint8) for _ in range(18)]
    scenes = [np.asarray(cv2.resize(blocks, (1480, 820)), np.uint8) for blocks in noise]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
        video.codec_context.options = {"preset": "veryfast", "crf": "23"}
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        for i in range(seconds * 30):
            scene, shift = scenes[i * len(scenes) // (seconds * 30)], i % 100
            picture = np.ascontiguousarray(scene[shift // 2 : shift // 2 + 720, 2 * shift : 2 * shift + 1280])
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        tone = np.sin(np.arange(seconds * 48_000) / 40).astype(np.float32)[None]
        for at in range(0, tone.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone[:, at : at + 1024]), "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


def bare_decode(path: Path) -> None:
    """PyAV, pictures only, FFmpeg's own choice of threads."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for _ in container.decode(stream):
            pass


def bare_decode_with_sound(path: Path) -> None:
    """Every picture and sound as `Source` gives them."""
    with open_source(path) as source:
        for _ in source.pictures():
            pass
        for _ in source.sounds():
            pass


def segmentation(detectors: tuple[Detector, ...], media: bool) -> Callable[[Path], None]:
    """The whole step, or (not `media`) all of it but the MP4 and the strip."""
    segmenter = Segmenter(SegmentRecipe(detectors=detectors)).load("cpu")

    def run(path: Path) -> None:
        with tempfile.TemporaryDirectory() as out, ExitStack() as patches:
            if not media:
                patches.enter_context(patch("processors.segment.clip.write_media", lambda footage, recipe, path: 0))
                patches.enter_context(patch("processors.segment.clip.write_strip", lambda footage, path: None))
            segmenter.segment(path, "bench", Path(out))

    return run


def measure(path: Path) -> dict[str, tuple[float, float]]:
    """Seconds on the clock and of the processors for each kind, best of ROUNDS."""
    kinds: dict[str, Callable[[Path], None]] = {
        "bare PyAV decode, AUTO threads": bare_decode,
        "  and the sound": bare_decode_with_sound,
        "shots, curves, samples (histogram)": segmentation(("histogram",), media=False),
        "  and clips written": segmentation(("histogram",), media=True),
        "shots, curves, samples (histogram, transnet)": segmentation(("histogram", "transnet"), media=False),
        "  and clips written: the whole step": segmentation(("histogram", "transnet"), media=True),
    }
    best = dict.fromkeys(kinds, (float("inf"), float("inf")))
    for _ in range(ROUNDS):
        for name, run in kinds.items():
            clock, processors = time.perf_counter(), time.process_time()
            run(path)
            taken = time.perf_counter() - clock, time.process_time() - processors
            best[name] = min(best[name][0], taken[0]), min(best[name][1], taken[1])
    return best


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "made.mp4"
        if len(sys.argv) == 1:
            render(path)
        best = measure(path)
    bare = next(iter(best.values()))
    print(f"{'':46} {'clock':>10} {'ratio':>6} {'processors':>11} {'ratio':>6}")
    for name, (clock, processors) in best.items():
        print(f"{name:46} {clock:8.2f} s {clock / bare[0]:6.2f} {processors:9.2f} s {processors / bare[1]:6.2f}")


if __name__ == "__main__":
    main()
