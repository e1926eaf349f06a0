"""The segmentation of one video: one decode pass in, clips with their files out.

    segmenter = Segmenter(SegmentRecipe()).load("cpu")      # once per process
    video = segmenter.segment(path, video_id, out_dir, on_clip=publish)

The calling thread reads, normalises and finds shots; one background thread makes the clips' files. Pictures are
kept, normalised, for as long as a clip that is not yet certain may need them: `max_clip_s` and the detectors'
lag, about 14 s (a third of a megabyte each), and 10 s more for the clip in the making: 250 MB at 30 Hz.
"""

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from processors.color import Planes
from processors.decode import Picture, Source, open_source
from processors.segment.clip import ClipFootage, write_media, write_pack, write_strip
from processors.segment.cut import CutClip, Cutter
from processors.segment.histogram import HistogramDetector
from processors.segment.normalise import Normaliser, display_size, orientation_of, planes_of
from processors.segment.recipe import SegmentRecipe
from processors.segment.shots import BoundaryDetector, FusedStream
from processors.segment.sound import SoundTrack
from processors.segment.transnet import TransnetDetector
from store.records import DroppedSpan, Json, clip_id

SMALL_LEAST_PX = 120
"""The longest side of the pictures that the detectors see is at least this, and less than twice it."""
LEAST_GAP_S = Fraction(1, 66)
"""Pictures that follow the last one sooner are passed over, so that 120 Hz footage is read as 60 Hz: half the
memory and time, and no clip is written at such a rate. A 66th leaves room for the jitter of 60 Hz."""
ALONE = {"histogram": 0.5, "transnet": 0.5}
"""Scores that stand without the other detector's consent; also the order in which their spans are taken. Chosen on
compositions (cuts, dissolves, fades, flashes) of one half of the footage tried, then tried on the other half and on
the 34 real transitions; found, false:
    histogram                   195 of 202, 4    203 of 210, 6    31 of 34, 0
    transnet at 0.3             196 of 202, 11   204 of 210, 10   30 of 34, 0
    transnet at 0.5             188 of 202, 2    191 of 210, 2    26 of 34, 0
    fused, 0.5 each             199 of 202, 5    209 of 210, 7    31 of 34, 1
"""
PROGRESS_EVERY = 50

DETECTORS: dict[str, type[BoundaryDetector]] = {"histogram": HistogramDetector, "transnet": TransnetDetector}


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
class SegmentedVideo:
    """All that a video gave; the parts of `store.records.FootageSegmented`."""

    video_id: str
    recipe: str
    clips: tuple[SegmentedClip, ...]
    shots: tuple[tuple[int, int], ...]
    dropped: tuple[DroppedSpan, ...]
    facts: Json


class Segmenter:
    """Cuts videos into clips by one recipe; its models are loaded once and reused from video to video."""

    def __init__(self, recipe: SegmentRecipe, decode_threads: int = 0) -> None:
        """decode_threads: 0 for one file at a time, 1 for one process per core (no effect on the clips)."""
        self.recipe = recipe
        self._decode_threads = decode_threads
        self._detectors = [DETECTORS[name]() for name in recipe.detectors]

    def load(self, device: str) -> "Segmenter":
        """Load the detectors' models.

        Raises:
            ModelUnavailable: weights are missing; the message says how to get them.
        """
        for detector in self._detectors:
            detector.load(device)
        return self

    @property
    def recipe_hash(self) -> str:
        """Hash of all that determines the clips; known after `load`."""
        weights: dict[str, str] = {}
        for detector in self._detectors:
            weights |= detector.weights()
        return self.recipe.digest(weights)

    def segment(
        self,
        path: Path,
        video_id: str,
        out_dir: Path,
        on_clip: Callable[[SegmentedClip], None] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> SegmentedVideo:
        """Read a video once and write the files of its clips into `out_dir`.

        Args:
            path: the video.
            video_id: SHA-256 of its bytes.
            out_dir: an existing folder; files are named by clip id.
            on_clip: called on the calling thread with every clip, in order, once its files are complete.
            progress: called with the share of the video that has been read, 0 to 1.

        Raises:
            InputError: the file is no video, or is truncated. Clips given before that was seen are to be discarded.
        """
        with open_source(path, self._decode_threads) as source, ThreadPoolExecutor(1, "clips") as maker:
            streams = [detector.open() for detector in self._detectors]
            fused = FusedStream(streams, {name: ALONE[name] for name in ALONE if name in self.recipe.detectors})
            reading = _Pass(self.recipe, self.recipe_hash, video_id, source, fused, out_dir, maker, on_clip)
            for picture in source.pictures():
                reading.picture(picture)
                if progress is not None and source.n_pictures % PROGRESS_EVERY == 0:
                    progress(source.share_read())
            video = reading.finish()
        if progress is not None:
            progress(1.0)
        return video


@dataclass
class _Pass:
    """The state of one video's pass."""

    recipe: SegmentRecipe
    recipe_hash: str
    video_id: str
    source: Source
    boundaries: FusedStream
    out_dir: Path
    maker: ThreadPoolExecutor
    on_clip: Callable[[SegmentedClip], None] | None
    clips: list[SegmentedClip] = field(default_factory=list)

    def __post_init__(self) -> None:
        audio = self.source.audio
        self._sound = None
        if audio is not None:
            channels = audio.codec_context.layout.nb_channels
            self._sound = SoundTrack(self.source.sounds(), self.recipe.audio_rate_hz, channels)
        self._cutter = Cutter(self.recipe, self.source.time_base)
        self._normaliser: Normaliser | None = None
        self._pictures: deque[tuple[int, np.ndarray]] = deque()
        self._cut: deque[CutClip] = deque()
        self._making: Future[SegmentedClip] | None = None
        self._least_gap = math.ceil(LEAST_GAP_S / self.source.time_base)
        self._forgotten_before = 0

    def picture(self, picture: Picture) -> None:
        """Take the next decoded picture."""
        if self._pictures and picture.pts - self._pictures[-1][0] < self._least_gap:
            return
        if self._normaliser is None:
            self._normaliser = self._new_normaliser(picture)
        normal = self._normaliser.picture(picture.frame)
        self._pictures.append((picture.pts, normal))
        small = _shrink(normal)
        self._cutter.push(picture.pts, small)
        transitions = self.boundaries.push(small)
        self._cut += self._cutter.advance(transitions, self.boundaries.settled)
        self._make()
        if self._making is not None and self._making.done():
            self._collect(self._making)
            self._making = None
        self._forget()

    def finish(self) -> SegmentedVideo:
        """The video has ended."""
        assert self.source.end_pts is not None
        self._cut += self._cutter.advance(self.boundaries.finish(), 0)
        self._cut += self._cutter.finish(self.source.end_pts)
        self._make()
        if self._making is not None:
            self._collect(self._making)
        return SegmentedVideo(
            video_id=self.video_id,
            recipe=self.recipe_hash,
            clips=tuple(self.clips),
            shots=tuple(self._cutter.shots),
            dropped=tuple(self._cutter.dropped),
            facts=self._facts(),
        )

    def _new_normaliser(self, picture: Picture) -> Normaliser:
        aspect = self.source.video.sample_aspect_ratio or Fraction(1)
        shown = display_size(picture.frame, aspect, orientation_of(picture.frame))
        return Normaliser(*self.recipe.bucket(*shown), aspect)

    def _make(self) -> None:
        """Hand the cut clips over to be written."""
        while self._cut:
            footage = self._footage(self._cut.popleft())
            if self._making is not None:
                self._collect(self._making)
            self._making = self.maker.submit(self._write, *footage)

    def _footage(self, clip: CutClip) -> tuple[CutClip, ClipFootage]:
        inside = [entry for entry in self._pictures if entry[0] < clip.end_pts]
        first = max((i for i, entry in enumerate(inside) if entry[0] <= clip.start_pts), default=0)
        time_base = self.source.time_base
        sound = None if self._sound is None else self._sound.read(clip.start_pts * time_base, clip.end_pts * time_base)
        name = clip_id(self.video_id, clip.start_pts, clip.end_pts, self.recipe_hash)
        return clip, ClipFootage(name, clip.start_pts, clip.end_pts, time_base, inside[first:], sound)

    def _write(self, clip: CutClip, footage: ClipFootage) -> SegmentedClip:
        """On the background thread."""
        assert self._normaliser is not None
        paths = [self.out_dir / f"{footage.clip_id}{suffix}" for suffix in (".mp4", ".jpg", ".samples")]
        n_frames = write_media(footage, self.recipe, paths[0])
        write_strip(footage, paths[1])
        write_pack(footage, self.recipe.audio_rate_hz, paths[2])
        return SegmentedClip(
            clip_id=footage.clip_id,
            video_id=self.video_id,
            shot=clip.shot,
            start_pts=clip.start_pts,
            end_pts=clip.end_pts,
            time_base=(footage.time_base.numerator, footage.time_base.denominator),
            width=self._normaliser.width,
            height=self._normaliser.height,
            fps=self.recipe.fps,
            n_frames=n_frames,
            has_audio=footage.sound is not None,
            recipe=self.recipe_hash,
            media_path=paths[0],
            strip_path=paths[1],
            samples_path=paths[2],
        )

    def _collect(self, making: "Future[SegmentedClip]") -> None:
        """Wait for the clip in the making, and announce it."""
        clip = making.result()
        self.clips.append(clip)
        if self.on_clip is not None:
            self.on_clip(clip)

    def _forget(self) -> None:
        """Let go of pictures and sound that no clip to come can need."""
        needed = self._cutter.needed_from
        if needed == self._forgotten_before:
            return
        self._forgotten_before = needed
        while len(self._pictures) > 1 and self._pictures[1][0] <= needed:
            self._pictures.popleft()
        if self._sound is not None:
            self._sound.discard_before(needed * self.source.time_base)

    def _facts(self) -> Json:
        facts = self.source.facts()
        if self._sound is not None and self._sound.gaps:
            facts["warnings"].append(f"{self._sound.gaps} gap(s) in the sound, filled with silence")
        if self._sound is not None and self._sound.broken:
            facts["warnings"].append(f"{self._sound.broken} stretch(es) of sound could not be resampled")
        if self.source.audio is not None and not any(clip.has_audio for clip in self.clips):
            facts["warnings"].append("the sound track holds no sound that could be decoded")
        return facts


def _shrink(picture: np.ndarray) -> Planes:
    """The planes that the detectors see: halved until they are small, since OpenCV halves at memory's speed."""
    small = planes_of(picture)
    while max(small[0].shape) >= 2 * SMALL_LEAST_PX:
        y, cb, cr = (cv2.resize(p, (p.shape[1] // 2, p.shape[0] // 2), interpolation=cv2.INTER_AREA) for p in small)
        small = y, cb, cr
    return small
