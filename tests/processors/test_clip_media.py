"""A clip's own media, read whole."""

from fractions import Fraction

import av
import numpy as np
import pytest

from processors.clip_media import read_sound, read_video
from store.errors import InputError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Half a second at 24 frames a second, each brighter than the last, with a tone of 440 Hz in stereo."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=24, options={"crf": "10"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="stereo")
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(video.encode(frame))
        tone = (0.5 * np.sin(np.arange(24000) * 2 * np.pi * 440 / 48000)).astype(np.float32)
        for start in range(0, 24000, 960):
            part = np.stack([tone[start : start + 960]] * 2)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            frame.rate, frame.pts = 48000, start
            container.mux(sound.encode(frame))
        for stream in (video, sound):
            container.mux(stream.encode())
    return path


def test_all_frames_come_and_at_another_rate_those_that_are_shown_then(clip):
    frames = read_video(clip)
    assert (frames.shape, frames.dtype) == ((12, 48, 64, 3), np.uint8)
    half = read_video(clip, 12)
    assert np.array_equal(half, frames[::2])
    double = read_video(clip, 48)
    assert len(double) == 24
    assert np.array_equal(double[::2], frames)
    assert frames[:, 24, 32, 0].tolist() == pytest.approx([20 * number for number in range(12)], abs=4)


def test_sound_comes_at_the_wanted_rate_and_channels(clip):
    for rate, channels in ((16000, 1), (44100, 2)):
        sound = read_sound(clip, rate, channels)
        assert (sound.shape[0], sound.dtype) == (channels, np.float32)
        assert sound.shape[1] == pytest.approx(rate / 2, rel=0.1)
        spectrum = np.abs(np.fft.rfft(sound[0]))
        assert spectrum.argmax() * rate / sound.shape[1] == pytest.approx(440, abs=4)
    with pytest.raises(InputError, match="sound of 6 channels is asked for"):
        read_sound(clip, 16000, 6)
