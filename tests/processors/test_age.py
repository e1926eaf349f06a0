"""Ages: faces find their bodies, a doubtful look is no look, and the published weights would load by their names."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from processors.age.mivolo import ADULT_YEARS, Mivolo, probability_below
from processors.age.pairs import SMALLEST_BODY_PX, SMALLEST_FACE_PX, Person, Sight, paired, sights
from processors.age.volo import MiVolo, VoloSize
from processors.base import DecodedClip, Row, create_processor
from processors.engine import Engine
from store.errors import ModelUnavailable
from tests.processors.made_clips import make_clip

PUBLISHED = VoloSize(image_px=384, stem=64, layers=(4, 4, 8, 2), widths=(192, 384, 384, 384))
FRAME_WIDE, FRAME_HIGH = 384, 216


def track(
    number: int, left: int, top: int, right: int, bottom: int, times: tuple[float, ...] = (0.0,)
) -> dict[str, Any]:
    """A track that stays in its box, in pixels of a frame of 384 by 216."""
    box = [left / FRAME_WIDE, top / FRAME_HIGH, right / FRAME_WIDE, bottom / FRAME_HIGH]
    return {"track": number, "times_s": list(times), "boxes_xyxy": [box] * len(times), "scores": [0.9] * len(times)}


def clip_of(frame: np.ndarray | None = None, n_frames: int = 1) -> DecodedClip:
    grey = np.full((FRAME_HIGH, FRAME_WIDE, 3), 128, np.uint8) if frame is None else frame
    return make_clip(frames_rgb=np.stack([grey] * n_frames), duration_s=n_frames / 4.0)


def numbers(people: list[Person]) -> list[tuple[int | None, int | None]]:
    return [tuple(None if one is None else one["track"] for one in (p.face, p.body)) for p in people]  # type: ignore[misc]


# --- who is who --------------------------------------------------------------------------------------------------


def test_each_face_finds_the_body_that_it_lies_in() -> None:
    faces = [track(0, 250, 20, 290, 60), track(1, 50, 20, 90, 60)]
    bodies = [track(5, 30, 10, 110, 210), track(6, 230, 10, 310, 210)]
    assert numbers(paired(faces, bodies)) == [(0, 6), (1, 5)]


def test_of_two_bodies_that_hold_a_face_the_tighter_one_is_its_own() -> None:
    near, far = track(0, 0, 0, 384, 216), track(1, 180, 20, 240, 200)
    assert numbers(paired([track(0, 190, 30, 230, 70)], [near, far])) == [(0, 1), (None, 0)]


def test_two_faces_in_one_body_are_two_people() -> None:
    faces = [track(0, 100, 20, 140, 60), track(1, 300, 20, 340, 60)]
    assert numbers(paired(faces, [track(9, 80, 10, 160, 210)])) == [(0, 9), (1, None)]


def test_a_face_on_a_shirt_is_not_its_wearers() -> None:
    body = track(9, 80, 10, 200, 210)
    head, larger_print = track(0, 125, 20, 155, 60), track(1, 110, 90, 170, 150)
    assert numbers(paired([larger_print, head], [body])) == [(1, None), (0, 9)]


def test_a_face_beside_a_body_is_another_persons() -> None:
    assert numbers(paired([track(0, 10, 20, 50, 60)], [track(1, 45, 10, 120, 210)])) == [(0, None), (None, 1)]


def test_tracks_that_are_never_seen_together_are_not_compared() -> None:
    early, late = track(0, 100, 20, 140, 60, times=(0.0,)), track(1, 80, 10, 160, 210, times=(1.0,))
    assert numbers(paired([early], [late])) == [(0, None), (None, 1)]


def test_nobody_is_nobody() -> None:
    assert paired([], []) == []
    assert numbers(paired([], [track(4, 0, 0, 80, 200)])) == [(None, 4)]


# --- looks -------------------------------------------------------------------------------------------------------


def looks(
    face: Any, body: Any, faces: Any = None, bodies: Any = None, clip: DecodedClip | None = None, most: int = 3
) -> list[Sight]:
    seen = ([face] if face else []) if faces is None else faces, ([body] if body else []) if bodies is None else bodies
    return sights(Person(face, body), clip or clip_of(), *seen, most)


def test_a_look_holds_the_face_and_the_body_as_they_are() -> None:
    (look,) = looks(track(0, 100, 20, 140, 70), track(1, 80, 10, 180, 210))
    assert look.face_rgb is not None
    assert look.face_rgb.shape == (50, 40, 3)
    assert look.body_rgb is not None
    assert look.body_rgb.shape == (200, 100, 3)


def test_faces_are_blotted_out_of_bodies() -> None:
    (look,) = looks(track(0, 100, 20, 140, 70), track(1, 80, 10, 180, 210))
    assert look.body_rgb is not None
    assert look.body_rgb[10:60, 20:60].max() == 0
    assert look.body_rgb[70:].min() == 128


def test_another_body_is_blotted_out_to_the_edge_that_it_nearly_reaches() -> None:
    body, other = track(1, 100, 10, 200, 210), track(2, 160, 30, 300, 205)
    (look,) = looks(None, body, bodies=[body, other])
    assert look.body_rgb is not None
    assert look.body_rgb.shape == (200, 60, 3)
    assert look.body_rgb.min() == 128


def test_a_body_that_is_mostly_hidden_is_no_look() -> None:
    body, other = track(1, 100, 10, 200, 210), track(2, 110, 10, 300, 210)
    assert looks(None, body, bodies=[body, other]) == []


@pytest.mark.parametrize(("side", "n"), [(SMALLEST_FACE_PX, 1), (SMALLEST_FACE_PX - 1, 0)])
def test_a_face_that_is_too_small_is_no_look(side: int, n: int) -> None:
    assert len(looks(track(0, 10, 10, 10 + side, 60), None)) == n


@pytest.mark.parametrize(("side", "n"), [(SMALLEST_BODY_PX, 1), (SMALLEST_BODY_PX - 1, 0)])
def test_a_body_that_is_too_small_is_no_look(side: int, n: int) -> None:
    assert len(looks(None, track(0, 10, 10, 10 + side, 200))) == n


def test_a_small_face_leaves_the_body_to_look_at() -> None:
    (look,) = looks(track(0, 100, 20, 110, 30), track(1, 80, 10, 180, 210))
    assert look.face_rgb is None
    assert look.body_rgb is not None


def test_looks_are_spread_over_the_time() -> None:
    frames = np.stack([np.full((FRAME_HIGH, FRAME_WIDE, 3), 10 * i, np.uint8) for i in range(9)])
    clip = make_clip(frames_rgb=frames, duration_s=2.25)
    face = track(0, 100, 20, 140, 70, times=tuple(i / 4.0 for i in range(9)))
    found = looks(face, None, clip=clip)
    assert [int(look.face_rgb.mean()) for look in found if look.face_rgb is not None] == [0, 40, 80]


def test_a_time_of_which_there_is_no_frame_is_passed_over() -> None:
    assert looks(track(0, 100, 20, 140, 70, times=(0.1,)), None) == []


# --- the net -----------------------------------------------------------------------------------------------------


def test_the_net_has_the_names_and_the_size_of_the_published_weights() -> None:
    with torch.device("meta"):
        state = MiVolo(PUBLISHED).state_dict()
    assert VoloSize.of(state) == PUBLISHED
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes["pos_embed"] == (1, 24, 24, 384)
    assert shapes["patch_embed.conv2.6.weight"] == (64, 64, 3, 3)
    assert shapes["patch_embed.proj1.weight"] == (192, 64, 4, 4)
    assert shapes["patch_embed.map.qkv_p.weight"] == (576, 192, 1, 1)
    assert shapes["patch_embed.map.pos_embed.height_rel"] == (95, 192)
    assert shapes["patch_embed.map.norm.weight"] == (384, 48, 48)
    assert shapes["patch_embed.map.mlp.fc2.weight"] == (192, 768, 1, 1)
    assert shapes["network.3.7.attn.qkv.weight"] == (1152, 384)
    assert shapes["aux_head.weight"] == (3, 384)
    # The published file is said to have 28.8 M parameters, in 115 MB.
    assert round(sum(value.numel() for value in state.values()) * 4 / 1e6) == 115


def test_face_and_body_are_seen_by_their_own_parts(models_folder: Path) -> None:
    net = MiVolo(VoloSize(image_px=64, stem=8, layers=(1, 1, 1, 1), widths=(32, 64, 64, 64))).eval()
    face, body = torch.randn(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        right, swapped = (net(torch.cat(pair, dim=1)) for pair in ((face, body), (body, face)))
    assert right.shape == (1, 3)
    assert not torch.allclose(right, swapped)


# --- the processor -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mivolo(models_folder: Path) -> Mivolo:
    processor: Any = create_processor("age.mivolo", {"model": str(models_folder / "tiny" / "mivolo")})
    processor.load("cpu")
    return processor


def aged(mivolo: Mivolo, clip: DecodedClip, **columns: Any) -> Row:
    (row,) = mivolo.process([clip], [columns])
    assert isinstance(row, dict)
    return row


FACE, BODY = track(3, 100, 20, 140, 70), track(8, 80, 10, 180, 210)


def test_a_person_is_told_once_by_face_and_body(mivolo: Mivolo) -> None:
    row = aged(mivolo, clip_of(), face_tracks=[FACE], people_tracks=[BODY])
    (told,) = row["age_tracks"]
    assert (told["track"], told["person"], told["n_sights"]) == (3, 8, 1)
    assert told["std_years"] == pytest.approx(3.65 * math.sqrt(math.pi / 2))
    assert told["p_minor"] == row["minor_probability"] == probability_below(18.0, told["mean_years"], told["std_years"])
    assert 0.0 <= told["p_female"] <= 1.0
    assert row["age_unassessed"] == 0


def test_a_body_alone_is_less_sure_than_a_face(mivolo: Mivolo) -> None:
    face = aged(mivolo, clip_of(), face_tracks=[FACE], people_tracks=[])["age_tracks"][0]
    body = aged(mivolo, clip_of(), face_tracks=[], people_tracks=[BODY])["age_tracks"][0]
    assert (face["person"], body["track"]) == (None, None)
    assert body["std_years"] > 1.5 * face["std_years"]


def test_looks_that_differ_make_the_age_less_sure(mivolo: Mivolo) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (FRAME_HIGH, FRAME_WIDE, 3), dtype=np.uint8)
    frames = np.stack([noise, 255 - noise, np.zeros_like(noise)])
    clip = make_clip(frames_rgb=frames, duration_s=0.75)
    face = track(3, 100, 20, 140, 70, times=(0.0, 0.25, 0.5))
    (told,) = aged(mivolo, clip, face_tracks=[face], people_tracks=[])["age_tracks"]
    assert told["n_sights"] == 3
    assert told["std_years"] > 3.65 * math.sqrt(math.pi / 2)


def test_who_cannot_be_assessed_is_counted(mivolo: Mivolo) -> None:
    tiny_face, thin_body = track(1, 300, 20, 310, 30), track(2, 350, 10, 380, 210)
    row = aged(mivolo, clip_of(), face_tracks=[FACE, tiny_face], people_tracks=[BODY, thin_body])
    assert len(row["age_tracks"]) == 1
    assert row["age_unassessed"] == 2


def test_nobody_seen_is_nobody_left_over(mivolo: Mivolo) -> None:
    row = aged(mivolo, clip_of(), face_tracks=[], people_tracks=[])
    assert row == {"age_tracks": [], "minor_probability": None, "age_unassessed": 0}


@pytest.mark.parametrize("unknown", [{"face_tracks": None}, {"people_tracks": None}])
def test_what_was_not_looked_for_is_not_said_to_be_assessed(mivolo: Mivolo, unknown: dict[str, Any]) -> None:
    row = aged(mivolo, clip_of(), **({"face_tracks": [FACE], "people_tracks": [BODY]} | unknown))
    assert row["age_unassessed"] is None
    assert len(row["age_tracks"]) == 1
    nothing = aged(mivolo, clip_of(), **({"face_tracks": [], "people_tracks": []} | unknown))
    assert nothing == {"age_tracks": None, "minor_probability": None, "age_unassessed": None}


def test_company_in_the_clip_changes_nobodys_age(mivolo: Mivolo) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (FRAME_HIGH, FRAME_WIDE, 3), dtype=np.uint8)
    others = [track(i, 5 + 30 * i, 150, 35 + 30 * i, 190) for i in range(7)]
    alone = aged(mivolo, clip_of(noise), face_tracks=[FACE], people_tracks=[])["age_tracks"][0]
    among = aged(mivolo, clip_of(noise), face_tracks=[*others, FACE], people_tracks=[])["age_tracks"][-1]
    assert among["track"] == alone["track"] == 3
    assert among["mean_years"] == pytest.approx(alone["mean_years"], abs=1e-3)


def test_a_missing_picture_is_black_as_in_training(mivolo: Mivolo) -> None:
    np.testing.assert_array_equal(mivolo._pixels(None), mivolo._pixels(np.zeros((30, 60, 3), np.uint8)))


def test_pictures_are_fitted_whole_into_the_middle(mivolo: Mivolo) -> None:
    pixels = mivolo._pixels(np.full((30, 60, 3), 255, np.uint8))
    assert pixels.shape == (3, 64, 64)
    white = pixels[0] > 2.0
    assert white[16:48].all()
    assert not white[:16].any()
    assert not white[48:].any()


@pytest.mark.parametrize(("years", "low", "high"), [(18.0, 0.5, 0.5), (10.0, 0.95, 0.97), (25.5, 0.04, 0.06)])
def test_probabilities_are_those_of_a_normal_distribution(years: float, low: float, high: float) -> None:
    assert low <= probability_below(ADULT_YEARS, years, 4.57) <= high


def changed_model(models_folder: Path, folder: Path, change: str) -> Path:
    """The tiny model with something wrong about it."""
    config = json.loads((models_folder / "tiny" / "mivolo" / "config.json").read_text())
    state = load_file(models_folder / "tiny" / "mivolo" / "model.safetensors")
    name = "mivolo.model.head.bias"
    if change == "missing":
        del state[name]
    if change == "unexpected":
        state["mivolo.model.extra"] = torch.zeros(1)
    if change == "shape":
        state[name] = torch.zeros(9)
    if change == "other":
        state = {"weight": torch.zeros(1)}
    if change == "range":
        del config["avg_age"]
    (folder / "config.json").write_text(json.dumps(config))
    save_file(state, folder / "model.safetensors")
    if change == "cut":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    return folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("missing", 'Missing key.*"head.bias"'),
        ("unexpected", 'Unexpected key.*"extra"'),
        ("shape", "size mismatch for head.bias"),
        ("other", "are not MiVOLO v2's: there is no 'pos_embed'"),
        ("range", "are not MiVOLO v2's: there is no 'avg_age'"),
        ("cut", "is damaged: model.safetensors cannot be read"),
    ],
)
def test_weights_of_another_model_are_told(change: str, told: str, models_folder: Path, tmp_path: Path) -> None:
    processor = create_processor("age.mivolo", {"model": str(changed_model(models_folder, tmp_path, change))})
    with pytest.raises(ModelUnavailable, match=told):
        processor.load("cpu")


def test_the_engine_gives_ages_of_the_faces_that_it_finds(engine: Engine, clips: dict[str, DecodedClip]) -> None:
    values = engine.run([clips["normal"]])[0].values
    with_a_face = [one["track"] for one in values["age_tracks"] if one["track"] is not None]
    assert with_a_face == [one["track"] for one in values["face_tracks"]]
    assert 0.0 < values["minor_probability"] <= 1.0
