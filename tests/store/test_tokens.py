"""Trigger tokens: made-up words, apart from each other, never given twice."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from store.errors import Conflict
from store.records import TokenReserved
from store.store import Store
from store.tokens import choose_token, nameless, reserved, tokens_of
from tests.store.made_footage import NOON


def no_word(token: str) -> bool:
    return False


def chosen(n: int) -> list[str]:
    """Tokens of `n` identities, one after another."""
    taken: set[str] = set()
    tokens = []
    for number in range(n):
        tokens.append(choose_token("identity", f"p-{number}", taken, no_word))
        taken.add(tokens[-1])
    return tokens


def edits(one: str, other: str) -> int:
    """Levenshtein distance, by the table."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, there in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != there))
    return row[-1]


def test_a_token_can_be_spoken_and_is_the_same_whenever_it_is_chosen() -> None:
    token = choose_token("concept", "lively", (), no_word)
    assert re.fullmatch("([a-z][aeiou][a-z]){2}", token)
    assert choose_token("concept", "lively", (), no_word) == token
    others = {choose_token("concept", "calm", (), no_word), choose_token("identity", "lively", (), no_word)}
    assert len(others | {token}) == 3


def test_no_two_tokens_are_within_a_slip_of_one_letter() -> None:
    # By chance alone, some 150 pairs of 2,000 would be. All are of one length: a slip is another letter in one place.
    slips = [(place, token[:place] + token[place + 1 :]) for token in chosen(2000) for place in range(6)]
    assert len(set(slips)) == len(slips) == 12_000


@pytest.mark.parametrize(
    "slip", ["{}", "{}e", "e{}", "{:.5}", "{:.5}q"], ids=["same", "more", "before", "less", "other"]
)
def test_a_word_that_is_taken_or_nearly_so_is_passed_over(slip: str) -> None:
    token = choose_token("concept", "lively", (), no_word)
    taken = {slip.format(token)}
    other = choose_token("concept", "lively", taken, no_word)
    assert edits(other, *taken) >= 2


def test_a_word_that_says_something_is_passed_over() -> None:
    token = choose_token("concept", "lively", (), no_word)
    assert choose_token("concept", "lively", (), lambda word: word == token) != token


def test_when_the_short_words_are_used_up_longer_ones_follow() -> None:
    token = choose_token("concept", "lively", (), lambda word: len(word) < 9)
    assert re.fullmatch("([a-z][aeiou][a-z]){3}", token)


def test_where_everything_is_a_word_there_is_no_token() -> None:
    with pytest.raises(Conflict, match="concept 'lively': none of 512 words is free"):
        choose_token("concept", "lively", (), lambda word: True)


def test_tokens_are_looked_up_by_whom_they_stand_for(tmp_path: Path) -> None:
    store = Store.open(tmp_path)

    def told(kind: str, subject_id: str, token: str, minutes: int = 0) -> TokenReserved:
        at = NOON + timedelta(minutes=minutes)
        return TokenReserved(kind=kind, subject_id=subject_id, token=token, reserved_at=at)  # type: ignore[arg-type]

    records = [
        told("concept", "calm", "bakdom", 5),
        told("concept", "calm", "zivtek", 3),
        told("identity", "p-1", "golnup"),
    ]
    store.tokens.put({record.token: reserved(record, told=True) for record in records} | {"mabrik": nameless("mabrik")})
    assert tokens_of(store, "concept") == {"calm": "zivtek"}
    assert tokens_of(store, "identity") == {"p-1": "golnup"}
