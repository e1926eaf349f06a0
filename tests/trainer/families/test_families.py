"""What holds for every family, on a tiny base of its real classes with random weights.

A family is covered by a module in `tests/trainer/families/tiny` with: `PIPELINE` (class name), `build(folder)`,
`media()` (two samples), `TEXTS` (two), `HOW`, and the exact names of the modules that adapters are on:
`CROSS_ATTENTION`, and `CONDITIONING`, which come in addition; and `COMFYUI`: ComfyUI's layers in their stead, by its
own source, each with the modules that are its rows.
"""

import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.families import tiny
from trainer.adapters import adapted_modules, add_adapter, load_adapter, read_adapter, save_adapter, start_from
from trainer.bases import Base
from trainer.card import loading
from trainer.control import ControlProjector, load_control
from trainer.exports import export_adapter
from trainer.families.base import Family, Targets
from trainer.opening import known_families, open_base

NAMES = sorted(one.name for one in pkgutil.iter_modules(tiny.__path__) if one.name != "parts")


@pytest.fixture(scope="module", params=NAMES)
def example(request: pytest.FixtureRequest) -> ModuleType:
    """The module that tells of a tiny base."""
    return import_module(f"tests.trainer.families.tiny.{request.param}")


@pytest.fixture(scope="module")
def base(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """The saved base."""
    folder = tmp_path_factory.mktemp("base")
    example.build(folder)
    return Base.read(folder)


@pytest.fixture
def family(base: Base) -> Family:
    """The loaded base."""
    return open_base(base, "cpu")


class Batch:
    """The two samples, encoded, with noise and times."""

    def __init__(self, family: Family, example: ModuleType) -> None:
        self.family = family
        self.latents = family.encode_media(example.media())
        self.texts = family.encode_texts(example.TEXTS)
        self.noise = torch.randn(self.latents.shape, generator=torch.Generator().manual_seed(1))
        self.times = family.objective.spread_times(self.latents, 4)[1:3]

    def predict(self, family: Family | None = None) -> torch.Tensor:
        noised = self.family.objective.noised(self.latents, self.noise, self.times)
        with torch.no_grad():
            return (family or self.family).predict(noised, self.times, self.texts)

    def loss(self, temporal: float = 0.0) -> torch.Tensor:
        return self.family.loss(self.latents, self.noise, self.times, self.texts, temporal).mean()


def trained(batch: Batch, parameters: list[torch.nn.Parameter], steps: int = 12) -> list[float]:
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = batch.loss()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def test_every_family_has_a_tiny_base_that_covers_it():
    covered = {import_module(f"tests.trainer.families.tiny.{name}").PIPELINE for name in NAMES}
    assert covered == set(known_families())


def test_adapters_are_on_exactly_the_modules_that_the_family_means(family, example):
    assert sorted(family.target_modules()) == sorted(example.CROSS_ATTENTION)
    assert sorted(family.target_modules("conditioning")) == sorted([*example.CROSS_ATTENTION, *example.CONDITIONING])
    add_adapter(family, 2, 2, "conditioning", 0)
    assert sorted(adapted_modules(family)) == sorted([*example.CROSS_ATTENTION, *example.CONDITIONING])


def test_an_adapter_learns_and_the_base_stays_as_it_was(family, example):
    batch = Batch(family, example)
    before = {name: tensor.clone() for name, tensor in family.denoiser.state_dict().items()}
    untouched = batch.predict()
    parameters = add_adapter(family, 4, 4, "cross_attention", 0)
    assert torch.equal(batch.predict(), untouched)
    losses = trained(batch, parameters)
    assert losses[-1] < losses[0]
    after = {name.replace(".base_layer", ""): tensor for name, tensor in family.denoiser.state_dict().items()}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("targets", ["cross_attention", "conditioning"])
def test_an_adapter_file_gives_a_fresh_pipeline_the_same_output(family, base, example, targets, tmp_path):
    batch = Batch(family, example)
    trained(batch, add_adapter(family, 2, 6, targets, 0), steps=2)
    path = save_adapter(family, None, tmp_path, {"run_id": "r"})
    fresh = open_base(base, "cpu")
    assert not torch.equal(batch.predict(fresh), batch.predict())
    load_adapter(fresh, path)
    assert torch.equal(batch.predict(fresh), batch.predict())
    assert (read_adapter(path).rank, read_adapter(path).alpha, read_adapter(path).facts) == (2, 6, {"run_id": "r"})


@pytest.mark.parametrize("how", ["continue", "stack", "fuse"])
def test_a_warm_start_begins_where_its_parent_ended_and_one_file_holds_both(family, base, example, how, tmp_path):
    batch = Batch(family, example)
    trained(batch, add_adapter(family, 2, 2, "cross_attention", 0), steps=2)
    (tmp_path / "parent").mkdir()
    path = save_adapter(family, None, tmp_path / "parent", {})
    wanted = batch.predict()
    child = open_base(base, "cpu")
    batch.family = child
    parameters = add_adapter(child, 3, 3, "cross_attention", 1)
    beneath = start_from(child, path, how)
    assert torch.allclose(batch.predict(), wanted, atol=1e-5)
    assert sum(p.requires_grad for p in child.denoiser.parameters()) == len(parameters)
    trained(batch, parameters, steps=2)
    saved = save_adapter(child, beneath, tmp_path, {})
    assert read_adapter(saved).rank == (3 if how == "continue" else 5)
    fresh = open_base(base, "cpu")
    load_adapter(fresh, saved)
    assert not torch.allclose(batch.predict(), wanted, atol=1e-4)
    assert torch.allclose(batch.predict(fresh), batch.predict(), atol=1e-5)


def test_control_changes_nothing_at_first_and_can_be_learnt_and_loaded(family, base, example, tmp_path):
    batch = Batch(family, example)
    untouched = batch.predict()
    projector = ControlProjector(("arousal", "motion"), family.control_width, family.control_at)
    projector.attach(family.denoiser)
    values, present = torch.tensor([[0.5, 0.0], [-0.5, 0.2]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    with projector.steer_rows(values, present):
        assert torch.equal(batch.predict(), untouched)
        losses = trained(batch, list(projector.parameters()))
        assert losses[-1] < losses[0]
        steered = batch.predict()
    assert torch.equal(batch.predict(), untouched)
    with projector.steer_rows(values, torch.zeros(2, 2)):
        assert torch.equal(batch.predict(), untouched)
    projector.save(tmp_path)
    fresh = open_base(base, "cpu")
    with load_control(tmp_path, fresh.pipeline).steer_rows(values, present):
        assert torch.equal(batch.predict(fresh), steered)


def posed(family: Family) -> ControlProjector:
    """A projector of poses alone, attached, that adds to each token what is at its place."""
    torch.manual_seed(0)
    projector = ControlProjector((), family.control_width, family.control_at, pose=family.pose_projector())
    with torch.no_grad():
        for layer in (projector.pose.into, projector.pose.around):
            at_place = layer.weight[:, :, 1, 1].clone()
            layer.weight.zero_()[:, :, 1, 1] = at_place
    projector.attach(family.denoiser)
    return projector


def test_poses_change_nothing_at_first_or_where_there_is_none_and_can_be_learnt_and_loaded(
    family, base, example, tmp_path
):
    if family.pose_at is None:
        assert family.media == "sound"
        assert family.pose_projector() is None
        return
    batch, media = Batch(family, example), example.media()
    untouched, drawn = batch.predict(), family.generate(example.TEXTS, (3, 4), example.HOW)
    projector = posed(family)
    frames = torch.from_numpy(media).view(len(media), -1, *media.shape[-3:])
    nothing, rows = torch.zeros(2, 0), projector.pose.by_latent(frames)
    with projector.steer_rows(nothing, nothing, poses=(rows, torch.ones(2))):
        assert torch.equal(batch.predict(), untouched)
        losses = trained(batch, list(projector.parameters()))
        assert losses[-1] < losses[0]
        steered = batch.predict()
    assert torch.equal(batch.predict(), untouched)
    with projector.steer_rows(nothing, nothing, poses=(rows, torch.tensor([0.0, 1.0]))):
        first, second = batch.predict()
    assert torch.equal(first, untouched[0])
    assert torch.allclose(second, steered[1], atol=1e-6)
    projector.save(tmp_path)
    fresh = open_base(base, "cpu")
    loaded = load_control(tmp_path, fresh.pipeline)
    with loaded.steer_rows(nothing, nothing, poses=(rows, torch.ones(2))):
        assert torch.equal(batch.predict(fresh), steered)
    with loaded.steer(pose=media[0], strength=20.0):
        assert not np.array_equal(fresh.generate(example.TEXTS, (3, 4), example.HOW), drawn)
    assert np.array_equal(fresh.generate(example.TEXTS, (3, 4), example.HOW), drawn)


def test_a_pose_changes_what_is_at_its_place_and_at_its_time(family, example):
    if family.pose_at is None:
        return
    batch, projector = Batch(family, example), posed(family)
    torch.nn.init.normal_(projector.pose.out.weight, std=0.1)
    shape = example.media()[0].shape

    def moved(axis: int = 0, at: slice = slice(0, 0)) -> torch.Tensor:
        """How far white in this part of the frames moves the prediction from what it is for black ones."""
        frames = np.zeros(shape, np.uint8)
        with projector.steer(pose=frames):
            nobody = batch.predict()
        np.moveaxis(frames, axis, 0)[at] = 255
        with projector.steer(pose=frames):
            return (batch.predict() - nobody).square()

    assert moved().sum() == 0.0
    for axis in (-3, -2):  # Height and width, and then those of latents.
        middle = shape[axis] // 2
        if middle < family.rules.side_px:
            continue  # One token is as high as the picture.
        for part, is_second in ((slice(0, middle), 0), (slice(middle, None), 1)):
            halves = [half.sum() for half in moved(axis, part).chunk(2, dim=axis + 1)]
            assert halves[is_second] > 1.3 * halves[1 - is_second]
    if family.media == "video":
        of_latent = moved(0, slice(-1, None)).transpose(0, family.frame_axis).flatten(1).sum(1)
        assert of_latent.argmax() == len(of_latent) - 1


def test_training_draws_times_of_little_noise_and_of_much(family, example):
    objective = family.objective
    signal, noise = objective.scales(objective.spread_times(Batch(family, example).latents, 8))
    share = noise / (signal + noise)
    assert share.min() >= 0.0
    assert share.max() <= 1.0
    assert share.max() > 0.7
    assert share.max() - share.min() > 0.3  # Shifted times are mostly of much noise.


def test_it_draws_what_its_pipeline_draws_and_the_same_from_the_same_seeds(family, example):
    drawn = family.generate(example.TEXTS, (3, 4), example.HOW)
    assert (drawn.shape, drawn.dtype) == (example.media().shape, example.media().dtype)
    assert np.array_equal(drawn, family.generate(example.TEXTS, (3, 4), example.HOW))
    assert not np.array_equal(drawn[0], drawn[1])


def test_the_time_loss_asks_a_video_family_for_the_motion_of_the_footage(family, example):
    batch = Batch(family, example)
    with torch.no_grad():
        plain, more = batch.loss(), batch.loss(temporal=0.5)
    assert more > plain if family.media == "video" else more == plain


def strong_adapter(family: Family, targets: Targets, folder: Path) -> Path:
    """The file of an adapter that does much, of another alpha than its rank."""
    drawn = torch.Generator().manual_seed(0)
    for parameter in add_adapter(family, 2, 3, targets, 0):
        torch.nn.init.normal_(parameter, std=0.3, generator=drawn)
    return save_adapter(family, None, folder, {})


@pytest.mark.parametrize("example", ["audioldm2", "flux", "stable_audio"], indirect=True)
def test_the_lines_on_its_card_load_the_adapter(family, base, example, tmp_path):
    batch = Batch(family, example)
    strong_adapter(family, "cross_attention", tmp_path)
    told = {"pipeline": example.PIPELINE, "denoiser": family.denoiser_name, "channels": [], "pose": False}
    known = {"base_folder": base.folder, "folder": tmp_path}
    exec(loading(told), known)
    assert torch.allclose(batch.predict(type(family)(known["pipeline"])), batch.predict(), atol=1e-6)


def add_as_comfyui_does(denoiser: torch.nn.Module, path: Path, layers: dict[str, list[str]]) -> None:
    """Add what a file holds for each of ComfyUI's layers to the weights of the modules that are its rows."""
    tensors = load_file(path)
    for layer, modules in layers.items():
        alpha = tensors.pop(f"{layer}.alpha", None)
        up, down = ("lora_B", "lora_A") if alpha is None else ("lora_up", "lora_down")
        a, b = tensors.pop(f"{layer}.{down}.weight"), tensors.pop(f"{layer}.{up}.weight")
        change = b @ a if alpha is None else alpha / len(a) * b @ a
        weights = [denoiser.get_submodule(module).weight for module in modules]
        for weight, rows in zip(weights, change.split([len(weight) for weight in weights]), strict=True):
            weight.data += rows
    assert not tensors, "ComfyUI would pass over these"


def test_its_file_for_comfyui_does_what_the_adapter_does(family, base, example, tmp_path):
    if family.comfy is None:
        assert not example.COMFYUI
        return
    batch, fresh = Batch(family, example), open_base(base, "cpu")
    untouched = batch.predict()
    export = export_adapter(family.comfy, strong_adapter(family, "conditioning", tmp_path))
    assert export.difference < 2e-7
    add_as_comfyui_does(fresh.denoiser, export.path, example.COMFYUI)
    wanted = batch.predict()
    assert (wanted - untouched).abs().max() > 0.01
    assert torch.allclose(batch.predict(fresh), wanted, atol=1e-5)


@pytest.mark.parametrize("example", ["flux", "ltx", "sd", "sdxl", "wan"], indirect=True)
def test_diffusers_reads_its_file_for_comfyui_as_the_same_adapter(family, base, example, tmp_path):
    # diffusers has no name for LTX's time in other programs.
    targets = "cross_attention" if example.PIPELINE == "LTXPipeline" else "conditioning"
    batch, fresh = Batch(family, example), open_base(base, "cpu")
    export = export_adapter(family.comfy, strong_adapter(family, targets, tmp_path))
    load_adapter(fresh, export.path)
    assert len(adapted_modules(fresh)) == len(family.target_modules(targets))
    assert torch.allclose(batch.predict(fresh), batch.predict(), atol=1e-5)
