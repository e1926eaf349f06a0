"""The control projector, on a module that a person can compute by hand; see test_families for real denoisers."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import trainer.control
from trainer.control import ControlProjector, read_control


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


def test_its_file_stands_alone(tmp_path):
    alone = tmp_path / "cliploom_control.py"
    alone.write_text(Path(trainer.control.__file__).read_text())
    program = "import cliploom_control, sys; assert 'store' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path)
    assert run.returncode == 0
