"""One picture with several sounds: what is seen is described alike, what is felt and heard is not."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from demo.sounds import BUNDLE, Heard, apart, describe, recorded, synthesised
from store.errors import InputError

RECORDINGS = Path(__file__).parents[2] / "shared" / "media" / "audio" / "emogator"
BURSTS = ("000016-02-1", "000016-03-1", "000016-24-1")


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[Heard]:
    return describe(synthesised(), tmp_path_factory.mktemp("sounds"))


def test_the_attribute_bundles_are_nearly_equal(heard: list[Heard]) -> None:
    for name in set(BUNDLE) - {"tension"}:
        assert len({one.bundle[name] for one in heard}) == 1, name
    assert apart(heard)["bundle"][0] <= 1 / len(BUNDLE), "of five attributes one, tension, may differ"


def test_the_control_vectors_and_the_affect_are_clearly_different(heard: list[Heard]) -> None:
    found = apart(heard)
    assert found["control"][0] > 1.0
    assert found["control"][1] > 0.5
    assert found["arousal"][0] > 0.3


def test_what_is_told_apart_is_what_is_heard(heard: list[Heard]) -> None:
    names = heard[0].annotation.control.names
    moved = np.ptp([one.control for one in heard], axis=0)
    spread = dict(zip(names, moved, strict=True))
    assert max(spread[name] for name in ("motion", "closeness", "brightness")) < 0.1
    assert min(spread[name] for name in ("loudness", "arousal", "tension")) > 0.5


def test_a_laugh_arouses_more_than_a_moan_and_a_moan_is_no_noise(heard: list[Heard]) -> None:
    by_name = {one.sound: one for one in heard}
    assert by_name["laugh"].arousal[2] > by_name["sob"].arousal[2] > by_name["moan"].arousal[2]
    assert by_name["moan"].annotation.attributes["sound_kind"] == "voice"
    assert by_name["noise"].annotation.attributes["sound_kind"] == "other"


def test_no_text_says_so(heard: list[Heard]) -> None:
    for one, other in pairwise(sorted(heard, key=lambda one: one.annotation.conditioning)):
        same = one.annotation.conditioning == other.annotation.conditioning
        assert not same or not np.allclose(one.control, other.control)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"the recordings are not in {RECORDINGS}")
def test_recorded_bursts_of_one_speaker_are_told_apart_as_well(tmp_path: Path) -> None:
    sounds = recorded(RECORDINGS)
    found = apart(describe({name: sounds[name] for name in BURSTS}, tmp_path))
    assert found["bundle"][0] <= 1 / len(BUNDLE)
    assert found["control"][0] > 0.4


def test_one_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 0 recordings"):
        recorded(tmp_path)
