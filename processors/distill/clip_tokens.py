"""CLIP's own tokens (Radford et al., arXiv 2103.00020, section 2.4), counted: what the text encoder of Stable Diffusion
is given, and cuts off.

The vocabulary is a file inside the package open_clip, which is not imported: that alone takes seconds. Texts are broken
up as by the tokenizer that diffusers loads; open_clip's own first mends them (curly quotes, ligatures, HTML entities).
"""

import gzip
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import NFC, Lowercase, Replace
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizers

from store.errors import ModelUnavailable

MOST_TOKENS = 75
"""CLIP reads 77, of which one begins and one ends the text."""
MOST_TRIGGER_TOKENS = 4
"""Of a trigger token, which takes them, and one for the comma after it, from a text's."""
_FILE = "bpe_simple_vocab_16e6.txt.gz"
_MERGES = 48_894
"""Of those in the file, after its header: 49,152 less 256 bytes and the two that begin and end a text."""
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What is broken into tokens on its own: a contraction, letters, one digit, other signs."""
_END = "</w>"


def count_tokens(text: str) -> int:
    """Tokens of a text, without the two that begin and end it; those after `MOST_TOKENS` are never read."""
    return len(_tokenizer().encode(text).ids)


def is_word(text: str) -> bool:
    """Whether a text is a single token of CLIP's, and so means something to it already."""
    return count_tokens(text) == 1


@lru_cache(maxsize=1)
def _tokenizer() -> Tokenizer:
    """Byte-level BPE over the file's merges.

    Raises:
        ModelUnavailable: the file is not there.
    """
    with gzip.open(_vocabulary_file(), "rt", encoding="utf-8") as lines:
        _, *content = lines.read().split("\n")
    merges = [(first, second) for first, second in (line.split() for line in content[:_MERGES])]
    signs = _byte_signs()
    tokens = [*signs, *(sign + _END for sign in signs), *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]
    numbers = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocab=numbers, merges=merges, end_of_word_suffix=_END, unk_token=tokens[-1]))
    tokenizer.normalizer = Normalizers([NFC(), Replace(Regex(r"\s+"), " "), Lowercase()])
    words = Split(Regex(_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = PreTokenizers([words, ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer


def _vocabulary_file() -> Path:
    found = find_spec("open_clip")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        if Path(folder, _FILE).is_file():
            return Path(folder, _FILE)
    raise ModelUnavailable(f"no {_FILE} in the package open_clip; pip install open-clip-torch")


def _byte_signs() -> list[str]:
    """The sign that stands for each byte, in CLIP's order: those that print stand for themselves and come first."""
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printing]
    return [chr(byte) for byte in printing] + [chr(256 + place) for place in range(len(others))]
