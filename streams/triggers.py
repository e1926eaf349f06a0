"""What may not be a trigger token, because it says something already."""

import re
from collections.abc import Callable

from processors.distill.clip_tokens import MOST_TRIGGER_TOKENS, count_tokens
from processors.distill.vocabulary import Vocabulary


def word_of(vocabulary: Vocabulary) -> Callable[[str], bool]:
    """Tells words from made-up ones: a word is one token of CLIP's, or more than `MOST_TRIGGER_TOKENS`, or stands
    anywhere in the vocabulary (names, phrases, synonyms, meanings)."""
    words = frozenset(re.findall(r"[a-z]+", vocabulary.model_dump_json().lower()))

    def is_word(text: str) -> bool:
        return text in words or not 1 < count_tokens(text) <= MOST_TRIGGER_TOKENS

    return is_word
