"""The segmentation of videos: one decode pass in, clips with their files out.

    segmenter = Segmenter(SegmentRecipe()).load("cpu")      # once per process
    video = segmenter.segment(path, video_id, out_dir, on_clip=publish)

or, of long footage, in pieces that may be processes and days apart:

    reading = segmenter.open(path, video_id)                # or resume(path, video_id, checkpoint)
    video = reading.read(out_dir, chunk_s, on_clip)         # None: there is more
    checkpoint = reading.checkpoint()
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from processors.decode import open_source
from processors.segment.clip import SegmentedClip
from processors.segment.histogram import HistogramDetector
from processors.segment.reading import Reading, SegmentedVideo
from processors.segment.recipe import SegmentRecipe
from processors.segment.shots import BoundaryDetector, FusedStream
from processors.segment.transnet import TransnetDetector

ALONE = {"histogram": 0.5, "transnet": 0.5}
"""Scores that stand without the other detector's consent; also the order in which their spans are taken. Chosen on
compositions (cuts, dissolves, fades, flashes) of one half of the footage tried, then tried on the other half and on
the 34 real transitions; found, false:
    histogram                   195 of 202, 4    203 of 210, 6    31 of 34, 0
    transnet at 0.3             196 of 202, 11   204 of 210, 10   30 of 34, 0
    transnet at 0.5             188 of 202, 2    191 of 210, 2    26 of 34, 0
    fused, 0.5 each             199 of 202, 5    209 of 210, 7    31 of 34, 1
"""

DETECTORS: dict[str, type[BoundaryDetector]] = {"histogram": HistogramDetector, "transnet": TransnetDetector}


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

    def open(self, path: Path, video_id: str) -> Reading:
        """Begin to read a video.

        Args:
            path: the video.
            video_id: SHA-256 of its bytes.

        Raises:
            InputError: the file is no video, or is truncated.
        """
        boundaries = FusedStream(
            [detector.open() for detector in self._detectors],
            {name: ALONE[name] for name in ALONE if name in self.recipe.detectors},
        )
        source = open_source(path, self._decode_threads)
        return Reading(self.recipe, self.recipe_hash, video_id, source, boundaries)

    def resume(self, path: Path, video_id: str, checkpoint: bytes) -> Reading:
        """Go on reading a video where a checkpoint was taken.

        Raises:
            UnfitCheckpoint: it is of another video, recipe or version; the video has to be read from its start.
            InputError: the file is no video, is truncated, or does not hold the pictures that it held.
        """
        reading = self.open(path, video_id)
        try:
            reading.take_up(checkpoint)
        except BaseException:
            reading.close()
            raise
        return reading

    def segment(
        self,
        path: Path,
        video_id: str,
        out_dir: Path,
        on_clip: Callable[[SegmentedClip], None] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> SegmentedVideo:
        """Read a video in one go and write the files of its clips into `out_dir`; see `open` and `Reading.read`."""
        with closing(self.open(path, video_id)) as reading:
            video = reading.read(out_dir, None, on_clip, progress)
        assert video is not None
        if progress is not None:
            progress(1.0)
        return video
