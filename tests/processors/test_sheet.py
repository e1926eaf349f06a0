"""What an engine is shown: frames where things change, and a sheet of what was measured."""

import cv2
import numpy as np
import pytest

from processors.profile import load_profile
from processors.reason.sheet import FACTS, LONGEST_PX, choose_frames, facts_of, show_frames, write_sheet
from tests.processors.made_clips import RATE_HZ, make_clip, noise

RANDOM = np.random.default_rng(5)
STILL = np.full((40, 48, 64, 3), 90, np.uint8)
"""Ten seconds in which nothing changes."""
SILENCE = np.zeros(10 * RATE_HZ, np.float32)


def changing(first, last):
    """Frames of which those in `first:last` are each another picture."""
    frames = STILL.copy()
    frames[first:last] = RANDOM.integers(0, 255, (last - first, 48, 64, 3), dtype=np.uint8)
    return frames


# --- frames --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [2, 3, 8, 16])
@pytest.mark.parametrize("frames", [STILL, changing(0, 40), changing(17, 19)], ids=["still", "all", "some"])
def test_the_first_and_the_last_frame_are_shown_and_no_more_than_asked_for(frames, most):
    chosen = choose_frames(make_clip("c", frames, duration_s=10.0), most)
    assert (chosen[0], chosen[-1]) == (0, 39)
    assert 2 <= len(chosen) <= most
    assert np.all(np.diff(chosen) > 0)
    assert chosen.dtype == np.int64


def test_more_frames_are_shown_where_the_picture_changes():
    chosen = choose_frames(make_clip("c", changing(28, 36), duration_s=10.0), 8)
    assert sum(27 <= index <= 36 for index in chosen) >= 4, "a fifth of the clip has half of the frames"
    assert any(4 <= index <= 24 for index in chosen), "the even share leaves no long stretch unseen"


def test_more_frames_are_shown_where_the_sound_changes():
    sound = SILENCE.copy()
    for at in range(1, 9, 2):  # noise in every other quarter of a second between 1 s and 3 s
        sound[RATE_HZ + at * RATE_HZ // 4 :][: RATE_HZ // 4] = noise(0.25, 0.3)
    chosen = choose_frames(make_clip("c", STILL, sound, 10.0), 8)
    assert sum(4 <= index <= 13 for index in chosen) >= 4
    assert sum(4 <= index <= 13 for index in choose_frames(make_clip("c", STILL, SILENCE, 10.0), 8)) <= 2


def test_where_nothing_changes_frames_are_spread_evenly():
    steps = np.diff(choose_frames(make_clip("c", STILL, duration_s=10.0), 8))
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize("n_frames", [1, 3, 8])
def test_a_short_clip_is_shown_whole(n_frames):
    clip = make_clip("c", changing(0, 40)[:n_frames], duration_s=n_frames / 4)
    assert choose_frames(clip, 8).tolist() == list(range(n_frames))


def test_the_same_clip_is_shown_by_the_same_frames_and_not_changed():
    clip = make_clip("c", changing(5, 30), noise(10.0), 10.0)
    before = clip.frames_rgb.copy()
    assert choose_frames(clip, 8).tolist() == choose_frames(clip, 8).tolist()
    assert show_frames(clip, 8) == show_frames(clip, 8)
    assert np.array_equal(clip.frames_rgb, before)


def test_frames_are_numbered_from_one_with_their_times():
    clip = make_clip("c", changing(10, 20), duration_s=10.0)
    shown = show_frames(clip, 5)
    chosen = choose_frames(clip, 5)
    assert [picture.number for picture in shown] == list(range(1, len(chosen) + 1))
    assert [picture.time_s for picture in shown] == [index / 4 for index in chosen]


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(48, 64, (48, 64)), (500, 1000, (384, LONGEST_PX)), (1536, 100, (LONGEST_PX, 50)), (768, 768, (768, 768))],
)
def test_a_frame_that_is_too_large_is_shrunk_in_proportion(height, width, expected):
    frames = np.zeros((1, height, width, 3), np.uint8)
    frames[..., 0] = 200
    (picture,) = show_frames(make_clip("c", frames, duration_s=0.25), 8)
    seen = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert seen.shape == (*expected, 3)
    assert seen[..., 2].mean() > 190, "red stays red"
    assert seen[..., 0].mean() < 10


# --- the sheet -----------------------------------------------------------------------------------------------------

BOX = [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]
ONE_OF_EACH = {
    "people": {"person_count": 2},
    "faces": {"face_area": 0.12345},
    "objects": {"text_share": 0.0},
    "pose": {"posture": "sitting", "pose_class": {"sitting": 0.75, "standing": 0.25}},
    "interaction": {"people_distance": 0.5},
    "motion": {"motion_mean": 0.07},
    "camera": {"camera_motion": {"pan": 0.9, "shake": 0.1}},
    "sound": {"loudness_db": -20.0, "spectral_centroid_hz": 1234.5},
    "voice": {"speech_spans": [[0.25, 1.5], [2, 3.96]]},
    "affect": {"arousal": {"low": 0.1, "mid": 0.3, "high": 0.6}},
    "look": {"brightness": 0.5},
}
SHEET = """\
length: 4.00 s
people: person count 2
faces: face area 0.123
objects: text share 0
pose: posture sitting; pose class sitting 0.75, standing 0.25
interaction: people distance 0.5
motion: motion mean 0.07
camera: camera motion pan 0.9, shake 0.1
sound: loudness db -20; spectral centroid hz 1230
voice: speech spans 0.2-1.5 s, 2.0-4.0 s
affect: arousal low 0.1, mid 0.3, high 0.6
look: brightness 0.5"""


def test_every_line_tells_what_was_measured():
    values = {column: value for told in ONE_OF_EACH.values() for column, value in told.items()}
    assert write_sheet(values, 4.0) == SHEET


@pytest.mark.parametrize("name", FACTS)
def test_a_line_of_which_nothing_was_measured_is_left_out(name):
    values = {column: value for told in ONE_OF_EACH.values() for column, value in told.items()}
    without = values | dict.fromkeys(FACTS[name])
    expected = [line for line in SHEET.splitlines() if not line.startswith(f"{name}:")]
    assert write_sheet(without, 4.0).splitlines() == expected


def test_of_a_clip_without_measurements_only_the_length_is_told():
    assert write_sheet({}, 3.14159) == "length: 3.14 s"
    assert write_sheet({"onset_times_s": [], "speech_spans": [], "motion_curve": [], "sound_tags": {}}, 1.0) == (
        "length: 1.00 s"
    )


def test_what_is_no_measurement_is_not_told():
    assert write_sheet({"visual": [0.1] * 4, "face_embedding": [0.2] * 4, "source": "park"}, 1.0) == "length: 1.00 s"


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ([i // 2 for i in range(24)], "0 1 2 3 4 5 6 7 8 9 10 11"),
        ([0, 2] * 12, "1 1 1 1 1 1 1 1 1 1 1 1"),
        ([None, None, None, 4, *[5] * 20], "- 4 5 5 5 5 5 5 5 5 5 5"),
        ([0.5, None, 0.25], "0.5 - 0.25"),
    ],
    ids=["twelfths", "means", "gaps", "few points"],
)
def test_a_curve_is_told_as_means_over_twelfths_with_dashes_where_it_has_no_value(points, told):
    assert write_sheet({"motion_curve": points}, 4.0).splitlines()[1] == f"motion: motion curve {told}"


def test_tracks_are_told_with_their_times_and_ways():
    values = {
        "people_tracks": [{"track": 3, "times_s": [0.5, 2.0], "boxes_xyxy": BOX, "scores": [1, 1]}],
        "identities": [{"track": 0, "identity": "p7"}, {"track": 1, "identity": None}],
        "object_tracks": [{"track": 0, "label": "dog", "times_s": [1.0], "boxes_xyxy": BOX[:1], "scores": [1]}],
        "onset_times_s": [0.1, 2.25],
        "sounding_tracks": [{"track": 0, "probability": 0.875}],
    }
    assert write_sheet(values, 4.0).splitlines()[1:] == [
        "people: people tracks #3 0.5-2.0 s from (0.25 0.50) to (0.75 0.50); identities face #0 is p7",
        "objects: object tracks dog #0 1.0-1.0 s from (0.25 0.50) to (0.25 0.50)",
        "sound: onset times s 0.1 s, 2.2 s",
        "voice: sounding tracks face #0 0.88",
    ]


def test_a_crowd_does_not_fill_the_sheet():
    tracks = [{"track": i, "times_s": [0.0], "boxes_xyxy": BOX[:1], "scores": [1]} for i in range(200)]
    assert write_sheet({"people_tracks": tracks}, 4.0).count("#") == 8


def test_the_lines_that_tell_columns_come_in_the_sheets_order():
    assert facts_of(["brightness", "loudness_db", "pitch_hz", "pitch_curve"]) == ("sound", "voice", "look")
    assert facts_of(["visual"]) == ()


def test_every_column_that_the_sheet_tells_is_one_that_a_profile_measures():
    given = {column.name for name in ("measured", "pretrained") for column in load_profile(name).columns}
    told = {column for columns in FACTS.values() for column in columns}
    assert told - given == {"identities"}, "who a track is comes of the store"
