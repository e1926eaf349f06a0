"""Pretrained models on this machine: fetching them from a hub, the lock, and what is told where one is not right."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants, hf_hub_download
from safetensors.numpy import save

from processors.models.catalogue import model_states
from processors.models.lock import LOCK_FILE, ModelLock
from processors.models.pull import pull_model
from processors.pretrained import model_file, model_folder
from processors.profile import ModelLine, load_profile
from store.errors import ModelUnavailable, SettingsError
from tests.processors.made_hub import Hub, Repository, commit_of, running_hub, sha256

MODEL = "someone/siglip"
ONE, TWO = commit_of(1), commit_of(2)
WEIGHTS = "model.safetensors"
NEEDED = {"config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS}
BASE = ModelLine("vision.siglip", MODEL, None, None, None, ("*.json", "*.safetensors", "pytorch_model*.bin"), False)


@pytest.fixture
def hub(models_folder: Path) -> Iterator[Hub]:
    """A hub with the tiny SigLIP: its commit 1 and, of other weights, its commit 2, both with more than is needed."""
    with running_hub() as hub:
        repository = Repository.of(models_folder / "tiny" / "siglip", ONE)
        first = repository.commits[ONE] | {"README.md": b"read me", "pytorch_model.bin": b"PK", "onnx/a.json": b"{}"}
        repository.commits = {ONE: first, TWO: first | {WEIGHTS: save({"other": np.zeros(400, np.float32)})}}
        hub.repositories[MODEL] = repository
        yield hub


def pull(line: ModelLine, folder: Path, hub: Hub, offline: bool = False) -> bool:
    return pull_model(line, folder, offline, hub.url, lambda told: None)


def state(line: ModelLine, folder: Path, read: bool = True) -> str:
    profile = load_profile(write_profile(folder, line), folder)
    (found,) = model_states(profile, folder, read)
    return found.found.state


def write_profile(folder: Path, line: ModelLine) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "own.toml"
    keys = {"model": line.model, "revision": line.revision, "licence": line.licence, "sha256": line.sha256}
    told = "".join(f'{name} = "{value}"\n' for name, value in keys.items() if value is not None)
    path.write_text(f'[[processor]]\nid = "{line.processor}"\nsize = 32\n{told}')
    return path


def test_what_was_pulled_is_locked_and_loads_without_a_network(hub: Hub, tmp_path: Path) -> None:
    assert pull(BASE, tmp_path, hub) is True

    locked = ModelLock(tmp_path).models()[MODEL]
    assert (locked.revision, locked.licence) == (ONE, "apache-2.0")
    contents = hub.repositories[MODEL].commits[ONE]
    assert {name: (file.bytes, file.sha256) for name, file in locked.files.items()} == {
        name: (len(contents[name]), sha256(contents[name])) for name in NEEDED
    }
    processor = load_profile(write_profile(tmp_path, BASE), tmp_path).processors[0]
    processor.load("cpu")
    assert processor.weights()
    assert state(BASE, tmp_path) == "present"


def test_only_what_is_needed_is_fetched(hub: Hub, tmp_path: Path) -> None:
    pull(BASE, tmp_path, hub)
    assert {name.split()[0] for name in hub.fetched} == NEEDED


def test_what_is_there_is_not_asked_for_again(hub: Hub, tmp_path: Path) -> None:
    pull(BASE, tmp_path, hub)
    hub.refuse = (500, "")
    assert pull(BASE, tmp_path, hub) is False


def test_an_id_without_a_revision_stays_what_its_first_pull_made_it(hub: Hub, tmp_path: Path) -> None:
    pull(BASE, tmp_path, hub)
    hub.repositories[MODEL].names["main"] = TWO
    (tmp_path / MODEL / WEIGHTS).write_bytes(b"damaged")
    pull(BASE, tmp_path, hub)
    assert ModelLock(tmp_path).models()[MODEL].revision == ONE
    assert state(BASE, tmp_path) == "present"


def test_another_revision_is_told_and_pulled_in_its_place(hub: Hub, tmp_path: Path) -> None:
    pull(BASE, tmp_path, hub)
    later = replace(BASE, revision=TWO)
    assert state(later, tmp_path, read=False) == "other revision"
    with pytest.raises(ModelUnavailable, match=f"holds revision {ONE}, not {TWO}.*cliploom models pull"):
        model_folder(str(tmp_path / MODEL), TWO)
    assert pull(later, tmp_path, hub) is True
    assert (state(later, tmp_path), state(replace(BASE, revision=ONE), tmp_path)) == ("present", "other revision")


def test_files_of_the_former_revision_do_not_stay(hub: Hub, tmp_path: Path) -> None:
    hub.repositories[MODEL].commits[ONE]["extra.safetensors"] = save({"more": np.zeros(400, np.float32)})
    pull(BASE, tmp_path, hub)
    assert (tmp_path / MODEL / "extra.safetensors").is_file()
    pull(replace(BASE, revision=TWO), tmp_path, hub)
    assert not (tmp_path / MODEL / "extra.safetensors").exists()


def test_two_processors_may_need_different_files_of_one_model(hub: Hub, tmp_path: Path) -> None:
    other = replace(BASE, files=("onnx/*.onnx",))
    hub.repositories[MODEL].commits[ONE]["onnx/net.onnx"] = b"weights"
    pull(BASE, tmp_path, hub)
    assert pull(other, tmp_path, hub) is True
    assert "onnx/net.onnx" in ModelLock(tmp_path).models()[MODEL].files
    assert model_file(str(tmp_path / MODEL), ONE, "onnx/*.onnx") == tmp_path / MODEL / "onnx" / "net.onnx"
    assert (pull(BASE, tmp_path, hub), pull(other, tmp_path, hub)) == (False, False)


def test_a_folder_of_ones_own_is_not_pulled(hub: Hub, models_folder: Path, tmp_path: Path) -> None:
    own = models_folder / "tiny" / "siglip"
    assert pull(replace(BASE, model=str(own)), tmp_path, hub) is False
    assert hub.asked == []


def test_a_download_that_breaks_off_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.repositories[MODEL].commits[ONE][WEIGHTS] = save({"large": np.zeros(3_000_000, np.float32)})
    hub.cut[WEIGHTS] = [11_000_000]  # the hub's client writes pieces of 10 MiB
    pull(BASE, tmp_path, hub)
    assert [line for line in hub.fetched if line.startswith(WEIGHTS)] == [f"{WEIGHTS} 0", f"{WEIGHTS} {10 << 20}"]
    assert state(BASE, tmp_path) == "present"


def test_a_download_that_always_breaks_off_is_given_up_and_taken_up_by_the_next_pull(hub: Hub, tmp_path: Path) -> None:
    hub.cut[WEIGHTS] = [1000] * 5
    with pytest.raises(ModelUnavailable, match=r"did not come.*pull again: it goes on where it stopped"):
        pull(BASE, tmp_path, hub)
    assert state(BASE, tmp_path) == "missing"
    assert pull(BASE, tmp_path, hub) is True


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_file_of_another_digest_than_announced_is_not_kept(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.spoil = {name: b" " * len(hub.repositories[MODEL].commits[ONE][name])}
    with pytest.raises(ModelUnavailable, match=f"{name} of {MODEL} came with another digest than"):
        pull(BASE, tmp_path, hub)
    assert not (tmp_path / MODEL / name).exists()
    assert not (tmp_path / LOCK_FILE).exists()


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ((401, "RepoNotFound"), "the hub has no model someone/siglip, or not for you.*hf auth login"),
        ((404, "RepoNotFound"), "the hub has no model someone/siglip"),
        ((403, "GatedRepo"), "only to those who accepted its terms; accept them"),
        ((404, "RevisionNotFound"), "has no revision .*; correct it in the profile"),
        ((500, ""), "did not come: Server error '500.*check the network and HF_ENDPOINT"),
    ],
)
def test_a_refusal_says_what_to_do(hub: Hub, tmp_path: Path, refusal: tuple[int, str], told: str) -> None:
    hub.refuse = refusal
    with pytest.raises(ModelUnavailable, match=told):
        pull(replace(BASE, revision="v1"), tmp_path, hub)
    assert not (tmp_path / LOCK_FILE).exists()


def test_without_a_network_it_is_told(tmp_path: Path) -> None:
    with running_hub() as gone:
        pass
    with pytest.raises(ModelUnavailable, match="check the network"):
        pull(BASE, tmp_path, gone)


def test_offline_nothing_is_asked(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="HF_HUB_OFFLINE forbids to fetch it"):
        pull(BASE, tmp_path, hub, offline=True)
    pull(BASE, tmp_path, hub)
    assert pull(BASE, tmp_path, hub, offline=True) is False


def test_an_id_that_is_none_and_a_model_of_other_files_are_told(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no folder, no URL and no id of the model hub"):
        pull(replace(BASE, model="too/many/parts"), tmp_path, hub)
    with pytest.raises(ModelUnavailable, match=r"has none of the files \*\.onnx; it is no model of vision\.siglip"):
        pull(replace(BASE, files=("*.onnx",)), tmp_path, hub)


def test_a_disk_that_is_full_or_refuses_is_told_with_the_remedy(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelUnavailable, match=r"cannot be written: .*choose another --data"):
        pull(BASE, tmp_path / "file", hub)
    hub.announce[WEIGHTS] = 10**18
    with pytest.raises(ModelUnavailable, match=r"1,000,000,000,000 MB are needed.*make room"):
        pull(BASE, tmp_path, hub)
    assert not hub.fetched


def test_damage_is_found_when_it_is_looked_for_and_before_a_model_is_used(hub: Hub, tmp_path: Path) -> None:
    pull(BASE, tmp_path, hub)
    weights = tmp_path / MODEL / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert state(BASE, tmp_path, read=True) == "corrupt"
    with pytest.raises(ModelUnavailable, match=f"is damaged: {WEIGHTS} has another digest.*cliploom models pull"):
        load_profile(write_profile(tmp_path, BASE), tmp_path).processors[0].load("cpu")
    weights.write_bytes(content[:-5])
    assert state(BASE, tmp_path, read=False) == "corrupt"
    weights.unlink()
    with pytest.raises(ModelUnavailable, match="holds no weights"):
        model_folder(str(tmp_path / MODEL), None)


def test_a_folder_of_ones_own_that_is_cut_off_is_told(hub: Hub, tmp_path: Path) -> None:
    for name, content in hub.repositories[MODEL].commits[ONE].items():
        if "/" not in name:
            (tmp_path / name).write_bytes(content[:-10] if name == WEIGHTS else content)
    with pytest.raises(ModelUnavailable, match=f"{WEIGHTS} cannot be read"):
        model_folder(str(tmp_path), None)
    (tmp_path / WEIGHTS).unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ModelUnavailable, match=r"pytorch_model\.bin cannot be read"):
        model_folder(str(tmp_path), None)


def test_the_hubs_own_cache_is_read_and_its_damage_found(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("config.json", "preprocessor_config.json", WEIGHTS):
        path = hf_hub_download(MODEL, name, revision=ONE, cache_dir=tmp_path, endpoint=hub.url)
    assert model_folder(MODEL, ONE) == Path(path).parent
    with pytest.raises(ModelUnavailable, match=f"of '{MODEL}' revision {ONE} is here, not {TWO}"):
        model_folder(MODEL, TWO)
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[:-1] + b"\xff")
    with pytest.raises(ModelUnavailable, match="another digest"):
        model_folder(MODEL, ONE)


def test_a_lock_that_is_none_is_told(tmp_path: Path) -> None:
    for content in ("no json", "[]", '{"version": 7, "models": {}}'):
        (tmp_path / LOCK_FILE).write_text(content)
        with pytest.raises(SettingsError, match=r"is no lock of models.*delete it"):
            ModelLock(tmp_path).models()


def url_line(hub: Hub, told_sha256: str | None) -> ModelLine:
    hub.repositories["files/of"] = Repository({ONE: {"net.onnx": bytes(range(200)) * 10}}, {})
    url = f"{hub.url}/files/of/resolve/{ONE}/net.onnx"
    return ModelLine("vision.siglip", url, None, None, told_sha256, ("*.onnx",), False)


def test_a_file_at_an_address_is_pulled_and_checked_by_the_profiles_digest(hub: Hub, tmp_path: Path) -> None:
    content = bytes(range(200)) * 10
    line = url_line(hub, sha256(content))
    hub.cut["net.onnx"] = [500, 700]
    assert pull(line, tmp_path, hub) is True
    assert hub.fetched == ["net.onnx 0", "net.onnx 500", "net.onnx 1200"]
    place = tmp_path / "127.0.0.1" / "files" / "of" / "resolve" / ONE / "net.onnx"
    assert model_file(str(place), None, "*.onnx").read_bytes() == content
    assert pull(line, tmp_path, hub) is False
    place.write_bytes(content[:-1] + b"x")
    with pytest.raises(ModelUnavailable, match="damaged"):
        model_file(str(place), None, "*.onnx")
    assert pull(line, tmp_path, hub) is True
    assert place.read_bytes() == content


def test_an_address_that_gives_something_else_is_refused(hub: Hub, tmp_path: Path) -> None:
    line = url_line(hub, "0" * 64)
    with pytest.raises(ModelUnavailable, match=f"came with SHA-256 .*, not {'0' * 64}"):
        pull(line, tmp_path, hub)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    with pytest.raises(ModelUnavailable, match="did not come: Client error '404"):
        pull(replace(line, model=f"{hub.url}/nothing"), tmp_path, hub)


def test_an_address_without_a_digest_is_pinned_by_its_first_pull(hub: Hub, tmp_path: Path) -> None:
    line = url_line(hub, None)
    pull(line, tmp_path, hub)
    next(tmp_path.rglob("net.onnx")).unlink()
    hub.spoil["net.onnx"] = b"changed"
    with pytest.raises(ModelUnavailable, match="came with SHA-256"):
        pull(line, tmp_path, hub)


def test_an_unfinished_file_that_is_whole_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    content = bytes(range(200)) * 10
    line = url_line(hub, sha256(content))
    place = tmp_path / "127.0.0.1" / "files" / "of" / "resolve" / ONE / "net.onnx"
    place.parent.mkdir(parents=True)
    place.with_name("net.onnx.part").write_bytes(content)
    assert pull(line, tmp_path, hub) is True
    assert hub.fetched == []


def test_a_folder_with_several_fitting_files_is_refused(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(ModelUnavailable, match=r"holds 2 files \*\.onnx, not one"):
        model_file(str(tmp_path), None, "*.onnx")
    assert model_file(str(tmp_path), None, "a.*") == tmp_path / "a.onnx"
