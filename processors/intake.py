"""Opens footage files, refuses what is no video before anything is decoded, and tells what the headers hold."""

import struct
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av

from processors.color import colour_of
from store.errors import InputError
from store.records import Json

VIDEO_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,gif,apng,rm,dv,h264,hevc,m4v"
OTHER_CONTAINERS = "mp3,wav,flac,aac,amr,aiff,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,image2"
"""Opened only so that the refusal can say what was found. Playlists (hls, concat) are never opened: they would
name other files."""
ACCEPTED = (
    "MP4/MOV, MKV/WebM, AVI, MPEG-TS/PS, FLV, WMV, OGG, MXF or GIF with at least two pictures "
    "(H.264, HEVC, VP9, AV1, MPEG-4, ProRes and the like)"
)

MISSING_LEAST_S = 1.0
MISSING_SHARE = 0.05
"""A file that ends this much before its declared end is truncated: chosen, above the differences between the
tracks' ends of the 30 intact files tried (at most 0.4 s)."""

Track = TypeVar("Track", bound=av.stream.Stream)


def open_container(path: Path) -> av.container.InputContainer:
    """Open a file by itself: nothing that it may name is followed.

    Raises:
        InputError: there is no file, it is empty, or no container of ours; the message says what was found.
    """
    name = path.name
    if not path.is_file():
        raise InputError(f"{name}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{name}: the file is empty (0 bytes); expected {ACCEPTED}")
    whitelist = f"{VIDEO_CONTAINERS},{OTHER_CONTAINERS}"
    try:
        return av.open(str(path), options={"format_whitelist": whitelist, "protocol_whitelist": "file"})
    except av.FFmpegError as error:
        if _lacks_index(path):
            raise truncated(path, "an MP4 without its index (moov)") from error
        found = f"{path.stat().st_size} bytes of {_describe(path)}"
        raise InputError(f"{name}: not a video; found {found} ({error.strerror}); expected {ACCEPTED}") from error


def _lacks_index(path: Path) -> bool:
    """Whether the file is an MP4 (ISO 14496-12: boxes of a size and a type) in which no `moov` box follows."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            length, kind = struct.unpack(">I4s", file.read(8))
            if at == 0 and kind != b"ftyp":
                return False
            if kind == b"moov":
                return False
            length = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))[0] if length == 1 else length
            if length < 8:
                return True
            at += length
    return at > 0


def _describe(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    printable = sum(32 <= byte < 127 or byte in (9, 10, 13) for byte in head)
    return "text" if printable >= 0.95 * len(head) else f"data starting {head[:8].hex(' ')}"


def truncated(path: Path, evidence: str) -> InputError:
    """The refusal of a file that was cut off."""
    return InputError(f"{path.name}: the file is truncated: {evidence}; copy it again whole. Expected {ACCEPTED}")


def is_cover(stream: av.VideoStream) -> bool:
    """Whether the track is a picture of an album, not of a video."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def choose_track(tracks: Sequence[Track]) -> Track | None:
    """The first with the default disposition, else the first decodable one; None where there is none."""
    decodable = [track for track in tracks if track.codec_context is not None]
    default = [track for track in decodable if track.disposition & av.stream.Disposition.default]
    return next(iter(default or decodable), None)


def inventory(container: av.container.InputContainer) -> str:
    """What a container holds, for people."""
    kinds = Counter("cover picture" if s.type == "video" else s.type for s in container.streams)
    return f"{container.format.name} with {', '.join(f'{n} {kind}' for kind, n in kinds.items()) or 'no streams'}"


def check_index(path: Path, video: av.VideoStream) -> None:
    """An MP4 index that names bytes beyond the file's end: the copy was cut off."""
    size = path.stat().st_size
    beyond = sum(entry.pos + entry.size > size for entry in video.index_entries)
    if beyond:
        raise truncated(path, f"its index names {beyond} picture(s) beyond its {size} bytes")


def check_tail(path: Path, container: av.container.InputContainer) -> None:
    """Seek to the declared end in a second container (nothing is decoded) and see whether packets lie there."""
    if not container.duration:
        return
    begin_s = (container.start_time or 0) / av.time_base
    declared_s = container.duration / av.time_base
    end_s = begin_s
    with open_container(path) as tail:
        try:
            tail.seek(int((begin_s + max(0.0, declared_s - MISSING_LEAST_S)) * av.time_base))
            for packet in tail.demux():
                if packet.pts is not None and packet.time_base is not None:
                    end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except av.FFmpegError:
            return
    # Matroska declares the end, others the length: a start after zero is given the benefit of the doubt.
    missing_s = declared_s - (end_s - min(begin_s, 0.0))
    if missing_s > max(MISSING_LEAST_S, MISSING_SHARE * declared_s):
        raise truncated(path, f"it declares {declared_s:.1f} s and ends {missing_s:.1f} s earlier")


def nominal_step(video: av.VideoStream) -> int:
    """Ticks of one picture at the stream's nominal rate; at least 1."""
    rate = video.average_rate or video.guessed_rate or Fraction(25)
    assert video.time_base is not None
    return max(1, round(1 / (rate * video.time_base)))


def picture_facts(frame: av.VideoFrame, video: av.VideoStream) -> Json:
    """What the first picture tells of all."""
    aspect = video.sample_aspect_ratio or Fraction(1)
    return {
        "width": frame.width,
        "height": frame.height,
        "pixel_format": frame.format.name,
        "sample_aspect": [aspect.numerator, aspect.denominator],
        "rotation_degrees": frame.rotation,
        "colour": colour_of(frame).describe(),
    }


def sound_facts(audio: av.AudioStream) -> Json:
    """What the sound track's header tells."""
    context = audio.codec_context
    return {
        "track": audio.index,
        "codec": context.name,
        "rate_hz": context.sample_rate,
        "channels": context.layout.nb_channels,
        "language": audio.language,
    }
