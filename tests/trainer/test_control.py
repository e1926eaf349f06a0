"""The control projector, on a module that a person can compute by hand; see test_families for real denoisers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import trainer.control
import trainer.skeletons
from trainer.control import ControlProjector, PoseProjector, read_control


@pytest.fixture
def projector() -> ControlProjector:
    """Two channels, and weights that do something."""
    torch.manual_seed(0)
    made = ControlProjector(("arousal", "motion"), 3, "embed", hidden=8)
    nn.init.normal_(made.out.weight)
    return made


class Denoiser(nn.Module):
    """Embeds nothing as zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 3)
        nn.init.zeros_(self.embed.weight)
        nn.init.zeros_(self.embed.bias)

    def forward(self, n: int) -> torch.Tensor:
        return self.embed(torch.zeros(n, 1))


def test_named_channels_steer_by_their_strength_and_absent_ones_do_nothing(projector):
    denoiser = Denoiser()
    projector.attach(denoiser)
    with projector.steer(arousal=0.5):
        once = denoiser(1)
    with projector.steer(arousal=0.5, strength=2.0):
        twice = denoiser(1)
    with projector.steer():
        assert torch.equal(denoiser(1), torch.zeros(1, 3))
    assert once.abs().max() > 0.01
    assert torch.allclose(twice, 2 * once)
    assert torch.equal(denoiser(1), torch.zeros(1, 3))


def test_a_guided_batch_gets_every_row_twice_and_one_row_steers_all(projector):
    denoiser = Denoiser()
    projector.attach(denoiser)
    values = torch.tensor([[0.5, 0.0], [-0.5, 1.0]])
    with projector.steer_rows(values, torch.ones(2, 2)):
        rows, guided = denoiser(2), denoiser(4)
        with pytest.raises(ValueError, match="2 rows of control for a batch of 3"):
            denoiser(3)
    assert torch.equal(guided, torch.cat([rows, rows]))
    with projector.steer(arousal=0.5, motion=0.0):
        assert torch.allclose(denoiser(3), rows[:1].expand(3, 3))


def test_an_unknown_channel_is_refused(projector):
    with pytest.raises(ValueError, match="channels joy are not known; known: arousal, motion"), projector.steer(joy=1):
        pass


def test_a_projector_takes_over_its_parent_and_new_channels_do_nothing_yet(projector):
    child = ControlProjector(("motion", "joy", "arousal"), 3, "embed", hidden=8)
    child.take_over(projector)
    values, present = torch.tensor([[0.3, -0.7]]), torch.ones(1, 2)
    more = torch.tensor([[-0.7, 0.9, 0.3]])
    assert torch.allclose(child(more, torch.ones(1, 3)), projector(values, present), atol=1e-6)
    with pytest.raises(ValueError, match="cannot become"):
        projector.take_over(child)


def test_a_file_holds_all_of_it_and_another_file_is_refused(projector, tmp_path):
    path = projector.save(tmp_path)
    read = read_control(path)
    given = (torch.tensor([[0.1, 0.2]]), torch.ones(1, 2))
    assert (read.names, read.module) == (projector.names, "embed")
    assert torch.equal(read(*given), projector(*given))
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="is no control projector"):
        read_control(tmp_path / "other.safetensors")


@pytest.mark.parametrize("module", [trainer.control, trainer.skeletons], ids=["control", "skeletons"])
def test_its_file_stands_alone(module, tmp_path):
    (tmp_path / "alone.py").write_text(Path(module.__file__).read_text())
    program = "import alone, sys; assert 'store' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path)
    assert run.returncode == 0


def posing(names: tuple[str, ...] = (), **settings: int) -> ControlProjector:
    """A projector with poses that do something."""
    torch.manual_seed(1)
    made = ControlProjector(names, 3, "embed", hidden=8, pose=PoseProjector(5, "tokens", **settings))
    nn.init.normal_(made.pose.out.weight)
    return made


class Tokens(nn.Module):
    """A denoiser whose tokens are zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.tokens = nn.Identity(), nn.Identity()

    def forward(self, *shape: int) -> torch.Tensor:
        return self.tokens(torch.zeros(shape))


FRAMES = np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), dtype=np.uint8)


def test_tokens_in_a_row_are_those_of_a_grid_and_a_guided_batch_gets_every_pose_twice():
    projector, denoiser = posing(latent_frames=4), Tokens()
    projector.attach(denoiser)
    rows = torch.cat(
        [projector.pose.by_latent(torch.from_numpy(one)) for one in (FRAMES[None], FRAMES[None, ::-1].copy())]
    )
    absent = torch.zeros(2, 0)
    with projector.steer_rows(absent, absent, poses=(rows, torch.ones(2))):
        grid = denoiser(2, 5, 3, 4, 6)
        assert torch.equal(denoiser(2, 3 * 4 * 6, 5), grid.flatten(2).transpose(1, 2))
        assert torch.equal(denoiser(2 * 3, 5, 4, 6), grid.transpose(1, 2).flatten(0, 1))
        assert torch.equal(denoiser(4, 5, 3, 4, 6), torch.cat([grid, grid]))
        with pytest.raises(ValueError, match="2 poses for a batch of 3"):
            denoiser(3, 5, 3, 4, 6)
    with projector.steer(pose=FRAMES, strength=2.0):
        assert torch.allclose(denoiser(1, 5, 3, 4, 6), 2 * grid[:1])
    assert not denoiser(1, 5, 3, 4, 6).any()


def test_latents_that_are_tokens_in_pairs_begin_with_the_first_frame_twice():
    projector = posing(latent_frames=4, token_latents=2)
    rows = projector.pose.by_latent(torch.from_numpy(FRAMES)[None])
    assert rows.shape == (1, 3, 4, 32, 48)
    assert torch.equal(rows[:, :, 0], rows[:, :, 1])
    assert torch.allclose(rows[0, :, 3], torch.from_numpy(FRAMES[5:]).float().mean(0).permute(2, 0, 1))
    denoiser = Tokens()
    projector.attach(denoiser)
    with projector.steer(pose=FRAMES):
        assert denoiser(1, 2 * 4 * 6, 5).any()


def test_nobody_is_something_else_than_no_pose():
    projector, denoiser = posing(), Tokens()
    projector.attach(denoiser)
    with projector.steer(pose=np.zeros((32, 48, 3), np.uint8)):
        assert denoiser(1, 5, 4, 6).any()
    with projector.steer():
        assert not denoiser(1, 5, 4, 6).any()


@pytest.mark.parametrize(
    ("pose", "shape", "told"),
    [
        (
            FRAMES[0].astype(np.float32),
            (1, 24, 5),
            r"pose of shape \[32, 48, 3\] and type torch.float32; expected uint8",
        ),
        (FRAMES[:8], (1, 72, 5), "a pose of 8 frames; a video has a multiple of 4 and one more"),
        (FRAMES[0], (1, 5, 6, 6), "1 latents of 48 x 32 px does not fit what is drawn"),
        (FRAMES[0], (1, 25, 5), "1 latents of 48 x 32 px does not fit what is drawn"),
        (FRAMES, (1, 5, 2, 4, 6), "3 latents of 48 x 32 px does not fit what is drawn"),
    ],
    ids=["numbers", "length", "shape", "row", "frames"],
)
def test_a_pose_that_does_not_fit_is_refused(pose, shape, told):
    projector, denoiser = posing(latent_frames=4), Tokens()
    projector.attach(denoiser)
    with pytest.raises(ValueError, match=told), projector.steer(pose=pose):
        denoiser(*shape)


def test_poses_are_taken_over_begin_at_nothing_or_are_left_behind(projector):
    parent, child = posing(("arousal",)), posing(("motion", "arousal"))
    torch.nn.init.zeros_(child.pose.out.weight)
    fresh = child.pose.into.weight.clone()
    child.take_over(projector)
    assert not child.pose.out.weight.any()
    assert torch.equal(child.pose.into.weight, fresh)
    child.take_over(parent)
    assert all(
        torch.equal(one, other) for one, other in zip(child.pose.parameters(), parent.pose.parameters(), strict=True)
    )
    child.take_over(posing())
    plain = ControlProjector(("arousal",), 3, "embed", hidden=8)
    plain.take_over(parent)
    assert plain.pose is None
    with pytest.raises(ValueError, match="cannot become"):
        child.take_over(posing(latent_frames=4))


@pytest.mark.parametrize("names", [(), ("arousal",)])
def test_a_file_holds_poses_exactly_and_one_from_before_them_still_loads(names, projector, tmp_path):
    made = posing(names, latent_frames=4)
    read = read_control(made.save(tmp_path))
    assert (read.names, read.pose.facts) == (names, made.pose.facts)
    assert read.state_dict().keys() == made.state_dict().keys()
    assert all(torch.equal(read.state_dict()[name], tensor) for name, tensor in made.state_dict().items())
    path = projector.save(tmp_path)
    facts = {"names": projector.names, "module": "embed", "width": 3, "hidden": 8}
    save_file(load_file(path), path, metadata={"cliploom_control": json.dumps(facts)})
    old = read_control(path)
    assert old.pose is None
    with pytest.raises(ValueError, match="trained without poses"), old.steer(pose=FRAMES[0]):
        pass
