"""What may not be a trigger token, because it says something already."""

import re
from collections.abc import Callable

from processors.distill.clip_tokens import count_tokens
from processors.distill.vocabulary import Vocabulary

MOST_CLIP_TOKENS = 4
"""A trigger token takes these away from the 75 that a text may have."""


def word_of(vocabulary: Vocabulary) -> Callable[[str], bool]:
    """Tells words from made-up ones: a word is one token of CLIP's, or more than `MOST_CLIP_TOKENS`, or stands anywhere
    in the vocabulary (names, phrases, meanings)."""
    words = frozenset(re.findall(r"[a-z]+", vocabulary.model_dump_json().lower()))

    def is_word(text: str) -> bool:
        return text in words or not 1 < count_tokens(text) <= MOST_CLIP_TOKENS

    return is_word
