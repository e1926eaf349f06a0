"""The only media input: opens footage, refuses what is none, and reads it once.

    source = open_source(path)          # container checks, tracks chosen, nothing decoded
    for picture in source.pictures():   # ONE pass over the pictures
        ...
    for sound in source.sounds():       # and one over the sound, taken as far as the pictures have come
        ...
    source.facts()                      # what was found, with warnings, for `footage.segmented`

Media time is the integer `pts` of the video stream's own `time_base`; sound is placed on it by its own pts. Sound
has a container handle of its own: files are met whose tracks lie 20 s and more apart, and waiting for the sound
would mean to hold the pictures of all that time.
`probe` looks at a file without reading it through. Sample packs, the form in which a clip's frames, sound and
curves reach the processors, are written and read here too (`write_samples`, `read_samples`).
"""

import json
import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np

from processors.base import Curve, DecodedClip
from processors.clock import PictureClock
from processors.intake import (
    ACCEPTED,
    MISSING_LEAST_S,
    MISSING_SHARE,
    check_index,
    check_tail,
    choose_track,
    inventory,
    is_cover,
    nominal_step,
    open_container,
    picture_facts,
    sound_facts,
    truncated,
)
from store.errors import InputError
from store.records import Json

CURVE_RATE_HZ = 10
"""Rate of the curves measured while decoding."""
SAMPLE_RATE_HZ = 4
"""Rate of a sample pack's frames: chosen, twice the rate at which the slowest processor looks."""
SAMPLE_LONGEST_PX = 384
"""Longest side of a sample pack's frames: chosen, faces of a tenth of the height stay above 20 px for MTCNN."""
SAMPLE_AUDIO_RATE_HZ = 16_000
SAMPLE_JPEG_QUALITY = 92
JUMP_MARGIN_S = 2
"""Chosen: containers that find their place by dts, and pictures that lean on the group before theirs, stay within."""


@dataclass(frozen=True)
class Picture:
    """One decoded picture with its time, `pts` in ticks of the video's time base, strictly ascending."""

    frame: av.VideoFrame
    pts: int


@dataclass(frozen=True)
class Sound:
    """One decoded stretch of sound; `start_s` is its time, None where the container gives none."""

    frame: av.AudioFrame
    start_s: Fraction | None


@dataclass
class Source:
    """An opened video; a context manager that closes its container."""

    path: Path
    container: av.container.InputContainer
    video: av.VideoStream
    audio: av.AudioStream | None
    clock: PictureClock
    threads: int = 0
    """Of the video decoder."""
    n_pictures: int = 0
    end_pts: int | None = None
    """End of the last picture read."""
    unlike: int = 0
    """Pictures that came out otherwise when they were read again."""
    _broken: Counter[str] = field(default_factory=Counter)
    _found: Json = field(default_factory=dict)
    _interlaced: bool = False
    _beside: av.container.InputContainer | None = None
    """The sound's own handle, once `sounds` runs."""

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.container.close()
        if self._beside is not None:
            self._beside.close()

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the video stream."""
        assert self.video.time_base is not None
        return self.video.time_base

    @property
    def step(self) -> int:
        """Ticks of one picture at the stream's nominal rate; at least 1."""
        return nominal_step(self.video)

    def pictures(self) -> Iterator[Picture]:
        """Every picture, in order of presentation. Broken packets are counted and passed over (see `facts`).

        Raises:
            InputError: fewer than two pictures could be decoded, or the file ends long before its declared end.
        """
        for frame in self._frames(self.container, self.video, "video"):
            yield self._picture(frame)
        self._check_end()

    def sounds(self) -> Iterator[Sound]:
        """Every stretch of the chosen sound track, in order; nothing where there is none."""
        if self.audio is None:
            return
        self._beside = open_container(self.path)
        stream = self._beside.streams[self.audio.index]
        for frame in self._frames(self._beside, stream, "sound"):
            known = frame.pts is not None and frame.time_base is not None
            yield Sound(frame, frame.pts * frame.time_base if known else None)

    def jump_before(self, pts: int) -> bool:
        """Have `pictures` begin at a key picture well before `pts`; False where the file cannot do that."""
        target = pts - math.ceil(JUMP_MARGIN_S / self.time_base)
        if target <= (self.video.start_time or 0):
            return False
        try:
            self.container.seek(target, stream=self.video)
        except av.FFmpegError:
            return False
        return True

    def state(self) -> Json:
        """What was counted and found up to the last picture and sound read, for `take_up`."""
        return {
            "clock": self.clock.state(),
            "n_pictures": self.n_pictures,
            "end_pts": self.end_pts,
            "unlike": self.unlike,
            "broken": dict(sorted(self._broken.items())),
            "found": self._found,
            "interlaced": self._interlaced,
        }

    def take_up(self, state: Json) -> None:
        """Go on as the source of this state, with `pictures` and `sounds` at the places where it was taken."""
        self.clock.take_up(state["clock"])
        self.n_pictures, self.end_pts, self.unlike = state["n_pictures"], state["end_pts"], state["unlike"]
        self._broken = Counter(state["broken"])
        self._found, self._interlaced = state["found"], state["interlaced"]

    def _frames(self, container: av.container.InputContainer, stream: av.stream.Stream, what: str) -> Iterator[Any]:
        for packet in self._packets(container, stream, what):
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self._broken[what] += 1

    def _packets(
        self, container: av.container.InputContainer, stream: av.stream.Stream, what: str
    ) -> Iterator[av.Packet]:
        try:
            yield from container.demux(stream)
        except av.FFmpegError as error:
            self._broken[f"{what} ({error.strerror}, the rest of the track)"] += 1
            flush = av.Packet()
            flush.stream = stream
            yield flush

    def _picture(self, frame: av.VideoFrame) -> Picture:
        pts = self.clock.stamp(frame)
        self.end_pts = pts + (frame.duration or self.step)
        self.n_pictures += 1
        self._interlaced = self._interlaced or frame.interlaced_frame
        if not self._found:
            self._found = picture_facts(frame, self.video)
        return Picture(frame, pts)

    def _check_end(self) -> None:
        if self.n_pictures < 2:
            raise InputError(
                f"{self.path.name}: {self.n_pictures} picture(s) could be decoded, a video has at least two"
                f"{' (' + '; '.join(self.warnings()) + ')' if self.warnings() else ''}; expected {ACCEPTED}"
            )
        declared = self.video.duration
        if declared is None or self.end_pts is None or not self._broken:
            return
        missing_s = float((declared - (self.end_pts - min(self.video.start_time or 0, 0))) * self.time_base)
        if missing_s > max(MISSING_LEAST_S, MISSING_SHARE * float(declared * self.time_base)):
            found = "; ".join(self.warnings())
            raise truncated(self.path, f"decoding stops {missing_s:.1f} s before the declared end ({found})")

    def share_read(self) -> float:
        """How much of the declared length has been read, 0 to 1; 0 where no length is declared."""
        declared = self.video.duration or (self.container.duration or 0) / av.time_base / self.time_base
        done = (self.end_pts or 0) - (self.video.start_time or 0)
        return min(1.0, max(0.0, float(done / declared))) if declared else 0.0

    def warnings(self) -> list[str]:
        """What was odd but not fatal, for people."""
        lines = [f"{count} broken {what} packet(s) passed over" for what, count in sorted(self._broken.items())]
        if self.clock.repaired:
            lines.append(f"{self.clock.repaired} picture time(s) missing or going back, repaired")
        if self._interlaced:
            lines.append("interlaced pictures are used as they are")
        if self.unlike:
            lines.append(f"{self.unlike} picture(s) came out otherwise when they were read again, as of a damaged file")
        return lines

    def facts(self) -> Json:
        """What the file was found to hold; complete once `pictures` and `sounds` have ended."""
        declared = self.video.duration
        return {
            "container": self.container.format.name,
            "video_track": self.video.index,
            "video_tracks": len(self.container.streams.video),
            "codec": self.video.codec_context.name,
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            "rate_hz": float(self.video.average_rate) if self.video.average_rate else None,
            "declared_s": None if declared is None else round(float(declared * self.time_base), 3),
            **self._found,
            "sound_tracks": len(self.container.streams.audio),
            "sound": None if self.audio is None else sound_facts(self.audio),
            "warnings": self.warnings(),
        }


def open_source(path: Path, threads: int = 0) -> Source:
    """Open a video and choose its tracks: the first with the default disposition, else the first decodable.

    Args:
        path: the file.
        threads: of the video decoder; 0 lets FFmpeg choose (one file alone), 1 suits many files side by side.

    Raises:
        InputError: the file is empty, is no video, holds no picture track, or is truncated.
    """
    container = open_container(path)
    try:
        video = choose_track([track for track in container.streams.video if not is_cover(track)])
        if video is None:
            raise InputError(f"{path.name}: no video stream; found {inventory(container)}; expected {ACCEPTED}")
        check_index(path, video)
        check_tail(path, container)
        video.thread_type = "AUTO"
        video.codec_context.thread_count = threads
        audio = choose_track(container.streams.audio)
        clock = PictureClock("avi" in container.format.name, nominal_step(video))
    except InputError:
        container.close()
        raise
    return Source(path, container, video, audio, clock, threads)


def probe(path: Path) -> Json:
    """What a file holds, from its headers, its end and its first two pictures.

    Raises:
        InputError: the file is empty, no video, a still picture, without a picture track, or truncated.
    """
    with open_source(path, threads=1) as source:
        for _ in source.pictures():
            if source.n_pictures == 2:
                break
        return source.facts()


# --- sample packs ----------------------------------------------------------------------------------------

_PACK_MAGIC = b"CLIPSMP1"


def write_samples(clip: DecodedClip) -> bytes:
    """The clip's sample pack: the same clip gives the same bytes.

    Layout: 8 bytes of magic, length of the header (uint32, little endian), JSON header, then the JPEG frames
    (quality 92), the sound (int16, little endian) and the curves (float32, little endian), end to end.
    """
    frames = [_jpeg(frame) for frame in clip.frames_rgb]
    sound = b"" if clip.audio is None else np.round(np.clip(clip.audio, -1, 1) * 32767).astype("<i2").tobytes()
    header = {
        "duration_s": clip.duration_s,
        "frame_times_s": [float(time) for time in clip.frame_times_s],
        "frame_bytes": [len(frame) for frame in frames],
        "audio_rate_hz": clip.audio_rate_hz,
        "audio_bytes": None if clip.audio is None else len(sound),
        "curves": [[name, curve.rate_hz, len(curve.values)] for name, curve in sorted(clip.curves.items())],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    curves = [curve.values.astype("<f4").tobytes() for _, curve in sorted(clip.curves.items())]
    return b"".join([_PACK_MAGIC, struct.pack("<I", len(text)), text, *frames, sound, *curves])


def read_samples(data: bytes, clip_id: str) -> DecodedClip:
    """The clip that a sample pack holds.

    Raises:
        InputError: the bytes are no sample pack, or are cut off.
    """
    start = len(_PACK_MAGIC) + 4
    if data[: len(_PACK_MAGIC)] != _PACK_MAGIC or len(data) < start:
        raise InputError(f"clip {clip_id}: {len(data)} bytes are no sample pack; segment its video again")
    end = start + struct.unpack("<I", data[start - 4 : start])[0]
    header = json.loads(data[start:end])
    sizes = [*header["frame_bytes"], header["audio_bytes"] or 0, *(4 * n for _, _, n in header["curves"])]
    if len(data) != end + sum(sizes):
        wanted = end + sum(sizes)
        raise InputError(
            f"clip {clip_id}: sample pack of {len(data)} bytes, expected {wanted}; segment its video again"
        )
    blobs = []
    for size in sizes:
        blobs.append(data[end : end + size])
        end += size
    n_frames = len(header["frame_bytes"])
    sound = None if header["audio_bytes"] is None else np.frombuffer(blobs[n_frames], "<i2").astype(np.float32) / 32767
    return DecodedClip(
        clip_id=clip_id,
        duration_s=header["duration_s"],
        frames_rgb=np.stack([_rgb(blob) for blob in blobs[:n_frames]]),
        frame_times_s=np.array(header["frame_times_s"]),
        audio=sound,
        audio_rate_hz=header["audio_rate_hz"],
        curves=_read_curves(header["curves"], blobs[n_frames + 1 :]),
    )


def _read_curves(names: list[tuple[str, float, int]], blobs: list[bytes]) -> Mapping[str, Curve]:
    return {
        name: Curve(rate_hz, np.frombuffer(blob, "<f4").astype(np.float32))
        for (name, rate_hz, _), blob in zip(names, blobs, strict=True)
    }


def _jpeg(frame_rgb: np.ndarray) -> bytes:
    done, coded = cv2.imencode(".jpg", frame_rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, SAMPLE_JPEG_QUALITY])
    assert done
    return coded.tobytes()


def _rgb(jpeg: bytes) -> np.ndarray:
    frame_bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert frame_bgr is not None
    return cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)
