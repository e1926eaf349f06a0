"""A clip's own media read anew, from another moment on: what a processor would have seen with other sampling times."""

from fractions import Fraction
from pathlib import Path

from processors.base import DecodedClip
from processors.decode import open_source
from processors.segment.clip import ClipFootage, sampled
from processors.segment.normalise import Normaliser
from processors.segment.recipe import SegmentRecipe
from processors.segment.sound import SoundTrack


def reread(path: Path, clip_id: str, offset_s: Fraction = Fraction(0)) -> DecodedClip:
    """The clip in a media file of ours, without its first `offset_s` seconds.

    Raises:
        InputError: it is no video.
    """
    recipe = SegmentRecipe()
    with open_source(path) as source:
        entries = []
        normaliser = Normaliser(source.video.width, source.video.height, Fraction(1))
        for picture in source.pictures():
            entries.append((picture.pts, normaliser.picture(picture.frame)))
        time_base, end_pts = source.time_base, source.end_pts
        assert end_pts is not None
        start_pts = entries[0][0] + round(offset_s / time_base)
        first = max(i for i, (pts, _) in enumerate(entries) if pts <= start_pts)
        sound = None
        if source.audio is not None:
            channels = source.audio.codec_context.layout.nb_channels
            track = SoundTrack(source.sounds(), recipe.audio_rate_hz, channels)
            sound = track.read(start_pts * time_base, end_pts * time_base)
        footage = ClipFootage(clip_id, start_pts, end_pts, time_base, entries[first:], sound)
        return sampled(footage, recipe.audio_rate_hz)
