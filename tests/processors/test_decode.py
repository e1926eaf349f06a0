"""Opening, refusing and reading footage; sample packs."""

import itertools
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from processors.base import Curve, DecodedClip
from processors.decode import open_source, probe, read_samples, write_samples
from store.errors import InputError
from tests.processors.made_footage import click, footage, number_of, tone, write_video, write_wav


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("decode") / "two_shots.mp4"
    return write_video(path, footage(30, 30), sounds=[(tone(2.4, 440), 0.0, True)])


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        probe(path)
    return str(caught.value)


def test_probe_tells_what_a_video_holds(video):
    facts = probe(video)
    assert (facts["width"], facts["height"], facts["codec"]) == (640, 352, "h264")
    assert facts["declared_s"] == 2.4
    assert facts["sound"]["codec"] == "aac"
    assert facts["warnings"] == []


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "nothing.mp4"
    path.touch()
    assert "nothing.mp4: the file is empty" in refusal(path)


def test_text_is_refused_with_what_was_found_and_what_is_accepted(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("not a video at all\n" * 40)
    message = refusal(path)
    assert "notes.mp4: not a video; found 760 bytes of text" in message
    assert "expected MP4/MOV" in message


def test_a_playlist_that_names_other_files_is_not_followed(tmp_path, video):
    path = tmp_path / "list.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n{video}\n#EXT-X-ENDLIST\n")
    assert "not a video" in refusal(path)


def test_a_missing_file_is_refused(tmp_path):
    assert "gone.mp4: no such file" in refusal(tmp_path / "gone.mp4")


def test_sound_alone_is_refused(tmp_path):
    message = refusal(write_wav(tmp_path / "talk.wav", tone(1, 440)))
    assert "talk.wav: no video stream; found wav with 1 audio" in message


def test_a_still_picture_is_refused(tmp_path):
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), footage(1)[0])
    assert "still.png: 1 picture(s) could be decoded, a video has at least two" in refusal(path)


def test_an_mp4_without_its_index_is_truncated(tmp_path, video):
    path = tmp_path / "cut.mp4"
    path.write_bytes(video.read_bytes()[:-4000])
    assert "cut.mp4: the file is truncated: an MP4 without its index (moov)" in refusal(path)


def test_an_mp4_whose_index_points_beyond_its_end_is_truncated(tmp_path):
    whole = tmp_path / "whole.mp4"
    with av.open(str(whole), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 352, "yuv420p"
        for picture in footage(50):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert "cut.mp4: the file is truncated: its index names" in refusal(path)


def test_an_mkv_that_ends_long_before_its_declared_end_is_truncated(tmp_path):
    whole = write_video(tmp_path / "whole.mkv", footage(100))
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert "cut.mkv: the file is truncated: it declares 4.0 s and ends" in refusal(path)


def test_a_gif_is_a_video(tmp_path):
    path = tmp_path / "two.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 176, "rgb8"
        for picture in footage(6, width=320, height=176):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="rgb8")))
        container.mux(stream.encode(None))
    assert probe(path)["codec"] == "gif"


def test_pictures_come_in_order_with_their_own_times(tmp_path):
    times = [0, 40, 150, 160, 400, 1000, 1001]
    path = write_video(tmp_path / "uneven.mkv", footage(7), pts_ms=times)
    with open_source(path) as source:
        pictures = list(source.pictures())
        assert [picture.pts * source.time_base for picture in pictures] == [Fraction(t, 1000) for t in times]
        assert [number_of(_luma(picture.frame)) for picture in pictures] == list(range(7))


def test_avi_without_pts_keeps_order_and_pace(tmp_path):
    path = write_video(tmp_path / "old.avi", footage(40), codec="mpeg4", max_b_frames=2, bit_rate=4_000_000)
    with open_source(path) as source:
        pictures = list(source.pictures())
        assert [number_of(_luma(picture.frame)) for picture in pictures] == list(range(40))
        steps = {(b.pts - a.pts) * source.time_base for a, b in itertools.pairwise(pictures)}
        assert steps == {Fraction(1, 25)}


def test_the_default_sound_track_is_chosen(tmp_path):
    path = write_video(
        tmp_path / "dub.mkv", footage(30), sounds=[(tone(1, 300), 0.0, False), (tone(1, 900), 0.0, True)]
    )
    facts = probe(path)
    assert (facts["sound_tracks"], facts["sound"]["track"]) == (2, 2)


def test_the_first_sound_track_is_chosen_where_none_is_the_default(tmp_path):
    path = write_video(
        tmp_path / "dub.mkv", footage(30), sounds=[(tone(1, 300), 0.0, False), (tone(1, 900), 0.0, False)]
    )
    assert probe(path)["sound"]["track"] == 1


def test_broken_sound_packets_are_a_warning(tmp_path):
    path = write_video(tmp_path / "noisy.mp4", footage(60), sounds=[(click(2.4, 1.0), 0.0, True)])
    with av.open(str(path)) as container:
        places = [(entry.pos, entry.size) for entry in container.streams.audio[0].index_entries][20:40]
    data = bytearray(path.read_bytes())
    for pos, size in places:
        data[pos : pos + size] = b"\xff" * size
    path.write_bytes(bytes(data))
    with open_source(path) as source:
        assert len(list(source.pictures())) == 60
        assert list(source.sounds())
        assert any("broken sound packet" in warning for warning in source.warnings())


def test_a_sample_pack_gives_back_what_was_packed():
    clip = made_clip(np.sin(np.arange(16_000) / 20).astype(np.float32))
    again = read_samples(write_samples(clip), "c1")
    assert again.clip_id == "c1"
    assert again.duration_s == clip.duration_s
    assert np.array_equal(again.frame_times_s, clip.frame_times_s)
    assert np.abs(again.frames_rgb.astype(int) - clip.frames_rgb).mean() < 4
    assert again.audio is not None
    assert np.abs(again.audio - clip.audio).max() < 1e-4
    assert np.array_equal(again.curves["luma"].values, clip.curves["luma"].values)
    assert again.curves["luma"].rate_hz == 10


def test_a_pack_without_sound_has_none():
    assert read_samples(write_samples(made_clip(None)), "c1").audio is None


def test_a_cut_off_pack_is_refused():
    with pytest.raises(InputError, match="clip c1: sample pack of"):
        read_samples(write_samples(made_clip(None))[:-10], "c1")


def test_other_bytes_are_no_pack():
    with pytest.raises(InputError, match="clip c1: 5 bytes are no sample pack"):
        read_samples(b"hello", "c1")


def made_clip(audio: np.ndarray | None) -> DecodedClip:
    frames = np.stack([cv2.resize(picture, (384, 211)) for picture in footage(4)])
    curves = {"luma": Curve(10, np.linspace(0, 1, 10, dtype=np.float32))}
    return DecodedClip("c1", 1.0, frames, np.arange(4) / 4, audio, 16_000, curves)


def _luma(frame: av.VideoFrame) -> np.ndarray:
    return frame.to_ndarray(format="gray")
