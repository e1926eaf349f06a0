"""The bases that adapters are trained on, as folders: finding, describing, discarding; nothing is ever fetched here.

Free of any model code, so that the process that writes the store can discard bases.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from store.errors import ModelUnavailable
from store.files import folders
from store.records import digest

BASE_FILE = "cliploom_base.json"
"""Beside the pipeline of a base that was built here."""
SMALL_LABEL = "small base pre-trained on this footage; not a general model"
GIVEN_LABEL = "pretrained base"


@dataclass(frozen=True)
class Base:
    """A base on this machine.

    id: of its content. label: what people are told it is. clip_ids: clips it was trained on here; a removal of one
    of them reaches the base and its adapters.
    """

    id: str
    folder: Path
    label: str
    clip_ids: tuple[str, ...] = ()

    @property
    def is_small(self) -> bool:
        """Built here from the footage."""
        return self.label == SMALL_LABEL

    @property
    def revision(self) -> str:
        """The commit of a snapshot in the hub's cache, which keeps it in a folder of that name; else the id, which
        names the content too."""
        is_snapshot = self.folder.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", self.folder.name)
        return self.folder.name if is_snapshot else self.id

    def write(self) -> None:
        """Leave the facts beside the pipeline."""
        facts = asdict(self) | {"folder": None}
        (self.folder / BASE_FILE).write_text(json.dumps(facts, indent=1))

    @staticmethod
    def read(folder: Path) -> "Base":
        """The base in `folder`, whether it was built here or comes from elsewhere."""
        file = folder / BASE_FILE
        if not file.is_file():
            return Base(id=_content_id(folder), folder=folder, label=GIVEN_LABEL)
        facts = json.loads(file.read_text())
        return Base(id=facts["id"], folder=folder, label=facts["label"], clip_ids=tuple(facts["clip_ids"]))


def find_base(name: str) -> Base:
    """The base `name`: a folder, or the id of a model that the local cache of the Hugging Face hub holds.

    Raises:
        ModelUnavailable: neither is there.
    """
    folder = Path(name)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(name, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError) as error:
            raise ModelUnavailable(
                f"base {name!r} is not on this machine: no such folder, and not in the hub's cache; fetch it where"
                f" there is a network (`hf download {name}`), or give the folder of a saved pipeline, or leave the base"
                " out to train on a small one made from the footage"
            ) from error
    if not (folder / "model_index.json").is_file():
        raise ModelUnavailable(
            f"base {name!r} holds no model_index.json; expected a pipeline saved by diffusers (save_pretrained)"
        )
    return Base.read(folder)


def discard_bases(bases: Path, clip_ids: Collection[str]) -> list[str]:
    """Delete every base built here that learned from one of the clips; returns their ids.

    Args:
        bases: folder of small bases; it need not exist.
    """
    tainted = [base for base in built_bases(bases) if set(base.clip_ids) & set(clip_ids)]
    for base in tainted:
        shutil.rmtree(base.folder)
    return [base.id for base in tainted]


def built_bases(bases: Path) -> list[Base]:
    """Those built here, in a folder that need not exist, by id."""
    return [Base.read(folder) for folder in folders(bases) if (folder / BASE_FILE).is_file()]


def _content_id(folder: Path) -> str:
    """Hash over the names and bytes of a pipeline's configurations and weights."""
    names = sorted(path for kind in ("*.json", "*.safetensors", "*.bin", "*.txt") for path in folder.rglob(kind))
    hashes = []
    for path in names:
        with path.open("rb") as file:
            hashes.append([str(path.relative_to(folder)), hashlib.file_digest(file, "sha256").hexdigest()])
    return "base-" + digest(hashes)[:16]
