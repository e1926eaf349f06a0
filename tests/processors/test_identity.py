"""What faces and clothes are told apart by, how good a face is, and people who come again in recorded footage."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from processors.base import DecodedClip, Row, create_processor
from processors.engine import Engine, thinned
from processors.identity.body import describe, torso_of
from processors.identity.faces import MOST_FACES
from processors.identity.mobileface import TEMPLATE_PX, similarity
from processors.identity.quality import face_quality, yaw_degrees
from processors.profile import create_profile
from store.errors import ModelUnavailable
from store.identities import Gallery, Space, link
from store.linking import faces_of
from tests.processors.made_clips import MEDIA, face_frames, make_clip, seen

WEIGHTS = MEDIA / "weights" / "MobileFaceNet.onnx"
needs_media = pytest.mark.skipif(not WEIGHTS.exists(), reason="needs ../shared/media (footage and MobileFaceNet)")

# Measured by eye on the portrait: see `face_frames`.
BOX = np.array([0.41 * 216 / 384, 0.15, 0.60 * 216 / 384, 0.41])
FRONTAL = np.array([[40.0, 50.0], [80.0, 50.0], [60.0, 75.0], [45.0, 95.0], [75.0, 95.0]])


def landmarks(box: np.ndarray) -> np.ndarray:
    """Those of a frontal face in a box."""
    return box[:2] + (FRONTAL / 120.0) * (box[2:] - box[:2])


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return face_frames(1)[0]


def test_a_sharp_large_frontal_face_is_of_full_value(astronaut: np.ndarray) -> None:
    quality = face_quality(astronaut, BOX, landmarks(BOX), 0.9999)
    assert (quality.sharp, quality.visible) == (1.0, 1.0)
    assert quality.frontal == pytest.approx(1.0, abs=0.01)
    assert quality.value > 0.8


def test_blur_lowers_it(astronaut: np.ndarray) -> None:
    values = [
        face_quality(cv2.GaussianBlur(astronaut, (0, 0), sigma) if sigma else astronaut, BOX, landmarks(BOX), 1.0).sharp
        for sigma in (0.0, 1.5, 3.0)
    ]
    assert values[0] > values[1] > values[2]


def test_a_small_face_a_doubted_one_and_one_that_the_frame_cuts_are_worth_less(astronaut: np.ndarray) -> None:
    whole = face_quality(astronaut, BOX, landmarks(BOX), 1.0)
    small = cv2.resize(astronaut, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    assert face_quality(small, BOX, landmarks(BOX), 1.0).large < whole.large
    assert face_quality(astronaut, BOX, landmarks(BOX), 0.92).visible < 0.3
    cut = landmarks(BOX)
    cut[[0, 3]] = 0.0
    assert face_quality(astronaut, BOX, cut, 1.0).visible == pytest.approx(0.6)


@pytest.mark.parametrize("degrees", [-60.0, -30.0, 0.0, 30.0, 60.0])
def test_the_turn_of_a_head_is_read_off_the_nose_however_the_head_is_tilted(degrees: float) -> None:
    turned = np.radians(degrees)
    eye, depth = 20.0, 20.0  # the nose stands out by half the distance of the eyes
    points = np.array([[-eye * np.cos(turned), 0.0], [eye * np.cos(turned), 0.0], [depth * np.sin(turned), 25.0]])
    points = np.concatenate([points, points[:2] + np.array([0.0, 40.0])])
    tilt = np.array([[0.9, -0.436], [0.436, 0.9]])
    assert yaw_degrees(points @ tilt.T + 100.0) == pytest.approx(degrees, abs=0.1)


def test_similarity_finds_turn_scale_and_shift() -> None:
    angle = 0.3
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = TEMPLATE_PX @ turn.T + (12.0, -7.0)
    matrix = similarity(moved, TEMPLATE_PX)
    assert moved @ matrix[:, :2].T + matrix[:, 2] == pytest.approx(TEMPLATE_PX)
    assert np.isfinite(similarity(np.ones((5, 2)), TEMPLATE_PX)).all()


def clip_of(engine: Engine, name: str, frames: np.ndarray) -> Row:
    return engine.run([make_clip(name, frames, None, len(frames) / 4.0)])[0].values


def test_a_face_track_has_one_vector_of_its_best_faces(engine: Engine) -> None:
    row = clip_of(engine, "walk", face_frames(24, 0, 4))
    (face,) = row["identity_faces"]
    (track,) = row["face_tracks"]
    assert (face["track"], len(face["vector"])) == (0, 512)
    assert np.linalg.norm(face["vector"]) == pytest.approx(1.0, abs=1e-3)
    assert face["n_faces"] == min(MOST_FACES, len(track["times_s"]))
    assert 0.5 < face["quality"] <= 1.0
    assert face["box_xyxy"] in track["boxes_xyxy"]
    assert row["identity_space"]["name"].startswith("identity.facenet:")


def test_a_clip_without_faces_has_nobody_and_one_that_nobody_looked_at_is_unknown(engine: Engine) -> None:
    row = clip_of(engine, "empty", np.full((4, 54, 96, 3), 90, np.uint8))
    assert (row["identity_faces"], row["identity_bodies"]) == ([], [])
    facenet = next(p for p in engine.profile.processors if p.id == "identity.facenet")
    assert facenet.process([make_clip()], [{"face_tracks": None}]) == [{"identity_faces": None, "identity_space": None}]


def test_published_weights_with_the_classes_of_their_training_are_read(models_folder: Path, tmp_path: Path) -> None:
    tiny = models_folder / "tiny" / "facenet"
    weights = load_file(tiny / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    save_file(weights | {"logits.weight": weights["last_bn.weight"].clone()}, tmp_path / "model.safetensors")
    create_processor("identity.facenet", {"model": str(tmp_path)}).load("cpu")


def test_a_folder_with_another_model_is_refused(models_folder: Path) -> None:
    processor = create_processor("identity.facenet", {"model": str(models_folder / "tiny" / "siglip")})
    with pytest.raises(ModelUnavailable, match="does not hold the weights of facenet-pytorch's InceptionResnetV1"):
        processor.load("cpu")


def test_clothes_are_alike_in_other_light_and_differ_by_colour_and_pattern() -> None:
    random = np.random.default_rng(1)
    plain = np.full((60, 50, 3), (150, 40, 40), np.uint8)
    stripes = plain.copy()
    stripes[::10] = stripes[1::10] = stripes[2::10] = 240
    grain = random.integers(-6, 6, plain.shape)
    noisy = np.clip(plain.astype(int) + grain, 0, 255).astype(np.uint8)
    blue = plain[:, :, ::-1]
    red = describe(plain)
    assert red @ describe(noisy) > 0.95
    assert red @ describe(np.ascontiguousarray(blue)) < 0.8
    assert red @ describe(stripes) < 0.9


def test_a_torso_is_below_the_face_and_must_be_in_view() -> None:
    frame = np.zeros((200, 200, 3), np.uint8)
    frame[80:] = (0, 120, 0)
    torso = torso_of(frame, np.array([0.4, 0.2, 0.6, 0.4]))
    assert torso is not None
    assert (torso == (0, 120, 0)).all()
    assert torso_of(frame, np.array([0.2, 0.1, 0.8, 0.95])) is None


# --- real faces ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mobileface() -> Engine:
    options: dict[str, dict[str, Any]] = {
        "track.mtcnn": {},
        "identity.body": {},
        "identity.mobileface": {"model": str(WEIGHTS)},
    }
    engine = Engine(create_profile("real", [create_processor(id_, given) for id_, given in options.items()]))
    engine.load()
    return engine


@needs_media
def test_people_who_come_again_after_cuts_have_one_identity_and_no_two_share_one(mobileface: Engine) -> None:
    video = MEDIA / "video"
    shots = json.loads((video / "derived_compiled.gt.json").read_text())["shots"]
    frames = seen(video / "derived_compiled.mp4", 40.0)
    times_s = np.arange(len(frames)) / 4.0
    gallery: Gallery | None = None
    groups: dict[str, set[str]] = {}
    nearby: dict[str, list[np.ndarray]] = {}
    for shot in shots:
        inside = (times_s >= shot["first_frame"] / 30) & (times_s < shot["last_frame"] / 30)
        picked = np.flatnonzero(inside)[thinned(times_s[inside], 2.0)]
        clip = DecodedClip(str(shot["index"]), 4.0, frames[picked], times_s[picked] - times_s[picked][0], None, 16_000)
        row = mobileface.run([clip])[0].values
        gallery = gallery or Gallery(Space(**row["identity_space"]))
        faces = faces_of(row | {"clip_id": clip.clip_id})
        assert len(faces) == len(shot["identities"])
        for one, identity in link(faces, gallery, nearby):
            # Of two, the woman is on the left.
            name = sorted(shot["identities"], reverse=True)[one.track] if len(faces) == 2 else shot["identities"][0]
            groups.setdefault(name, set()).add(str(identity))
            worn = [face.body for face in faces if face.track == one.track and face.body is not None]
            nearby.setdefault(str(identity), []).extend(worn)
    assert all(len(found) == 1 for found in groups.values()), groups
    assert len({identity for found in groups.values() for identity in found}) == 5


@needs_media
def test_one_mans_portraits_are_nearer_to_each_other_than_to_anothers(mobileface: Engine) -> None:
    vectors = {}
    for name in ("id_obama_1", "id_obama_2", "id_biden_1", "id_biden_2"):
        image = cv2.cvtColor(cv2.imread(str(MEDIA / "image" / f"{name}.jpg")), cv2.COLOR_BGR2RGB)
        scale = 384 / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        (face,) = mobileface.run([make_clip(name, small[None], None, 1.0)])[0].values["identity_faces"]
        vectors[name] = np.array(face["vector"])
    assert vectors["id_obama_1"] @ vectors["id_obama_2"] > 0.4
    assert vectors["id_biden_1"] @ vectors["id_biden_2"] > 0.4
    assert max(vectors[f"id_obama_{i}"] @ vectors[f"id_biden_{j}"] for i in (1, 2) for j in (1, 2)) < 0.3
