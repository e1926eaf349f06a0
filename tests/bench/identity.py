"""How well faces are told apart, and what linking costs.

`python -m tests.bench.identity pairs|videos|cost` prints one JSON line for each figure; `--weights` names a
MobileFaceNet ONNX file, `--media` the folder of shared media.

Seen on two cores that other work kept busy, with MobileFaceNet's published weights:

- pairs: 86 pictures, 243 pairs of one person and 3,412 of two. Balanced accuracy 0.966 at a cosine of 0.18, 0.968 at
  0.27, 0.934 at 0.36, 0.883 at 0.42, 0.780 at 0.50, 0.646 at 0.60; no pair of two people above 0.38.
- videos: 25 tracks of 5 people (cuts, a dissolve, a jump cut; three of them also in videos of their own), in 5 orders
  of arrival: 5 identities each time, none of two people.
- cost: 6.7 ms a track among 10,000 identities, 85 ms among 100,000, where every track is somebody else; 0.2 and 3.5 ms
  where each person has sixteen tracks. It is one product with the means of all identities, so it grows with their
  number, not with footage. Building the gallery, once at a start: 1.8 and 22 s.
"""

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from processors.base import DecodedClip, create_processor
from processors.engine import Engine
from processors.profile import create_profile
from store.identities import Exemplar, Face, Gallery, Space, link
from store.linking import faces_of
from tests.processors.made_clips import MEDIA, make_clip, seen

LONGEST_PX = 384
THRESHOLDS = (0.18, 0.21, 0.24, 0.27, 0.3, 0.36, 0.42, 0.5, 0.6)
ORDERS = 5
COST_SIZE = 512
COST_PROBES = 200


def engine_of(weights: Path) -> Engine:
    """Faces, clothes and MobileFaceNet."""
    processors = [
        create_processor("track.mtcnn", {}),
        create_processor("identity.body", {}),
        create_processor("identity.mobileface", {"model": str(weights)}),
    ]
    engine = Engine(create_profile("identity", processors))
    engine.load()
    return engine


def faces_in(engine: Engine, clip: DecodedClip) -> list[Face]:
    """A clip's faces, as linking sees them."""
    return faces_of(engine.run([clip])[0].values | {"clip_id": clip.clip_id})


def pairs(engine: Engine, media: Path) -> Iterator[dict[str, float]]:
    """Balanced accuracy on all pairs of the pictures whose person is known, by cosine threshold."""
    identities = json.loads((media / "ground_truth.json").read_text())["image_identity"]
    named, vectors = [], []
    for name, identity in sorted(identities.items()):
        if "+" in identity or "half" in identity:
            continue
        image = cv2.cvtColor(cv2.imread(str(media / "image" / name)), cv2.COLOR_BGR2RGB)
        scale = min(1.0, LONGEST_PX / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        faces = faces_in(engine, make_clip(name, small[None], None, 1.0))
        largest = max(
            faces, key=lambda face: (face.box_xyxy[2] - face.box_xyxy[0]) * (face.box_xyxy[3] - face.box_xyxy[1])
        )
        named.append(identity.split(" (")[0])
        vectors.append(largest.vector)
    cosines = np.stack(vectors) @ np.stack(vectors).T
    upper = np.triu_indices(len(named), 1)
    same = np.array([[a == b for a in named] for b in named])[upper]
    found = cosines[upper]
    for threshold in THRESHOLDS:
        right, wrong = float((found[same] > threshold).mean()), float((found[~same] > threshold).mean())
        yield {
            "threshold": threshold,
            "same_found": right,
            "different_taken": wrong,
            "balanced_accuracy": (right + 1.0 - wrong) / 2.0,
            "pairs_same": int(same.sum()),
            "pairs_different": int((~same).sum()),
        }


def people_clips(media: Path) -> Iterator[tuple[str, float, DecodedClip, list[str]]]:
    """(video, start in seconds, clip, people from left to right) of the footage whose people are known."""
    folder = media / "video"
    shots = json.loads((folder / "derived_compiled.gt.json").read_text())["shots"]
    frames = seen(folder / "derived_compiled.mp4", 40.0)
    times_s = np.arange(len(frames)) / 4.0
    for shot in shots:
        inside = (times_s >= shot["first_frame"] / 30) & (times_s < shot["last_frame"] / 30)
        if shot["identities"]:
            clip = make_clip(f"compiled/{shot['index']}", frames[inside], None, float(inside.sum()) / 4.0)
            # Of two, the woman is on the left.
            yield "compiled", shot["first_frame"] / 30, clip, sorted(shot["identities"], reverse=True)
    for name, told in json.loads((media / "ground_truth.json").read_text())["video"].items():
        known = re.match(r"identity (\w+)", told.get("note") or "")
        if known:
            yield name, 0.0, make_clip(name, seen(folder / name, 8.0), None, told["duration_s"]), [known.group(1)]


def videos(engine: Engine, media: Path) -> Iterator[dict[str, float]]:
    """Tracks of known people, linked in several orders: how many identities each has, and how many hold two people."""
    measured = [
        (video, start_s, people, faces_in(engine, clip)) for video, start_s, clip, people in people_clips(media)
    ]
    space = Space(
        "mobileface", engine.profile.processors[-1].even_cosine, engine.profile.processors[-1].nats_per_cosine
    )  # type: ignore[attr-defined]
    random = np.random.default_rng(0)
    for order in range(ORDERS):
        gallery, owners, parts = Gallery(space), defaultdict(set), defaultdict(set)
        nearby: dict[str, dict[str, list[np.ndarray]]] = defaultdict(dict)
        n_tracks = 0
        for i in random.permutation(len(measured)) if order else range(len(measured)):
            video, _, people, faces = measured[i]
            ordered = sorted(faces, key=lambda face: face.box_xyxy[0])
            # A face that is none (a print on a shirt) was seen beside a single person.
            names = {f.track: p for f, p in zip(ordered, people, strict=False)} if len(people) > 1 else {}
            for one, found in link(faces, gallery, nearby[video]):
                if found is None:
                    continue
                face = next(face for face in faces if face.track == one.track)
                nearby[video].setdefault(found, []).extend([face.body] if face.body is not None else [])
                is_best = face.quality == max(f.quality for f in faces)
                name = names.get(one.track) or (people[0] if is_best else f"none:{one.track}@{face.clip_id}")
                owners[found].add(name)
                parts[name].add(found)
                n_tracks += 1
        real = {name: found for name, found in parts.items() if not name.startswith("none")}
        yield {
            "order": order,
            "tracks": n_tracks,
            "people": len(real),
            "identities": len({one for found in real.values() for one in found}),
            "identities_of_two_people": sum(len(names) > 1 for names in owners.values()),
        }


def cost(n_tracks: int) -> dict[str, float]:
    """Milliseconds to link a track where each of `n_tracks` is somebody else, and with sixteen tracks a person."""
    random = np.random.default_rng(0)
    told: dict[str, float] = {"tracks": n_tracks}
    for name, of_each in (("strangers", 1), ("sixteen_each", 16)):
        gallery = Gallery(Space("cost", 0.45, 25.0))
        started = time.perf_counter()
        for i in range(n_tracks // of_each):
            own = random.normal(size=COST_SIZE).astype(np.float32)
            own /= np.linalg.norm(own)
            for j in range(of_each):
                gallery.add(f"p-{i}", Exemplar(f"p-{i}", f"c{i}", j, 0.9, own))
        told[f"{name}_build_s"] = time.perf_counter() - started
        probes = random.normal(size=(COST_PROBES, COST_SIZE)).astype(np.float32)
        probes /= np.linalg.norm(probes, axis=1, keepdims=True)
        spent = []
        for i, probe in enumerate(probes):
            face = Face(f"probe{i}", 0, probe, 0.9, 0.0, (0.0, 0.0, 1.0, 1.0))
            started = time.perf_counter()
            link([face], gallery, {})
            spent.append(1000.0 * (time.perf_counter() - started))
        told[f"{name}_ms"] = float(np.median(spent))
    return told


def main() -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.identity", description=__doc__)
    parser.add_argument("what", choices=("pairs", "videos", "cost"))
    parser.add_argument("--media", type=Path, default=MEDIA)
    parser.add_argument("--weights", type=Path, default=MEDIA / "weights" / "MobileFaceNet.onnx")
    given = parser.parse_args()
    if given.what == "cost":
        lines: Iterator[dict[str, float]] = (cost(n_tracks) for n_tracks in (10_000, 100_000))
    else:
        measure = pairs if given.what == "pairs" else videos
        lines = measure(engine_of(given.weights), given.media)
    for line in lines:
        print(json.dumps({name: round(value, 4) for name, value in line.items()}))


if __name__ == "__main__":
    main()
