"""The columns of a profile and of the annotation fit into one table."""

from pathlib import Path

import pytest

from processors.distill.vocabulary import load_vocabulary
from processors.profile import load_profile, profile_names
from store.errors import InputError
from store.records import Column
from store.store import Store


@pytest.mark.parametrize("name", profile_names())
def test_a_store_takes_the_columns_of_every_profile_and_of_the_annotation(name: str, tmp_path: Path) -> None:
    columns = (*load_profile(name).columns, *load_vocabulary().columns)
    store = Store.open(tmp_path, columns)
    assert {column.name for column in columns} <= set(store.clips.schema.names)


def test_a_name_that_is_given_twice_is_refused_before_a_table_is_made(tmp_path: Path) -> None:
    twice = (Column(name="sound_kind", kind="json"), Column(name="sound_kind", kind="text"))
    with pytest.raises(InputError, match="'sound_kind' is one of the clip table's own, or of the annotation's"):
        Store.open(tmp_path, twice)
