"""Trigger tokens: a made-up word for every concept and identity, reserved once and for ever.

A token says nothing to a text encoder until an adapter is trained on it, cannot be mistaken for another by a slip of
one letter, and is never given to anybody else, also not after its subject was removed: then it alone is kept.
"""

import hashlib
from collections.abc import Callable, Container, Iterator
from datetime import datetime
from string import ascii_lowercase

from store.errors import Conflict
from store.records import Json, TokenKind, TokenReserved
from store.store import Store

CONSONANTS, VOWELS = "bdgklmnprstvz", "aeiou"
"""Chosen: letters that are spelt as they sound, in most languages; no `f`, `c`, `x`, `q`, `h`, `j`, `w`, `y`."""
SHORT, LONG = 2, 3
"""Syllables. Measured: 2 of 714,025 words take 2.5 tokens of CLIP's on average, 3 of 603 million 3.8."""
SHORT_TRIES, MOST_TRIES = 64, 512
"""Chosen: where so many short words are not free they are all but used up, and longer ones follow; where so many of
these are not free either, something is wrong."""


def choose_token(kind: TokenKind, subject_id: str, taken: Container[str], is_word: Callable[[str], bool]) -> str:
    """The first made-up word of a subject's that is free: the same one as long as the same words are taken.

    Args:
        taken: tokens that were ever reserved; the new one differs from each by two letters or more.
        is_word: tells what may not be a token.

    Raises:
        Conflict: none of many is free.
    """
    for attempt in range(MOST_TRIES):
        syllables = SHORT if attempt < SHORT_TRIES else LONG
        token = _candidate(f"{kind}/{subject_id}/{attempt}", syllables)
        if not is_word(token) and not any(near in taken for near in _within_one_letter(token)):
            return token
    raise Conflict(f"{kind} {subject_id!r}: none of {MOST_TRIES} words is free to be its token; is everything a word?")


def _candidate(seed: str, syllables: int) -> str:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest())
    word = ""
    for _ in range(syllables):
        for letters in (CONSONANTS, VOWELS, CONSONANTS):
            number, place = divmod(number, len(letters))
            word += letters[place]
    return word


def _within_one_letter(word: str) -> Iterator[str]:
    """The word, and all at Levenshtein distance 1: a letter more, less, or another."""
    yield word
    for place in range(len(word) + 1):
        before, after = word[:place], word[place:]
        yield from (before + letter + after for letter in ascii_lowercase)
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in ascii_lowercase)


# --- documents of the table `tokens`, by token ------------------------------------------------------------


def reserved(record: TokenReserved, told: bool) -> Json:
    """A token's document. told: its record has come from the topic, so that it need not be published again."""
    return record.model_dump(mode="json") | {"status": "reserved", "told": told}


def nameless(token: str) -> Json:
    """All that is kept of a token whose subject was removed: that nobody else may have it."""
    return {"token": token, "status": "removed"}


def tokens_of(store: Store, kind: TokenKind) -> dict[str, str]:
    """Subject id to token; of two, the one that was reserved first."""
    bodies = [body for body in store.tokens.all("reserved").values() if body["kind"] == kind]
    bodies.sort(key=lambda body: datetime.fromisoformat(body["reserved_at"]), reverse=True)
    return {body["subject_id"]: body["token"] for body in bodies}
