"""Footage that tests write for themselves: every picture carries its number as a barcode that survives x264."""

import itertools
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

BITS = 10
TICK = Fraction(1, 1000)


def scene(seed: int, number: int, width: int = 640, height: int = 352) -> np.ndarray:
    """Picture `number` of a scene: coloured blobs, large and small, that drift slowly. uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    large, small = (random.integers(20, 236, (rows, round(rows * 1.8), 3)).astype(np.uint8) for rows in (5, 30))
    spread = width // 10
    size = (width + 2 * spread, height)
    parts = [cv2.resize(blobs, size, interpolation=cv2.INTER_CUBIC) for blobs in (large, small)]
    shift = round(spread * (1 + np.sin(number / 40)))
    return np.ascontiguousarray(cv2.addWeighted(parts[0], 0.6, parts[1], 0.4, 0)[:, shift : shift + width])


def numbered(picture_rgb: np.ndarray, number: int) -> np.ndarray:
    """The picture with its number written across the middle, most significant bit first."""
    marked = picture_rgb.copy()
    height, width = marked.shape[:2]
    for bit, (left, right) in enumerate(_blocks(width)):
        level = 215 if number >> (BITS - 1 - bit) & 1 else 35
        marked[round(height * 0.45) : round(height * 0.55), left:right] = level
    return marked


def number_of(luma: np.ndarray) -> int:
    """The number that a picture's luma (uint8 [h, w]) carries."""
    height, width = luma.shape
    band = luma[round(height * 0.48) : round(height * 0.52)]
    bits = [band[:, left + 4 : right - 4].mean() > 125 for left, right in _blocks(width)]
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _blocks(width: int) -> list[tuple[int, int]]:
    edges = [round(width * (0.2 + 0.6 * i / BITS)) for i in range(BITS + 1)]
    return list(itertools.pairwise(edges))


def footage(*lengths: int, width: int = 640, height: int = 352) -> list[np.ndarray]:
    """Numbered pictures of one scene after another, hard cuts between them."""
    seeds = [seed for seed, length in enumerate(lengths) for _ in range(length)]
    return [numbered(scene(seed, i, width, height), i) for i, seed in enumerate(seeds)]


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    pts_ms: Sequence[int] | None = None,
    codec: str = "libx264",
    sounds: Sequence[tuple[np.ndarray, float, bool]] = (),
    **video_fields: object,
) -> Path:
    """Write a video of 25 pictures per second, or with the given times.

    Args:
        path: its ending names the container.
        pictures: uint8 [h, w, 3] each.
        pts_ms: time of each picture.
        codec: of the pictures.
        sounds: for each track, float [N] at 48 kHz, its start in seconds, and whether it is the default track.
        video_fields: attributes of the encoder, such as pix_fmt or sample_aspect_ratio; `rotation` in degrees.
    """
    times = pts_ms if pts_ms is not None else [40 * i for i in range(len(pictures))]
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.height, video.width = pictures[0].shape[:2]
        rotation = video_fields.pop("rotation", None)
        if rotation is not None:
            video.set_display_rotation(rotation)
        video.pix_fmt = str(video_fields.pop("pix_fmt", "yuv420p"))
        video.codec_context.time_base = Fraction(1, 25) if path.suffix == ".avi" else TICK
        if codec == "libx264":
            video.codec_context.options = {"preset": "ultrafast", "crf": "12"}
        for name, value in video_fields.items():
            setattr(video.codec_context, name, value)
        tracks = [_add_track(container, default) for _, _, default in sounds]
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=video.pix_fmt)
            frame.time_base = video.codec_context.time_base
            frame.pts = round(Fraction(time, 1000) / frame.time_base)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for track, (samples, start_s, _) in zip(tracks, sounds, strict=True):
            _encode_sound(container, track, samples, round(start_s * 48_000))
    return path


def with_sound(path: Path, to: Path, samples: np.ndarray, layout: str = "stereo") -> Path:
    """A copy of a video with AAC at 44.1 kHz: `samples` (float [N] at that rate) in every channel."""
    with av.open(str(path)) as source, av.open(str(to), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0])
        audio = target.add_stream("aac", rate=44_100, layout=layout)
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = video
                target.mux(packet)
        channels = np.tile(samples.astype(np.float32), (audio.codec_context.layout.nb_channels, 1))
        for at in range(0, channels.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels[:, at : at + 1024]), "fltp", layout)
            frame.sample_rate, frame.pts = 44_100, at
            target.mux(audio.encode(frame))
        target.mux(audio.encode(None))
    return to


def _add_track(container: av.container.OutputContainer, default: bool) -> av.AudioStream:
    name = "pcm_s16le" if container.format.name in ("matroska", "avi") else "aac"
    track = container.add_stream(name, rate=48_000, layout="mono")
    track.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
    return track


def _encode_sound(container: av.container.OutputContainer, track: av.AudioStream, samples: np.ndarray, at: int) -> None:
    for begin in range(0, len(samples), 1024):
        part = (np.clip(samples[begin : begin + 1024], -1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, at + begin, Fraction(1, 48_000)
        container.mux(track.encode(frame))
    container.mux(track.encode(None))


def tone(seconds: float, hz: float) -> np.ndarray:
    """A sine at half scale, float64 [N] at 48 kHz."""
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(48_000 * seconds)) / 48_000)


def click(seconds: float, at_s: float) -> np.ndarray:
    """Silence with 2 ms of full scale at `at_s`, float64 [N] at 48 kHz."""
    samples = np.zeros(round(48_000 * seconds))
    samples[round(48_000 * at_s) : round(48_000 * (at_s + 0.002))] = 0.9
    return samples


def write_wav(path: Path, samples: np.ndarray) -> Path:
    """Mono 48 kHz WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def read_back(path: Path) -> tuple[list[np.ndarray], list[Fraction], np.ndarray | None]:
    """Luma of every picture, their times in seconds, and the first sound track (float32 [N]) of a written clip."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        luma = [_luma(frame) for frame in frames]
        times = [frame.pts * frame.time_base for frame in frames]
        if not container.streams.audio:
            return luma, times, None
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return luma, times, sound


def _luma(frame: av.VideoFrame) -> np.ndarray:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()
