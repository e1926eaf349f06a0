"""Finding pretrained models on this machine. Never the network: a worker that waits for a download looks dead."""

from hashlib import sha256
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from store.errors import ModelUnavailable, SettingsError

MODEL_FILES = ["config.json", "preprocessor_config.json", "*.safetensors", "pytorch_model.bin"]
WEIGHT_FILES = ("*.safetensors", "pytorch_model.bin")


def model_folder(model: str, revision: str | None) -> Path:
    """The folder that holds a model: `model` itself if it is one, else its place in the Hugging Face cache.

    Raises:
        ModelUnavailable: neither is there, or the folder holds no weights; the message says how to get them.
    """
    remedy = _remedy(model, revision)
    folder = Path(model)
    if not folder.is_dir():
        try:
            found = snapshot_download(model, revision=revision, allow_patterns=MODEL_FILES, local_files_only=True)
        except (LocalEntryNotFoundError, HFValidationError) as error:
            raise ModelUnavailable(f"model {model!r} is not on this machine; {remedy}") from error
        folder = Path(found)
    if not (folder / "config.json").is_file() or not weight_files(folder):
        raise ModelUnavailable(f"folder {folder} holds no config.json with weights beside it; {remedy}")
    return folder


def model_file(model: str, revision: str | None, pattern: str) -> Path:
    """The file that holds a model: `model` itself if it is one, else the one of a folder (see `model_folder`).

    Args:
        pattern: of the file's name in a folder.

    Raises:
        ModelUnavailable: neither is there, or the folder holds none or several such files; the message says what to do.
    """
    remedy = _remedy(model, revision)
    place = Path(model)
    if not place.exists():
        try:
            place = Path(snapshot_download(model, revision=revision, allow_patterns=[pattern], local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError) as error:
            raise ModelUnavailable(f"model {model!r} is not on this machine; {remedy}") from error
    found = sorted(place.glob(pattern)) if place.is_dir() else [place]
    if len(found) != 1:
        raise ModelUnavailable(f"folder {place} holds {len(found)} files {pattern}, not one; {remedy}")
    return found[0]


def _remedy(model: str, revision: str | None) -> str:
    if model.startswith("tiny/"):
        return "build it with `processors.tiny.build_tiny_models(models_folder)`"
    pinned = f" --revision {revision}" if revision else ""
    return (
        f"get it with `hf download {model}{pinned}`, copy its folder to <models folder>/{model}, or choose the "
        "profile `measured`, which needs no model"
    )


def check_size(model: str, found: int, said: int) -> None:
    """Raises SettingsError where a model's vectors are not as long as the profile says."""
    if found != said:
        raise SettingsError(f"model {model!r} gives {found} numbers, not the size = {said} of the profile; correct it")


def weight_files(folder: Path) -> list[Path]:
    """The files that `from_pretrained` reads weights from: safetensors where there are any."""
    for pattern in WEIGHT_FILES:
        if files := sorted(folder.glob(pattern)):
            return files
    return []


def weights_digest(folder: Path) -> str:
    """SHA-256 over a model's configuration, preprocessing and weights."""
    state = sha256()
    for path in [*sorted(folder.glob("*config.json")), *weight_files(folder)]:
        state.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                state.update(block)
    return state.hexdigest()
