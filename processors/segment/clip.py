"""A clip's files, made from its pictures and sound: media, thumbnail strip, sample pack.

The same input gives the same strip and sample pack, byte for byte. The MP4 holds no time stamps and comes of one x264
thread, and yet one in six was seen to differ between two runs on a busy machine; nothing is named by its bytes alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from scipy.signal import resample_poly

from processors.base import DecodedClip
from processors.color import planes_to_rgb
from processors.decode import (
    CURVE_RATE_HZ,
    SAMPLE_AUDIO_RATE_HZ,
    SAMPLE_LONGEST_PX,
    SAMPLE_RATE_HZ,
    write_samples,
)
from processors.segment.motion import measure_curves
from processors.segment.normalise import planes_of, shrunk_rgb
from processors.segment.recipe import SegmentRecipe

STRIP_PICTURES = 5
STRIP_HEIGHT_PX = 160
STRIP_QUALITY = 85
KEYFRAME_S = 2
"""Chosen: a player seeks within two seconds, at 2% more bytes."""
_BT709, _LIMITED = 1, 1
"""ITU-T H.273 code points."""
_AAC_FRAME = 1024


@dataclass(frozen=True)
class SegmentedClip:
    """A clip and its files: the fields of `store.records.Clip` but source, licence and keys."""

    clip_id: str
    video_id: str
    shot: int
    start_pts: int
    end_pts: int
    time_base: tuple[int, int]
    width: int
    height: int
    fps: tuple[int, int]
    n_frames: int
    has_audio: bool
    recipe: str
    media_path: Path
    strip_path: Path
    samples_path: Path


@dataclass(frozen=True)
class ClipFootage:
    """All that a clip's files are made of.

    pictures: (pts, I420 uint8 [h * 3 / 2, w]), ascending; the first is the one shown at `start_pts`.
    sound: int16 [N, channels] at the recipe's rate, from `start_pts` to `end_pts`; None without sound.
    """

    clip_id: str
    start_pts: int
    end_pts: int
    time_base: Fraction
    pictures: Sequence[tuple[int, np.ndarray]]
    sound: np.ndarray | None

    @property
    def duration_s(self) -> Fraction:
        """Length of the source span."""
        return (self.end_pts - self.start_pts) * self.time_base

    def shown(self, rate_hz: Fraction) -> list[np.ndarray]:
        """The picture shown at every tick k / rate_hz before the clip's end: the latest with a pts not after it."""
        step = 1 / (rate_hz * self.time_base)
        ticks = math.ceil(self.duration_s * rate_hz)
        pictures, at = [], 0
        for tick in range(ticks):
            # A pts is whole, so it is not after the tick if it is not after the tick rounded down.
            now = self.start_pts + tick * step.numerator // step.denominator
            while at + 1 < len(self.pictures) and self.pictures[at + 1][0] <= now:
                at += 1
            pictures.append(self.pictures[at][1])
        return pictures


def write_clip(
    footage: ClipFootage, recipe: SegmentRecipe, recipe_hash: str, video_id: str, shot: int, out_dir: Path
) -> SegmentedClip:
    """Write the clip's files into a folder, named by its id."""
    paths = [out_dir / f"{footage.clip_id}{suffix}" for suffix in (".mp4", ".jpg", ".samples")]
    n_frames = write_media(footage, recipe, paths[0])
    write_strip(footage, paths[1])
    write_pack(footage, recipe.audio_rate_hz, paths[2])
    rows, width = footage.pictures[0][1].shape
    return SegmentedClip(
        clip_id=footage.clip_id,
        video_id=video_id,
        shot=shot,
        start_pts=footage.start_pts,
        end_pts=footage.end_pts,
        time_base=(footage.time_base.numerator, footage.time_base.denominator),
        width=width,
        height=rows * 2 // 3,
        fps=recipe.fps,
        n_frames=n_frames,
        has_audio=footage.sound is not None,
        recipe=recipe_hash,
        media_path=paths[0],
        strip_path=paths[1],
        samples_path=paths[2],
    )


def write_media(footage: ClipFootage, recipe: SegmentRecipe, path: Path) -> int:
    """Write the clip as H.264/AAC in MP4; returns the number of pictures."""
    pictures = footage.shown(recipe.rate)
    height, width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=recipe.rate)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        context = video.codec_context
        context.time_base = 1 / recipe.rate
        context.thread_count = 1
        context.gop_size = round(KEYFRAME_S * recipe.rate)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        context.options = {"preset": "veryfast", "crf": str(recipe.crf)}
        sound = _add_sound(container, footage, recipe)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = index, 1 / recipe.rate
            frame.colorspace, frame.color_range = _BT709, _LIMITED
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return len(pictures)


def _add_sound(
    container: av.container.OutputContainer, footage: ClipFootage, recipe: SegmentRecipe
) -> av.AudioStream | None:
    """Open the AAC stream and encode all of the clip's sound: it is small, and the muxer interleaves."""
    if footage.sound is None:
        return None
    layout = "mono" if footage.sound.shape[1] == 1 else "stereo"
    stream = container.add_stream("aac", rate=recipe.audio_rate_hz, layout=layout)
    assert isinstance(stream, av.AudioStream)
    stream.codec_context.bit_rate = recipe.audio_kbit_s * 1000
    for at in range(0, len(footage.sound), _AAC_FRAME):
        planes = np.ascontiguousarray(footage.sound[at : at + _AAC_FRAME].T.astype(np.float32) / 32768)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = recipe.audio_rate_hz, at, Fraction(1, recipe.audio_rate_hz)
        container.mux(stream.encode(frame))
    return stream


def write_strip(footage: ClipFootage, path: Path) -> None:
    """Write the thumbnail strip: STRIP_PICTURES pictures side by side, evenly spread over the clip, JPEG."""
    shown = footage.shown(2 * STRIP_PICTURES / footage.duration_s)
    middles = shown[1::2][:STRIP_PICTURES]
    height, width = shown[0].shape[0] * 2 // 3, shown[0].shape[1]
    size = (round(width * STRIP_HEIGHT_PX / height), STRIP_HEIGHT_PX)
    strip = np.hstack([shrunk_rgb(picture, *size) for picture in middles])
    done, coded = cv2.imencode(".jpg", strip[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, STRIP_QUALITY])
    assert done
    path.write_bytes(coded.tobytes())


def sampled(footage: ClipFootage, audio_rate_hz: int) -> DecodedClip:
    """What the processors get to see and hear of the clip."""
    pictures = footage.shown(Fraction(SAMPLE_RATE_HZ))
    return DecodedClip(
        clip_id=footage.clip_id,
        duration_s=float(footage.duration_s),
        frames_rgb=np.stack([_sample(picture) for picture in pictures]),
        frame_times_s=np.arange(len(pictures)) / SAMPLE_RATE_HZ,
        audio=_mono(footage, audio_rate_hz),
        audio_rate_hz=SAMPLE_AUDIO_RATE_HZ,
        curves=measure_curves(footage.shown(Fraction(CURVE_RATE_HZ))),
    )


def write_pack(footage: ClipFootage, audio_rate_hz: int, path: Path) -> None:
    """Write the clip's sample pack (`processors.decode.write_samples`)."""
    path.write_bytes(write_samples(sampled(footage, audio_rate_hz)))


def _sample(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    scale = SAMPLE_LONGEST_PX / max(width, height)
    if scale >= 1:
        return planes_to_rgb(planes_of(picture))
    return shrunk_rgb(picture, round(width * scale), round(height * scale))


def _mono(footage: ClipFootage, rate_hz: int) -> np.ndarray | None:
    """float32 [N] in [-1, 1] at SAMPLE_AUDIO_RATE_HZ, exactly as long as the clip."""
    if footage.sound is None:
        return None
    mono = footage.sound.astype(np.float32).mean(axis=1) / 32768
    share = Fraction(SAMPLE_AUDIO_RATE_HZ, rate_hz)
    resampled = resample_poly(mono, share.numerator, share.denominator)
    wanted = round(footage.duration_s * SAMPLE_AUDIO_RATE_HZ)
    fitted = np.zeros(wanted, np.float32)
    fitted[: min(wanted, len(resampled))] = resampled[:wanted]
    return np.clip(fitted, -1, 1)
