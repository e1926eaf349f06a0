"""One video on its way through: read chunk by chunk, from its start or on from a checkpoint.

Where chunks end changes nothing in what comes out. Pictures are no part of a checkpoint: those that clips to come
may need are read again from the file, and compared with what they were. Pictures are kept, normalised, for as long
as a clip that is not yet certain may need them: `max_clip_s` and the detectors' lag, about 14 s (a third of a
megabyte each), and 10 s more for the clip in the making: 250 MB at 30 Hz.
"""

import math
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from processors.color import Planes
from processors.decode import Picture, Source, open_source
from processors.segment.checkpoint import pack, unpack
from processors.segment.clip import ClipFootage, SegmentedClip, write_clip
from processors.segment.cut import CutClip, Cutter
from processors.segment.normalise import Normaliser, display_size, orientation_of, planes_of
from processors.segment.recipe import SegmentRecipe
from processors.segment.shots import FusedStream
from processors.segment.sound import SoundTrack
from store.errors import InputError
from store.records import DroppedSpan, Json, clip_id

SMALL_LEAST_PX = 120
"""The longest side of the pictures that the detectors see is at least this, and less than twice it."""
LEAST_GAP_S = Fraction(1, 66)
"""Pictures that follow the last one sooner are passed over, so that 120 Hz footage is read as 60 Hz: half the
memory and time, and no clip is written at such a rate. A 66th leaves room for the jitter of 60 Hz."""
PROGRESS_EVERY = 50

Kept = deque[tuple[int, np.ndarray]]
"""pts and picture (I420, uint8 [h * 3 / 2, w]) of the pictures that clips to come may need."""


@dataclass(frozen=True)
class SegmentedVideo:
    """All that a video gave; the parts of `store.records.FootageSegmented`.

    clips: those given since its reading was begun or taken up; `clip_ids` names all.
    """

    video_id: str
    recipe: str
    clips: tuple[SegmentedClip, ...]
    clip_ids: tuple[str, ...]
    shots: tuple[tuple[int, int], ...]
    dropped: tuple[DroppedSpan, ...]
    facts: Json


class Reading:
    """The state of one video's one pass; `close` it when done.

    The calling thread reads, normalises and finds shots; one background thread makes the clips' files.
    """

    def __init__(
        self, recipe: SegmentRecipe, recipe_hash: str, video_id: str, source: Source, boundaries: FusedStream
    ) -> None:
        """source, boundaries: both as opened, nothing read."""
        self.video_id = video_id
        self._recipe = recipe
        self._recipe_hash = recipe_hash
        self._boundaries = boundaries
        self._cutter = Cutter(recipe, source.time_base)
        self._least_gap = math.ceil(LEAST_GAP_S / source.time_base)
        self._normaliser: Normaliser | None = None
        self._kept: Kept = deque()
        self._forgotten_before = 0
        self._cut: deque[CutClip] = deque()
        self._maker = ThreadPoolExecutor(1, "clips")
        self._making: Future[SegmentedClip] | None = None
        self._clips: list[SegmentedClip] = []
        self._clip_ids: list[str] = []
        self._heard = False
        """Whether any clip has sound."""
        self._use(source, source.pictures())

    def _use(self, source: Source, incoming: Iterator[Picture]) -> None:
        self._source = source
        self._incoming = incoming
        self._sound = None
        if source.audio is not None:
            channels = source.audio.codec_context.layout.nb_channels
            self._sound = SoundTrack(source.sounds(), self._recipe.audio_rate_hz, channels)

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """Of the clips given so far, in order."""
        return tuple(self._clip_ids)

    @property
    def share(self) -> float:
        """How much of the video has been read, 0 to 1; 0 where it declares no length."""
        return self._source.share_read()

    def close(self) -> None:
        """Let go of the file, the pictures and the thread; nothing can be read afterwards."""
        self._maker.shutdown()
        self._source.close()
        self._kept.clear()

    def read(
        self,
        out_dir: Path,
        chunk_s: Fraction | None = None,
        on_clip: Callable[[SegmentedClip], None] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> SegmentedVideo | None:
        """Read on, and write the files of the clips that are certain by then.

        Args:
            out_dir: an existing folder; files are named by clip id.
            chunk_s: stop at the first picture that begins this much after the last one read; None: at the end.
            on_clip: called on the calling thread with every clip, in order, once its files are complete.
            progress: called with `share` now and then.

        Returns:
            What the whole video gave, or None where there is more to read.

        Raises:
            InputError: the file is no video, or is truncated. Clips given before that was seen are to be discarded.
        """
        self._out_dir, self._on_clip = out_dir, on_clip
        chunk = None if chunk_s is None else math.ceil(chunk_s / self._source.time_base)
        begin = self._kept[-1][0] if self._kept else None
        for picture in self._incoming:
            begin = picture.pts if begin is None else begin
            taken = self._take(picture)
            if progress is not None and self._source.n_pictures % PROGRESS_EVERY == 0:
                progress(self.share)
            if taken and chunk is not None and picture.pts - begin >= chunk:
                self._collect()
                return None
        return self._finish()

    # --- pictures in, clips out

    def _take(self, picture: Picture) -> bool:
        """Take the next decoded picture; whether it is one that is used."""
        if self._kept and picture.pts - self._kept[-1][0] < self._least_gap:
            return False
        if self._normaliser is None:
            self._normaliser = self._new_normaliser(picture)
        normal = self._normaliser.picture(picture.frame)
        self._kept.append((picture.pts, normal))
        small = _shrink(normal)
        self._cutter.push(picture.pts, small)
        transitions = self._boundaries.push(small)
        self._cut += self._cutter.advance(transitions, self._boundaries.settled)
        self._make()
        if self._making is not None and self._making.done():
            self._collect()
        self._forget()
        return True

    def _finish(self) -> SegmentedVideo:
        """The video has ended."""
        assert self._source.end_pts is not None
        self._cut += self._cutter.advance(self._boundaries.finish(), 0)
        self._cut += self._cutter.finish(self._source.end_pts)
        self._make()
        self._collect()
        return SegmentedVideo(
            video_id=self.video_id,
            recipe=self._recipe_hash,
            clips=tuple(self._clips),
            clip_ids=self.clip_ids,
            shots=tuple(self._cutter.shots),
            dropped=tuple(self._cutter.dropped),
            facts=self._facts(),
        )

    def _new_normaliser(self, picture: Picture) -> Normaliser:
        aspect = self._source.video.sample_aspect_ratio or Fraction(1)
        shown = display_size(picture.frame, aspect, orientation_of(picture.frame))
        return Normaliser(*self._recipe.bucket(*shown), aspect)

    def _make(self) -> None:
        """Hand the cut clips over to be written."""
        while self._cut:
            clip = self._cut.popleft()
            footage = self._footage(clip)
            self._collect()
            self._making = self._maker.submit(
                write_clip, footage, self._recipe, self._recipe_hash, self.video_id, clip.shot, self._out_dir
            )

    def _footage(self, clip: CutClip) -> ClipFootage:
        inside = [entry for entry in self._kept if entry[0] < clip.end_pts]
        first = max((i for i, entry in enumerate(inside) if entry[0] <= clip.start_pts), default=0)
        time_base = self._source.time_base
        sound = None if self._sound is None else self._sound.read(clip.start_pts * time_base, clip.end_pts * time_base)
        name = clip_id(self.video_id, clip.start_pts, clip.end_pts, self._recipe_hash)
        return ClipFootage(name, clip.start_pts, clip.end_pts, time_base, inside[first:], sound)

    def _collect(self) -> None:
        """Wait for the clip in the making, if any, and announce it."""
        if self._making is None:
            return
        clip = self._making.result()
        self._making = None
        self._clips.append(clip)
        self._clip_ids.append(clip.clip_id)
        self._heard = self._heard or clip.has_audio
        if self._on_clip is not None:
            self._on_clip(clip)

    def _forget(self) -> None:
        """Let go of pictures and sound that no clip to come can need."""
        needed = self._cutter.needed_from
        if needed == self._forgotten_before:
            return
        self._forgotten_before = needed
        while len(self._kept) > 1 and self._kept[1][0] <= needed:
            self._kept.popleft()
        if self._sound is not None:
            self._sound.discard_before(needed * self._source.time_base)

    def _facts(self) -> Json:
        facts = self._source.facts()
        if self._sound is not None and self._sound.gaps:
            facts["warnings"].append(f"{self._sound.gaps} gap(s) in the sound, filled with silence")
        if self._sound is not None and self._sound.broken:
            facts["warnings"].append(f"{self._sound.broken} stretch(es) of sound could not be resampled")
        if self._source.audio is not None and not self._heard:
            facts["warnings"].append("the sound track holds no sound that could be decoded")
        return facts

    # --- checkpoints

    def checkpoint(self) -> bytes:
        """All that `take_up` needs to read on from here; after `read` gave None. The same place, the same bytes."""
        assert self._making is None, "a checkpoint is taken where a chunk has ended"
        assert self._normaliser is not None
        state = {
            "normaliser": self._normaliser.state(),
            "kept_pts": np.array([pts for pts, _ in self._kept], np.int64),
            "kept_crc32": np.array([zlib.crc32(picture.data) for _, picture in self._kept], np.uint32),
            "forgotten_before": self._forgotten_before,
            "clip_ids": self._clip_ids,
            "heard": self._heard,
            "cutter": self._cutter.state(),
            "boundaries": self._boundaries.state(),
            "sound": None if self._sound is None else self._sound.state(),
            "source": self._source.state(),
        }
        return pack(self.video_id, self._recipe_hash, state)

    def take_up(self, checkpoint: bytes) -> None:
        """Go on from a checkpoint, on a reading that has read nothing yet.

        Raises:
            UnfitCheckpoint: it is of another video, recipe or version.
            InputError: the file does not hold the pictures that it held.
        """
        state = unpack(checkpoint, self.video_id, self._recipe_hash)
        self._normaliser = Normaliser.of(state["normaliser"])
        self._boundaries.take_up(state["boundaries"])
        self._cutter.take_up(state["cutter"])
        self._clip_ids, self._heard = state["clip_ids"], state["heard"]
        self._forgotten_before = state["forgotten_before"]
        known = list(zip(state["kept_pts"].tolist(), state["kept_crc32"].tolist(), strict=True))
        unlike = self._find_again(known)
        if self._sound is not None:
            self._sound.take_up(state["sound"], self._cutter.needed_from * self._source.time_base)
        self._source.take_up(state["source"])
        self._source.unlike += unlike

    def _find_again(self, known: Sequence[tuple[int, int]]) -> int:
        """Read the kept pictures again and stop where the checkpoint was taken; how many of them came out otherwise.

        Decoding from a key picture shortly before is enough for sound files. Where it gives anything else than what
        is known, the file is decoded from its start, as it was the first time.
        """
        if self._source.jump_before(known[0][0]):
            try:
                if self._reread(known) == 0:
                    return 0
            except InputError:
                pass  # what a jump finds says nothing of the file
        path, threads = self._source.path, self._source.threads
        self._source.close()
        source = open_source(path, threads)
        self._use(source, source.pictures())
        unlike = self._reread(known)
        if unlike is None:
            raise InputError(
                f"{path.name}: read again, its picture times are not those of the first reading; is the storage sound?"
                " Submit the file again"
            )
        return unlike

    def _reread(self, known: Sequence[tuple[int, int]]) -> int | None:
        """Keep the pictures of these pts; how many do not have these checksums, None where the times differ."""
        assert self._normaliser is not None
        self._kept.clear()
        unlike = 0
        for picture in self._incoming:
            passed_over = self._kept and picture.pts - self._kept[-1][0] < self._least_gap
            if picture.pts < known[0][0] or passed_over:
                continue
            pts, crc32 = known[len(self._kept)]
            if picture.pts != pts:
                return None
            normal = self._normaliser.picture(picture.frame)
            unlike += zlib.crc32(normal.data) != crc32
            self._kept.append((pts, normal))
            if len(self._kept) == len(known):
                return unlike
        return None


def _shrink(picture: np.ndarray) -> Planes:
    """The planes that the detectors see: halved until they are small, since OpenCV halves at memory's speed."""
    small = planes_of(picture)
    while max(small[0].shape) >= 2 * SMALL_LEAST_PX:
        y, cb, cr = (cv2.resize(p, (p.shape[1] // 2, p.shape[0] // 2), interpolation=cv2.INTER_AREA) for p in small)
        small = y, cb, cr
    return small
