"""Poses: they lie where the people lie, tell nobody from nothing known, and teach; see test_control and test_families
for what adds them."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import processors.skeleton
from store.errors import SettingsError
from tests.trainer.made_discs import made_clip, made_request, silent
from tests.trainer.made_people import BODY_RGB, GROUND_RGB, person_at, posed_clip
from trainer.control import ControlProjector, PoseProjector
from trainer.crew import Crew
from trainer.cutting import CutSettings, cut_clip
from trainer.dataset import PoseTrack
from trainer.encoded import Encoded, Kept
from trainer.families.base import Rules
from trainer.loop import Checkpoints
from trainer.lora import Student, fixed_losses, prepare, train_lora
from trainer.material import Material, RunClips, gather
from trainer.opening import open_base
from trainer.poses import points_at, pose_rows, poses_shown
from trainer.settings import LoraSettings
from trainer.skeletons import COLOURS_RGB, LEAST_SCORE, LIMBS, draw_people

SETTINGS = LoraSettings(steps=60, batch=8, resolution_px=32, per_clip=3, lr=1e-2, pose=True, control=False)
WALKING = PoseTrack((0.0, 2.0), (person_at(0.3, 0.5, 0.3, 0.15), person_at(0.7, 0.5, 0.3, 0.15)))


def family(media: str, frame_axis: int = 2, **rules: object) -> SimpleNamespace:
    return SimpleNamespace(media=media, frame_axis=frame_axis, rules=Rules(**rules))


@pytest.mark.parametrize("crop", ["square", "aspect"])
@pytest.mark.parametrize("size", [(96, 128), (120, 60), (61, 113)])
@pytest.mark.parametrize("media", ["picture", "video"])
def test_skeletons_lie_where_the_person_lies_in_every_piece_and_fill_their_box(media, size, crop):
    cut = CutSettings(resolution_px=48, crop=crop, per_clip=3, frames=9, duration_s=1)
    kind, clip = family(media, side_px=8, frame_step=4, frame_rate=8.0), posed_clip(0, WALKING, size)
    pieces, poses = cut_clip(clip, kind, cut), cut_clip(poses_shown(clip), kind, cut)
    assert poses.shape == pieces.shape
    is_body = np.abs(pieces.astype(int) - BODY_RGB).max(-1) < np.abs(pieces.astype(int) - GROUND_RGB).max(-1)
    is_limb = poses.max(-1) > 40
    for body, limbs in zip(
        is_body.reshape(-1, *is_body.shape[-2:]), is_limb.reshape(-1, *is_limb.shape[-2:]), strict=True
    ):
        for axis in (0, 1):
            ends, own = (np.flatnonzero(one.any(axis=axis))[[0, -1]] for one in (body, limbs))
            assert np.abs(ends - own).max() <= 2


def test_points_move_between_sights_and_those_that_are_not_seen_are_not_drawn():
    assert points_at(WALKING, 1.0) == pytest.approx(np.array(person_at(0.5, 0.5, 0.3, 0.15)))
    assert points_at(WALKING, 2.4) == pytest.approx(np.array(person_at(0.7, 0.5, 0.3, 0.15)))
    assert points_at(WALKING, 2.6) is None
    hidden = [(*point[:2], 0.1) if number == 9 else point for number, point in enumerate(WALKING.keypoints[1])]
    track = PoseTrack((0.0, 2.0), (WALKING.keypoints[0], tuple(hidden)))
    wrist = [points_at(track, time_s)[9] for time_s in (0.9, 1.1)]
    assert wrist[0] == pytest.approx(WALKING.keypoints[0][9])
    assert wrist[1][2] < LEAST_SCORE
    shown, unshown = (draw_people(points_at(track, time_s)[None], 200, 300) for time_s in (0.9, 1.1))
    forearm = COLOURS_RGB[LIMBS.index((7, 9))]
    assert (shown == forearm).all(-1).any()
    assert not (unshown == forearm).all(-1).any()
    assert LEAST_SCORE == processors.skeleton.LEAST_SCORE


def test_each_limb_is_drawn_in_its_own_colour_and_nobody_is_black():
    drawn = draw_people(np.array([person_at(0.5, 0.5, 0.4, 0.3)]), 400, 400)
    found = {tuple(colour) for colour in drawn.reshape(-1, 3).tolist()}
    assert found == {(0, 0, 0), *COLOURS_RGB}
    assert len(set(COLOURS_RGB)) == len(LIMBS) == 17
    assert not draw_people(np.zeros((0, 17, 3)), 40, 60).any()


@pytest.mark.parametrize(
    ("media", "axis", "latents", "shape"),
    [
        ("picture", 2, (3, 4, 8, 8), (3, 3, 1, 16, 16)),
        ("video", 2, (3, 16, 3, 8, 8), (3, 3, 3, 16, 16)),
        ("video", 1, (3, 4, 16, 8, 8), (3, 3, 4, 16, 16)),
    ],
    ids=["picture", "video", "frames first, one more"],
)
def test_what_is_kept_of_poses_is_twice_the_latents_size_and_moves_with_the_person(media, axis, latents, shape):
    cut = CutSettings(resolution_px=64, crop="square", per_clip=3, frames=9, duration_s=1)
    kind = family(media, axis, side_px=8, frame_step=4, frame_rate=8.0)
    clip = posed_clip(0, WALKING, (96, 128))
    rows = pose_rows(clip, torch.zeros(latents), kind, cut)
    assert (rows.shape, rows.dtype) == (shape, torch.uint8)
    weight = rows.sum((1, 3)).double()  # [N, T, 2w]
    places = (weight * torch.arange(shape[-1])).sum(-1) / weight.sum(-1)
    for moving in (places[:, 0].tolist(), places[0, -3:].tolist()):
        assert moving == sorted(moving)
    assert places[-1, -1] > places[0, 0] + 2
    for nobody in (replace(clip, poses=()), replace(clip, poses=None)):
        black = pose_rows(nobody, torch.zeros(latents), kind, cut)
        assert (black.shape, black.any()) == (shape, False)


def standing(number: int):
    """Someone stands somewhere, at the same size."""
    x, y = np.random.default_rng(number).uniform(0.3, 0.7, 2)
    return posed_clip(number, PoseTrack((0.0,), (person_at(x, y, 0.25, 0.12),)))


def gathered(base, folder, clips, settings=SETTINGS) -> Material:
    kept = Kept(folder, base.id)
    return gather(made_request(), RunClips(clips, (), ()), (), open_base(base, "cpu"), settings, kept, silent)


@pytest.fixture(scope="module")
def material(base, tmp_path_factory) -> Material:
    """Thirteen people, a place without any, and a clip that nobody looked for people in."""
    clips = [standing(number) for number in range(20, 33)]
    clips += [replace(made_clip(40, "red"), poses=()), replace(made_clip(41, "blue"), poses=None)]
    return gathered(base, tmp_path_factory.mktemp("kept"), clips)


def student_of(base, material, settings=SETTINGS) -> Student:
    return prepare(open_base(base, "cpu"), settings, material.channels, None)


def test_a_clip_without_poses_is_told_from_one_in_which_nobody_is(material, tmp_path):
    rows = [int(np.flatnonzero(material.encoded.clip_of == clip)[0]) for clip in (0, 13, 14)]
    poses, present = material.encoded.poses_at(rows)
    assert poses.flatten(1).any(1).tolist() == [True, False, False]
    assert present.tolist() == [1.0, 1.0, 0.0]
    material.encoded.write(tmp_path / "encoded.pt")
    again, also = Encoded.read(tmp_path / "encoded.pt").poses_at(rows)
    assert torch.equal(again, poses)
    assert torch.equal(also, present)


def test_training_with_poses_learns_what_they_tell(base, material):
    settings = replace(SETTINGS, steps=80)
    student = student_of(base, material, settings)
    rows = [row for row in material.held_out if material.encoded.posed[material.encoded.clip_of[row]]]
    before = [fixed_losses(student, material.encoded, rows, with_poses).mean() for with_poses in (False, True)]
    assert before[0] == before[1]
    train_lora(student, material.encoded, material.shares, settings, silent)
    without, with_poses = (fixed_losses(student, material.encoded, rows, one).mean() for one in (False, True))
    assert with_poses < 0.97 * without


def test_a_run_with_poses_that_is_killed_ends_with_the_same_bits(base, material, tmp_path):
    settings = replace(SETTINGS, steps=12, batch=4)

    class Killed(Exception):
        """The process is gone."""

    def kill(*_: object) -> None:
        raise Killed

    def trained(progress=silent, checkpoints=None) -> list[torch.Tensor]:
        student = student_of(base, material, settings)
        train_lora(student, material.encoded, material.shares, settings, progress, checkpoints)
        return [parameter.detach() for parameter in student.parameters]

    wanted, path = trained(), tmp_path / "state.pt"
    with pytest.raises(Killed):
        trained(kill, Checkpoints(path, "r", 0.0))
    again = trained(checkpoints=Checkpoints(path, "r"))
    assert all(torch.equal(one, other) for one, other in zip(again, wanted, strict=True))
    assert wanted[-1].any()


class Noting(PoseProjector):
    """One that notes which poses it was asked for."""

    def forward(self, poses: torch.Tensor, present: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
        self.asked = [*getattr(self, "asked", []), (poses.clone(), present.clone())]
        return super().forward(poses, present, grid)


class Alone(Crew):
    """A process that hears nothing of the others."""

    def average(self, parameters: Sequence[torch.nn.Parameter], loss: float) -> float:
        return loss


def asked_in_training(base, material, crew: Crew, **changes: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Poses and presence of all samples of a run, one after the other."""
    settings = replace(SETTINGS, control_dropout=0.3, **changes)
    family = open_base(base, "cpu")
    projector = Noting(len(family.denoiser.conv_in.weight), "conv_in")
    control = ControlProjector((), family.control_width, family.control_at, pose=projector)
    control.attach(family.denoiser)
    student = Student(family, tuple(control.parameters()), None, control)
    shares = np.where(material.encoded.posed[material.encoded.clip_of], material.shares, 0.0)
    train_lora(student, material.encoded, shares / shares.sum(), settings, silent, None, crew)
    return torch.cat([one[0] for one in projector.asked]), torch.cat([one[1] for one in projector.asked])


def test_poses_are_dropped_as_often_as_channels_are(base, material):
    _, present = asked_in_training(base, material, Crew(), steps=40)
    assert present.mean().item() == pytest.approx(0.7 * 0.7, abs=0.09)


def test_each_process_of_a_crew_is_steered_by_the_poses_of_its_own_part(base, material):
    wanted = asked_in_training(base, material, Crew(), steps=1)
    parts = [asked_in_training(base, material, Alone(rank, 2), steps=1) for rank in range(2)]
    for one, *own in zip(wanted, *parts, strict=True):
        assert torch.equal(torch.cat(own), one)
    assert 0.0 < wanted[1].mean() < 1.0


def test_poses_are_kept_until_somebody_stands_elsewhere(base, tmp_path):
    loaded, real, clip = [], open_base(base, "cpu"), standing(0)
    counted = replace(clip, load_frames=lambda: loaded.append(1) or clip.load_frames())
    kept, latents = Kept(tmp_path, base.id), torch.zeros(3, 4, 8, 8)
    first = kept.poses(counted, latents, real, SETTINGS.cut)
    assert torch.equal(kept.poses(counted, latents, real, SETTINGS.cut), first)
    assert len(loaded) == 1
    moved = replace(counted, poses=(PoseTrack((0.0,), (person_at(0.5, 0.5, 0.4, 0.3),)),))
    assert not torch.equal(kept.poses(moved, latents, real, SETTINGS.cut), first)


def test_a_family_of_sound_and_clips_without_any_pose_are_refused(base, tmp_path):
    sounding = SimpleNamespace(media="sound", pose_at=None, pipeline_class=type("StableAudioPipeline", (), {}))
    clips = RunClips([standing(number) for number in range(9)], (), ())
    with pytest.raises(SettingsError, match=r"pose is true, and a StableAudioPipeline makes sound.*leave pose out"):
        gather(made_request(), clips, (), sounding, SETTINGS, Kept(tmp_path, base.id), silent)
    unposed = [replace(made_clip(number, "red"), poses=() if number else None) for number in range(9)]
    with pytest.raises(
        SettingsError, match=r"of the 9 clips of run run-1 none has a pose; annotate them with a profile"
    ):
        gathered(base, tmp_path, unposed)
