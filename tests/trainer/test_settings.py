"""What a run may choose."""

import pytest

from store.errors import SettingsError
from trainer.opening import known_families
from trainer.settings import LoraSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ranks": 4}, "ranks are not known; known: accumulate, alpha, base"),
        ({"rank": 0}, "rank is 0; expected a number from 1 to 1024"),
        ({"rank": 1.5}, "rank is 1.5; expected a whole number"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"targets": "all"}, "targets is 'all'; expected one of cross_attention, conditioning"),
        ({"start": "merge"}, "start is 'merge'; expected one of continue, stack, fuse"),
        ({"control": 1}, "control is 1; expected true or false"),
    ],
)
def test_wrong_settings_are_refused(given, message):
    with pytest.raises(SettingsError, match=message):
        LoraSettings.of(given)


@pytest.mark.parametrize("name", sorted(known_families()))
def test_what_a_family_recommends_are_settings(name):
    LoraSettings.of(known_families()[name].recommended)
