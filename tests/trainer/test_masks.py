"""Where people are weighs more: the weights lie where the people lie, sum up to nothing gained, and teach."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from store.errors import SettingsError
from tests.trainer.made_discs import COLOURS_RGB, made_clip, made_request, silent
from trainer.cutting import CutSettings, cut_clip
from trainer.dataset import PersonTrack, TrainingClip
from trainer.encoded import Kept
from trainer.families.base import Rules
from trainer.lora import prepare, train_lora
from trainer.masks import OUTSIDE, box_at, latent_weights, people_shown
from trainer.material import RunClips, gather
from trainer.opening import open_base
from trainer.settings import LoraSettings

SETTINGS = LoraSettings(steps=60, batch=8, resolution_px=32, per_clip=3, lr=1e-2, mask="people", control=False)
GREEN = np.array(COLOURS_RGB["green"])


def family(media: str, frame_axis: int = 2, **rules: object) -> SimpleNamespace:
    return SimpleNamespace(media=media, frame_axis=frame_axis, rules=Rules(**rules))


def person(number: int, n_frames: int = 4, size: tuple[int, int] = (48, 64), rate: float = 2.0) -> TrainingClip:
    """A green person who walks to the right over a red ground, and where they are."""
    height, width = size

    def frames(n: int, times_s: np.ndarray) -> np.ndarray:
        drawn = np.full((n, height, width, 3), COLOURS_RGB["red"], np.uint8)
        for frame, time_s in zip(drawn, times_s.tolist(), strict=True):
            left, top, right, bottom = (box_at(track, time_s) * [width, height, width, height]).round().astype(int)
            frame[top:bottom, left:right] = GREEN
        return drawn

    track = PersonTrack((0.0, 2.0), ((0.25, 0.25, 0.5, 0.75), (0.5, 0.25, 0.75, 0.75)))
    times_s = np.arange(n_frames) / rate
    return replace(
        made_clip(number, "red"),
        load_frames=lambda: frames(n_frames, times_s),
        load_times=lambda: times_s,
        load_video=lambda wanted: frames(round(2 * wanted), np.arange(round(2 * wanted)) / wanted),
        people=(track,),
        media=f"person {number}",
    )


@pytest.mark.parametrize("crop", ["square", "aspect"])
@pytest.mark.parametrize("size", [(48, 64), (120, 60), (31, 57)])
@pytest.mark.parametrize("media", ["picture", "video"])
def test_the_mask_covers_the_person_in_every_piece_and_nothing_else(media, size, crop):
    cut = CutSettings(resolution_px=48, crop=crop, per_clip=3, frames=9, duration_s=1)
    kind, clip = family(media, side_px=8, frame_step=4, frame_rate=8.0), person(0, size=size)
    pieces, masks = cut_clip(clip, kind, cut), cut_clip(people_shown(clip), kind, cut)
    assert masks.shape == pieces.shape
    is_green, is_red = (np.abs(pieces.astype(int) - COLOURS_RGB[colour]).max(-1) < 12 for colour in ("green", "red"))
    assert is_green.any()
    assert is_red.any()
    # What is nearer than 12 of the 160 steps between the colours is of one to more than 0.92.
    assert masks[is_green].min() > 0.92 * 255
    assert masks[is_red].max() < 0.08 * 255


def test_boxes_move_between_the_times_at_which_they_were_seen_and_end_soon_after():
    track = person(0).people[0]
    assert box_at(track, 1.0) == pytest.approx([0.375, 0.25, 0.625, 0.75])
    assert box_at(track, 2.4) == pytest.approx([0.5, 0.25, 0.75, 0.75])
    assert box_at(track, 2.6) is None


@pytest.mark.parametrize(
    ("media", "axis", "latents", "shape"),
    [
        ("picture", 2, (3, 4, 8, 8), (3, 1, 8, 8)),
        ("video", 2, (3, 16, 3, 8, 8), (3, 1, 3, 8, 8)),
        ("video", 1, (3, 3, 16, 8, 8), (3, 3, 1, 8, 8)),
        ("video", 1, (3, 4, 16, 8, 8), (3, 4, 1, 8, 8)),
    ],
    ids=["picture", "video", "frames first", "frames first, one more"],
)
def test_weights_are_of_the_latents_size_mean_one_and_higher_where_the_person_is(media, axis, latents, shape):
    cut = CutSettings(resolution_px=64, crop="square", per_clip=3, frames=9, duration_s=1)
    kind = family(media, axis, side_px=8, frame_step=4, frame_rate=8.0)
    weights = latent_weights(person(0), torch.zeros(latents), kind, cut)
    assert weights.shape == shape
    assert weights.flatten(1).mean(1).tolist() == pytest.approx([1.0] * 3)
    assert (weights.amin() / weights.amax()).item() == pytest.approx(OUTSIDE, rel=0.01)
    middles = weights.flatten(1, -3)[:, 0, 4].argmax(-1).tolist()
    assert middles == sorted(middles)
    assert middles[0] < middles[-1]


def test_each_latent_weighs_by_its_own_frames_where_a_step_of_frames_has_several():
    cut = CutSettings(resolution_px=64, crop="square", per_clip=1, frames=9, duration_s=1)
    kind = family("video", 1, side_px=8, frame_step=8, step_latents=2, frame_rate=8.0)
    weights = latent_weights(person(0), torch.zeros(1, 3, 16, 8, 8), kind, cut)[0, :, 0]
    columns = torch.arange(8.0)
    places = [((one - one.min()).sum(0) * columns).sum() / (one - one.min()).sum() for one in weights]
    assert places[0] < places[1] < places[2]


def test_a_clip_in_which_nobody_is_tracked_weighs_the_same_everywhere():
    cut = CutSettings(resolution_px=64, crop="square", per_clip=3, frames=9, duration_s=1)
    for clip in (made_clip(0, "red"), replace(person(0), load_times=lambda: np.arange(4) + 60.0)):
        weights = latent_weights(clip, torch.zeros(3, 4, 8, 8), family("picture", side_px=8), cut)
        assert weights.flatten().tolist() == pytest.approx([1.0] * 192)


def test_weights_are_kept_until_somebody_is_tracked_elsewhere(base, tmp_path):
    loaded, real = [], open_base(base, "cpu")
    clip = person(0)
    counted = replace(clip, load_frames=lambda: loaded.append(1) or clip.load_frames())
    kept, latents = Kept(tmp_path, base.id), torch.zeros(3, 4, 8, 8)
    first = kept.weights(counted, latents, real, SETTINGS.cut)
    assert torch.equal(kept.weights(counted, latents, real, SETTINGS.cut), first)
    assert len(loaded) == 1
    moved = replace(counted, people=(PersonTrack((0.0,), ((0.0, 0.0, 0.5, 0.5),)),))
    assert not torch.equal(kept.weights(moved, latents, real, SETTINGS.cut), first)
    assert len(loaded) == 2


def test_a_family_of_sound_refuses_the_mask(base, tmp_path):
    sounding = SimpleNamespace(media="sound", pipeline_class=type("StableAudioPipeline", (), {}))
    clips = RunClips([person(number) for number in range(9)], (), ())
    with pytest.raises(SettingsError, match=r"mask is 'people', and a StableAudioPipeline makes sound.*leave mask out"):
        gather(made_request(), clips, (), sounding, SETTINGS, Kept(tmp_path, base.id), silent)


def test_training_with_a_mask_learns_more_of_the_people_and_less_around_them(base, tmp_path):
    clips = RunClips([person(number) for number in range(9)], (), ())
    errors = {}
    for mask in ("none", "people"):
        settings = replace(SETTINGS, mask=mask)
        material = gather(made_request(), clips, (), open_base(base, "cpu"), settings, Kept(tmp_path, base.id), silent)
        student = prepare(open_base(base, "cpu"), settings, (), None)
        train_lora(student, material.encoded, material.shares, settings, silent)
        errors[mask] = squared_errors(student.family, material)
    inside, outside = errors["people"] / errors["none"]
    assert inside < 1.0 < outside


@torch.no_grad()
def squared_errors(family, material) -> np.ndarray:
    """Mean squared error where people are, and elsewhere, over many times and one noise."""
    encoded = material.encoded
    latents = torch.stack(encoded.latents)
    where = torch.stack([latent_weights(person(0), latents[:3], family, SETTINGS.cut)] * 9).flatten(0, 1)
    states = encoded.texts_at(encoded.text_rows[torch.from_numpy(encoded.clip_of), 0], torch.device("cpu"))
    sums = torch.zeros(2)
    for time in family.objective.spread_times(latents, 8):
        noise, times = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1)), time.expand(len(latents))
        predicted = family.predict(family.objective.noised(latents, noise, times), times, states)
        squared = (predicted - family.objective.target(latents, noise, times)).square()
        is_inside = (where > 1.0).expand_as(squared)
        sums += torch.stack([squared[is_inside].mean(), squared[~is_inside].mean()])
    return sums.numpy()
