"""Counting CLIP's tokens: as its own tokenizer does, and without importing it."""

import subprocess
import sys

import pytest
from open_clip.tokenizer import SimpleTokenizer
from transformers import CLIPTokenizer

from processors.distill.clip_tokens import MOST_TOKENS, _tokenizer, count_tokens, is_word

TEXTS = (
    "",
    " ",
    "a",
    "A",
    "dog",
    "a photo of a dog",
    "A Photo   of\ta\nDOG ",
    "close-up, one person, strong motion, rising then falling, tense, wordless voice, dark, warm colours",
    "medium shot, two people, sitting, close together, slight motion, steady, relaxed, speech, even light",
    "it's she'll they've I'd we're I'm don't",
    "rock'n'roll o'clock 'tis",
    "2024",
    "24 fps at 1080p, f/2.8, ISO 1600",
    "0.5 1,000 -3",
    "!!! ??? ... --- ,,, ;;",
    "#hashtag @someone http://example.org/a?b=c&d=e",
    "café",
    "cafe\u0301",
    "naïve façade über straße",
    "Москва, зима",
    "東京の夜",
    "한국어 텍스트",
    "مرحبا بالعالم",
    "नमस्ते",
    "🎬🎥 clip 😀",
    "👩‍👩‍👧 family",
    "½ ² ™ №",
    "bakdom",
    "zivtegrup",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "under_score kebab-case camelCase",
    "(brackets) [square] {curly} <angle>",
    "quotes «guillemets»",
    "tab\u00a0nbsp\u2003em-space",
    "İstanbul",
    "ten thousand words " * 30,
)
MENDED = ("“double” ‘single’", "ﬁlm", "black &amp; white", "ΣΊΣΥΦΟΣ")
"""Texts that open_clip changes before it breaks them up, and diffusers' tokenizer does not."""


@pytest.fixture(scope="module")
def clips_own() -> SimpleTokenizer:
    return SimpleTokenizer()


@pytest.fixture(scope="module")
def diffusers_own(clips_own: SimpleTokenizer) -> CLIPTokenizer:
    """The tokenizer class of Stable Diffusion, with the vocabulary as open_clip reads it."""
    return CLIPTokenizer(vocab=clips_own.encoder, merges=list(clips_own.bpe_ranks), unk_token="<end_of_text>")


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_every_text_has_the_tokens_that_clip_gives_it(clips_own: SimpleTokenizer, text: str) -> None:
    assert _tokenizer().encode(text).ids == clips_own.encode(text)
    assert count_tokens(text) == len(clips_own.encode(text))


@pytest.mark.parametrize("text", [*TEXTS, *MENDED], ids=ascii)
def test_every_text_has_the_tokens_that_diffusers_gives_it(diffusers_own: CLIPTokenizer, text: str) -> None:
    assert _tokenizer().encode(text).ids == diffusers_own(text, add_special_tokens=False).input_ids


def test_the_vocabulary_is_clips_token_for_token(clips_own: SimpleTokenizer) -> None:
    ours, theirs = _tokenizer().get_vocab(), clips_own.encoder
    assert len(ours) == 49_408
    theirs = {token: number for token, number in theirs.items() if number < 49_406}
    assert {token: number for token, number in ours.items() if number < 49_406} == theirs
    assert (ours["<|startoftext|>"], ours["<|endoftext|>"]) == (49_406, 49_407)


def test_the_limit_is_what_clip_reads_of_a_long_text(clips_own: SimpleTokenizer) -> None:
    (read,) = clips_own("word " * 200)
    assert len(read) - 2 == MOST_TOKENS < count_tokens("word " * 200)


@pytest.mark.parametrize(
    ("text", "known"), [("dog", True), ("Dog", True), ("bakdom", False), ("a dog", False), ("", False)]
)
def test_a_word_is_one_token(text: str, known: bool) -> None:
    assert is_word(text) is known


def test_open_clip_is_not_imported() -> None:
    told = "import sys; from processors.distill.clip_tokens import count_tokens; print(count_tokens('a dog'));"
    told += "print([name for name in sys.modules if name.split('.')[0] in ('open_clip', 'torch')])"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["2", "[]"]
