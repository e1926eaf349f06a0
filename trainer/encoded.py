"""Clips as a denoiser reads them, computed once and kept: latents by clip, states by text.

What is kept is named by all that it depends on: the bytes of the clip's media, base and precision, and how clips are
cut; or base, precision and text. So it is never stale, and a run that was killed, or the next one, encodes only what is
new. Latents lie in a folder of their clip: where the clip is removed, they go with it (`trainer.leftovers`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from store.files import replacing
from store.records import digest
from trainer import masks, poses
from trainer.cutting import CutSettings, cut_clip
from trainer.dataset import TrainingClip, control_rows
from trainer.families.base import Family, Texts
from trainer.leftovers import TEXTS
from trainer.loop import Progress

VERSION = 1
"""Of how clips are cut and encoded; a bump encodes them again."""


@dataclass(frozen=True)
class Encoded:
    """The pieces of clips, N of them, of several sizes.

    latents: float32, one of each piece. clip_of: int64 [N], by number of the clip. texts: states of all distinct texts,
    and of the empty one in the last row. text_rows, text_shares: [clips, K], which of them describe each clip and how
    often. values, present: float32 [clips, C], the control channels. weights: of the squared error, of mean 1, one of
    each piece, see `trainer.masks`; none: the same everywhere. poses: one of each piece, see `trainer.poses`; none:
    they steer nothing. posed: bool [clips], of which clips they are known.
    """

    latents: tuple[Tensor, ...]
    clip_of: np.ndarray
    texts: Texts
    text_rows: Tensor
    text_shares: Tensor
    values: Tensor
    present: Tensor
    weights: tuple[Tensor, ...] = ()
    poses: tuple[Tensor, ...] = ()
    posed: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))

    @property
    def empty_text(self) -> int:
        """Row of the empty text."""
        return max(len(states) for states in self.texts.values()) - 1

    def texts_at(self, rows: Tensor, device: torch.device) -> Texts:
        """The denoiser's text arguments for `rows` of `texts`."""
        return {name: states[rows].to(device) for name, states in self.texts.items()}

    def poses_at(self, rows: Sequence[int]) -> tuple[Tensor, Tensor] | None:
        """Poses of pieces whose latents are of one size, and which of them have one, float32 [N]; see
        `ControlProjector.steer_rows`."""
        if not self.poses:
            return None
        return torch.stack([self.poses[row] for row in rows]), self.posed[self.clip_of[list(rows)]].float()

    def write(self, path: Path) -> None:
        """For other processes of the machine: `read` maps it, so that they share the memory too."""
        with replacing(path) as unfinished:
            torch.save(vars(self) | {"clip_of": torch.from_numpy(self.clip_of)}, unfinished)

    @staticmethod
    def read(path: Path) -> "Encoded":
        """What `write` wrote."""
        state = torch.load(path, weights_only=True, mmap=True)
        return Encoded(**state | {"clip_of": state["clip_of"].numpy()})

    def batches(self, rows: Iterable[int], at_most: int) -> Iterator[list[int]]:
        """Rows in batches of one size of latents."""
        of_size: dict[tuple[int, ...], list[int]] = {}
        for row in rows:
            of_size.setdefault(tuple(self.latents[row].shape), []).append(row)
        for same in of_size.values():
            yield from (same[start : start + at_most] for start in range(0, len(same), at_most))


class Kept:
    """What was encoded with one base, in a folder.

    Args:
        folder: of all that is kept, for every base.
        base_id: of the base's content.
        precision: that its encoders compute in.
    """

    def __init__(self, folder: Path, base_id: str, precision: str = "float32") -> None:
        self._folder = folder
        self._base = [base_id, precision]

    def latents(self, clip: TrainingClip, family: Family, settings: CutSettings) -> Tensor:
        """Latents float32 [n, ...] of a clip's pieces."""
        about = [VERSION, self._base, clip.media, asdict(settings)]
        return self._kept(clip, "latents", about, lambda: family.encode_media(cut_clip(clip, family, settings)))

    def weights(self, clip: TrainingClip, latents: Tensor, family: Family, settings: CutSettings) -> Tensor:
        """Weights of the latents of a clip's pieces, see `trainer.masks.latent_weights`."""
        boxes = [asdict(track) for track in clip.people]
        about = [VERSION, masks.VERSION, self._base, clip.media, asdict(settings), boxes]
        return self._kept(clip, "weights", about, lambda: masks.latent_weights(clip, latents, family, settings))

    def poses(self, clip: TrainingClip, latents: Tensor, family: Family, settings: CutSettings) -> Tensor:
        """Poses of a clip's pieces, see `trainer.poses.pose_rows`."""
        points = [asdict(track) for track in clip.poses or ()]
        about = [VERSION, "poses", poses.VERSION, self._base, clip.media, asdict(settings), points]
        return self._kept(clip, "poses", about, lambda: poses.pose_rows(clip, latents, family, settings))

    def _kept(self, clip: TrainingClip, name: str, about: Sequence[Any], make: Callable[[], Tensor]) -> Tensor:
        """What was made of a clip before, or else is now."""
        path = self._folder / clip.clip_id / f"{digest(about)[:32]}.safetensors"
        known = _read(path)
        if known is None:
            known = {name: make()}
            _write(path, known)
        return known[name]

    def texts(self, texts: Sequence[str], family: Family) -> Texts:
        """States of each text."""
        paths = [self._folder / TEXTS / f"{digest([VERSION, self._base, text])[:32]}.safetensors" for text in texts]
        known = [_read(path) for path in paths]
        missing = [row for row, one in enumerate(known) if one is None]
        if missing:
            states = family.encode_texts([texts[row] for row in missing])
            for at, row in enumerate(missing):
                known[row] = own = {name: tensor[at : at + 1] for name, tensor in states.items()}
                _write(paths[row], own)
        told = [one for one in known if one is not None]
        # Some families pad the texts that are encoded together to the longest of them, and mask what was padded.
        return {name: pad_sequence([one[name][0] for one in told], batch_first=True) for name in told[0]}


def encode(
    clips: Sequence[TrainingClip],
    texts_of: Sequence[Sequence[tuple[str, float]]],
    channels: Sequence[str],
    family: Family,
    settings: CutSettings,
    kept: Kept,
    progress: Progress,
    with_weights: bool = False,
    with_poses: bool = False,
) -> Encoded:
    """Encode clips, or take what was kept of them.

    Args:
        texts_of: for each clip its texts with their weights, the likeliest first.
        channels: names of the control channels.
        with_weights: by where people are. with_poses: of how they hold themselves.

    Raises:
        InputError: a clip's media are broken.
    """
    latents: list[Tensor] = []
    weights: list[Tensor] = []
    posed: list[Tensor] = []
    clip_of: list[int] = []
    for number, clip in enumerate(clips):
        pieces = kept.latents(clip, family, settings)
        latents += pieces.unbind()
        if with_weights:
            weights += kept.weights(clip, pieces, family, settings).unbind()
        if with_poses:
            posed += kept.poses(clip, pieces, family, settings).unbind()
        clip_of += [number] * len(pieces)
        progress("encode", number + 1, len(clips), None)
    distinct = sorted({text for texts in texts_of for text, _ in texts})
    most = max(len(texts) for texts in texts_of)
    rows = torch.zeros(len(clips), most, dtype=torch.int64)
    shares = torch.zeros(len(clips), most)
    for number, texts in enumerate(texts_of):
        for column, (text, weight) in enumerate(texts):
            rows[number, column], shares[number, column] = distinct.index(text), weight
    values, present = control_rows(clips, channels)
    return Encoded(
        latents=tuple(latents),
        clip_of=np.array(clip_of),
        texts=kept.texts([*distinct, ""], family),
        text_rows=rows,
        text_shares=shares,
        values=torch.from_numpy(values),
        present=torch.from_numpy(present),
        weights=tuple(weights),
        poses=tuple(posed),
        posed=torch.tensor([clip.poses is not None for clip in clips]),
    )


def _read(path: Path) -> dict[str, Tensor] | None:
    """The tensors of a file; None where there is none, or a broken one."""
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError):
        return None


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    with replacing(path) as unfinished:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, unfinished)
