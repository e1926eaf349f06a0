"""Memory and time of the segment worker on a film, and what a kill in the middle of it costs.

    python -m tests.bench.long_footage [--hours 2] [--fps 5] [--chunk 120] [--dark]

The film is made here: 1920x1080 in H.264, shots of drifting texture between hard cuts, a minute of it encoded and
repeated. Its chunks are read by the worker of the steps `segment` and `resume` in a process of its own, as the service
does, which is killed halfway through a chunk and started again. It prints one JSON line: peak memory is the most that
either process held, and `lost_s` the work that had to be done again.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from datetime import UTC, datetime
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from store.media import file_sha256
from store.records import ClipSegmented, FootageContinued, FootageSegmented, FootageSubmitted
from store.store import open_media
from streams.workers.segment import make_worker

WIDTH, HEIGHT = 1920, 1080
SHOTS_PER_MINUTE = 12


def write_film(path: Path, seconds: float, fps: Fraction, dark: bool = False) -> Path:
    """A film of `seconds`: a minute of moving shots, encoded once and repeated.

    Args:
        dark: nine of ten minutes are black.
    """
    minute = _minute(path.with_suffix(".minute.mp4"), fps, lit=True)
    black = _minute(path.with_suffix(".black.mp4"), fps, lit=False) if dark else minute
    with av.open(str(path), "w") as film:
        with av.open(str(minute)) as first:
            video = film.add_stream_from_template(first.streams.video[0])
        for number in range(round(seconds / 60)):
            with av.open(str(minute if number % 10 == 0 else black)) as part:
                stream = part.streams.video[0]
                assert stream.time_base is not None
                shift = round(number * 60 / stream.time_base)
                for packet in part.demux(stream):
                    if packet.pts is None or packet.dts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, video
                    film.mux(packet)
    minute.unlink()
    black.unlink(missing_ok=True)
    return path


def _minute(path: Path, fps: Fraction, lit: bool) -> Path:
    n_pictures = round(60 * fps)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.options = {"preset": "ultrafast", "crf": "28", "x264-params": "bframes=0"}
        for number in range(n_pictures):
            picture = _picture(number * SHOTS_PER_MINUTE // n_pictures, number / float(fps), lit)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
    return path


def _picture(shot: int, time_s: float, lit: bool) -> np.ndarray:
    if not lit:
        return np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    blocks = np.random.default_rng(shot).integers(30, 226, (20, 40, 3)).astype(np.uint8)
    shift = round(40 * (1 + np.sin(time_s)))
    scene = np.asarray(cv2.resize(blocks, (WIDTH + 80, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)
    return np.ascontiguousarray(scene[:, shift : shift + WIDTH])


def _read(connection: Connection, data: str, unfinished: Path, chunk_s: float) -> None:
    """Body of the worker's process: answers each record with what its chunk ended with, and the memory it took."""
    work = make_worker(data, unfinished, chunk_s)
    while (request := connection.recv()) is not None:
        clips: list[ClipSegmented] = []
        ended = work(request, clips.append)
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connection.send((ended, [clip.clip.clip_id for clip in clips], peak_kib * 1024))


class Reader:
    """A process that reads chunks, as the steps' children do."""

    def __init__(self, data: Path, chunk_s: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        unfinished = data / "unfinished"
        unfinished.mkdir(parents=True, exist_ok=True)
        self.process = context.Process(target=_read, args=(theirs, str(data), unfinished, chunk_s), daemon=True)
        self.process.start()

    def ask(self, request: Any) -> None:
        """Begin the request's chunk."""
        self._ours.send(request)

    def answer(self) -> tuple[FootageSegmented | FootageContinued, list[str], int]:
        """What the chunk ended with, its clips, and the most bytes of memory that the process ever took."""
        answered: tuple[FootageSegmented | FootageContinued, list[str], int] = self._ours.recv()
        return answered


def measure(folder: Path, film: Path, chunk_s: float) -> dict[str, float]:
    """Read the film chunk by chunk, kill the worker in the middle of the middle chunk, and go on."""
    media = open_media(folder)
    request: Any = FootageSubmitted(
        video_id=file_sha256(film),
        name=film.name,
        media_key=media.put_file(film, "mp4"),
        size_bytes=film.stat().st_size,
        source="made",
        licence="CC0-1.0",
        submitted_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    seconds: list[float] = []
    clip_ids: set[str] = set()
    peak_bytes = 0
    lost_s = 0.0
    first, going_on = Reader(folder, chunk_s), Reader(folder, chunk_s)
    reader = first  # the step `segment` reads the first chunk, the step `resume` all others
    while True:
        started_s = time.perf_counter()
        reader.ask(request)
        if lost_s == 0.0 and isinstance(request, FootageContinued) and request.share >= 0.5:
            time.sleep(seconds[-1] / 2)
            going_on.process.kill()
            lost_s = time.perf_counter() - started_s
            reader = going_on = Reader(folder, chunk_s)
            continue
        ended, new, peak = reader.answer()
        seconds.append(time.perf_counter() - started_s)
        clip_ids.update(new)
        peak_bytes = max(peak_bytes, peak)
        if isinstance(ended, FootageSegmented):
            assert set(ended.clip_ids) == clip_ids
            break
        request, reader = ended, going_on
    return {
        "chunks": len(seconds),
        "clips": len(clip_ids),
        "read_s": sum(seconds),
        "longest_chunk_s": max(seconds),
        "lost_s": lost_s,
        "peak_gib": peak_bytes / 2**30,
    }


def main() -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.long_footage", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--fps", type=Fraction, default=Fraction(5))
    parser.add_argument("--chunk", type=float, default=120.0, help="s of footage")
    parser.add_argument("--dark", action="store_true", help="nine of ten minutes are black: quicker, as long")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        film = write_film(Path(folder, "film.mp4"), parsed.hours * 3600, parsed.fps, parsed.dark)
        found = measure(Path(folder), film, parsed.chunk)
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
