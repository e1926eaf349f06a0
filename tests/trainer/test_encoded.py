"""What is encoded once and kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from store.errors import InputError
from tests.trainer.made_discs import made_clip, silent
from trainer.cutting import CutSettings
from trainer.encoded import Encoded, Kept, encode
from trainer.families.base import Family
from trainer.opening import open_base

CUT = CutSettings(resolution_px=32, crop="square", per_clip=2, frames=1, duration_s=1)


class Counting:
    """A family that counts what it encodes."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self.media_encoded = 0
        self.texts_encoded: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._family, name)

    def encode_media(self, media: np.ndarray) -> torch.Tensor:
        self.media_encoded += len(media)
        return self._family.encode_media(media)

    def encode_texts(self, texts: list[str]) -> dict[str, torch.Tensor]:
        self.texts_encoded += texts
        return self._family.encode_texts(texts)


@pytest.fixture
def family(base) -> Counting:
    """The small base, counted."""
    return Counting(open_base(base, "cpu"))


def texts(clips: list) -> list[list[tuple[str, float]]]:
    return [[(clip.conditioning, 0.75), ("a disc", 0.25)] for clip in clips]


def encoded(clips: list, family: Counting, kept: Kept, cut: CutSettings = CUT) -> Encoded:
    return encode(clips, texts(clips), ("arousal",), family, cut, kept, silent)


def test_pieces_know_their_clip_and_texts_their_rows(family, tmp_path):
    clips = [made_clip(number, colour) for number, colour in enumerate(("red", "blue", "red"))]
    found = encoded(clips, family, Kept(tmp_path, "base"))
    assert found.clip_of.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.empty_text == 3
    states = family._family.encode_texts([clips[1].conditioning, "a disc", ""])["encoder_hidden_states"]
    rows = [*found.text_rows[1].tolist(), found.empty_text]
    assert torch.allclose(found.texts["encoder_hidden_states"][rows], states, atol=1e-6)
    assert found.text_shares.tolist() == [[0.75, 0.25]] * 3
    assert torch.equal(found.latents[2], found.latents[2])
    assert [len(one) for one in found.batches(range(6), 4)] == [4, 2]


def test_what_was_encoded_is_kept_and_only_what_is_new_is_encoded(family, tmp_path):
    clips = [made_clip(number, "red") for number in range(3)]
    first = encoded(clips[:2], family, Kept(tmp_path, "base"))
    assert (family.media_encoded, len(family.texts_encoded)) == (4, 3)

    def unread() -> np.ndarray:
        raise AssertionError("read again")

    known = [replace(clip, load_frames=unread) for clip in clips[:2]]
    again = encoded([*known, clips[2]], family, Kept(tmp_path, "base"))
    assert (family.media_encoded, len(family.texts_encoded)) == (6, 3)
    assert all(torch.equal(one, other) for one, other in zip(first.latents, again.latents, strict=False))


@pytest.mark.parametrize("change", ["media", "base", "cut", "precision"])
def test_other_media_another_base_cut_or_precision_are_encoded_anew(family, tmp_path, change):
    clip = made_clip(0, "red")
    encoded([clip], family, Kept(tmp_path, "base"))
    before = family.media_encoded
    other = replace(clip, media="other") if change == "media" else clip
    cut = replace(CUT, per_clip=1) if change == "cut" else CUT
    kept = Kept(tmp_path, "another" if change == "base" else "base", "bfloat16" if change == "precision" else "float32")
    encoded([other], family, kept, cut)
    assert family.media_encoded > before


def test_a_file_that_is_cut_off_is_made_anew(family, tmp_path):
    clip = made_clip(0, "red")
    first = encoded([clip], family, Kept(tmp_path, "base"))
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:50])
    assert torch.equal(encoded([clip], family, Kept(tmp_path, "base")).latents[0], first.latents[0])


def test_texts_that_were_padded_to_several_lengths_are_read_together_with_their_masks(tmp_path):
    class Padding:
        """A family that pads to the longest text of a call."""

        def encode_texts(self, texts: list[str]) -> dict[str, torch.Tensor]:
            states = [torch.ones(max(1, len(text)), 2) for text in texts]
            masks = [torch.ones(len(one), dtype=torch.bool) for one in states]
            return {"states": pad_sequence(states, batch_first=True), "mask": pad_sequence(masks, batch_first=True)}

    kept = Kept(tmp_path, "base")
    kept.texts(["ab", ""], Padding())
    found = kept.texts(["abcd", "ab", ""], Padding())
    assert found["states"].shape == (3, 4, 2)
    assert found["mask"].sum(1).tolist() == [4, 2, 1]
    assert torch.equal(found["states"][..., 0], found["mask"].float())


def test_a_broken_clip_is_named(family, tmp_path):
    empty = replace(made_clip(7, "red"), load_frames=lambda: np.zeros((0, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="clip07"):
        encoded([empty], family, Kept(tmp_path, "base"))
