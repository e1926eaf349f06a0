"""What may not be a trigger token, by the vocabulary and CLIP's tokens."""

import pytest

from processors.distill.clip_tokens import count_tokens
from processors.distill.vocabulary import DEFAULT_VOCABULARY, Vocabulary, load_vocabulary
from store.tokens import choose_token
from streams.triggers import word_of


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return load_vocabulary(DEFAULT_VOCABULARY)


@pytest.mark.parametrize("word", ["dog", "kitten", "kneeling", "zgrtvkdlmn"], ids=["clip", "clip", "phrase", "costly"])
def test_words_and_what_costs_too_many_tokens_are_no_triggers(vocabulary: Vocabulary, word: str) -> None:
    assert word_of(vocabulary)(word)


def test_a_phrase_of_the_vocabulary_is_a_word_whatever_clip_says(vocabulary: Vocabulary) -> None:
    assert not word_of(vocabulary)("bakdom")
    (first, *others) = vocabulary.slots
    (term, *terms) = first.terms
    spoken = first.model_copy(update={"terms": (term.model_copy(update={"phrase": "a Bakdom shot"}), *terms)})
    assert word_of(vocabulary.model_copy(update={"slots": (spoken, *others)}))("bakdom")


def test_every_token_is_two_to_four_of_clips_and_no_word(vocabulary: Vocabulary) -> None:
    is_word = word_of(vocabulary)
    tokens = [choose_token("identity", f"p-{number}", (), is_word) for number in range(2000)]
    assert {count_tokens(token) for token in tokens} == {2, 3, 4}
    assert not any(is_word(token) for token in tokens)
