"""Detectors of people: frames per second against the bare model in its own library's loop, and tracks per person.

    python -m tests.bench.people [--rounds 3] [--seconds 3]

Speed: real weights where the shared media or a package hold them (YOLOX-nano, HOG), else the real architecture with
random weights (RT-DETR v2 R18, YOLO 26n, YOLO 26n pose, ViTPose base), whose detections are few; the bare library is
called one frame (or one person) at a time with the same bound on threads, processor time counts. Tracks: YOLOX-nano on
every shot of the shared videos that shows a countable number of people; a track too many is a switch of identity, a
person without one is missed.

Seen on a busy core, frames per second of processor time, ours to the bare library's: YOLOX-nano 59 to 57 (1.03), HOG
62 to 65 (0.95), RT-DETR v2 R18 1.06 to 1.11 (0.95), YOLO 26n 18.8 to 17.8 (1.06), YOLO 26n pose 13.7 to 12.6 (1.09),
ViTPose base 2.4 to 2.1 people (1.10).

Tracks: 31 shots with 37 people gave 38 tracks; nobody was missed, and all but Chaplin, who is hidden at first (92 %),
and the silhouette, which enters (96 %), are in one track for the whole of their shot. The one track too many is a
second box on Chaplin in two frames.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
from transformers import (
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessor,
)

from processors.base import DecodedClip, Processor, Row, create_processor
from processors.engine import THREADS
from processors.track.coco import COCO_LABELS
from processors.yolo_model import quiet
from tests.bench.bare_models import Bare, as_asked, ratio
from tests.processors.made_clips import MEDIA, make_clip, seen

VIDEO, YOLOX = MEDIA / "video", MEDIA / "weights" / "yolox_nano.onnx"
SPEED_VIDEOS = ("juggle_720p.mp4", "chaplin_by_the_sea.mp4", "hamilton_whitehouse.mp4")
PERSON = [0.3, 0.1, 0.6, 0.95]
SHOTS: dict[str, list[tuple[float, float, int]]] = {
    **{f"asl_{sign}.mkv": [(0.0, 9.0, 1)] for sign in ("again", "brother", "help", "no", "yes", "thanks")},
    **{f"asl_{sign}.mkv": [(0.0, 9.0, 1)] for sign in ("book", "learn", "walk")},
    **{f"asl_{sign}.mkv": [(0.0, 9.0, 2)] for sign in ("bird", "milk", "sorry")},
    **{f"{name}.mp4": [(0.0, 15.0, 1)] for name in ("talk_katie_hill", "talk_theresa_may", "juggle_720p")},
    **{f"face_{name}.mp4": [(0.0, 15.0, 1)] for name in ("driving_d10", "driving_d12", "driving_d19", "source_s13")},
    "makeup_webcam.avi": [(0.0, 7.0, 1)],
    "silhouette_green_screen.mp4": [(0.0, 25.0, 1)],
    "gif_face_walking_two.gif": [(0.0, 3.0, 2)],
    "gif_head_pose_female_and_male.gif": [(0.0, 5.0, 2)],
    "chaplin_by_the_sea.mp4": [(0.0, 9.7, 2)],
    "hamilton_whitehouse.mp4": [(4.0, 7.0, 1)],
    "one_by_one_persons.mp4": [
        *((6.4, 19.2, 1), (22.8, 44.4, 1), (50.8, 70.0, 1), (74.8, 86.8, 1), (93.2, 119.6, 1), (124.0, 136.0, 1))
    ],
}
"""Video to shots: start and end in seconds, and how many people they show, of MANIFEST's ground truth (checked by eye:
in asl_bird, asl_milk and asl_sorry a second man stands at the edge of the picture)."""


def yolox() -> Bare:
    """As YOLOX's own demonstration for onnxruntime: one frame at a time, every label suppressed by itself."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    net = onnxruntime.InferenceSession(str(YOLOX), options, providers=["CPUExecutionProvider"])
    strides = [np.full(((416 // stride) ** 2, 1), stride) for stride in (8, 16, 32)]
    grids = [np.stack(np.meshgrid(np.arange(n), np.arange(n)), 2).reshape(-1, 2) for n in (52, 26, 13)]
    grid, stride = np.concatenate(grids), np.concatenate(strides)

    def one(frame: np.ndarray) -> object:
        scale = 416 / max(frame.shape[:2])
        picture = np.full((416, 416, 3), 114, np.uint8)
        small = cv2.resize(frame, (int(frame.shape[1] * scale), int(frame.shape[0] * scale)))
        picture[: small.shape[0], : small.shape[1]] = small
        answer: Any = net.run(None, {"images": picture[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)})[0]
        middles, sizes = (answer[0, :, :2] + grid) * stride, np.exp(answer[0, :, 2:4]) * stride
        boxes, scores = np.concatenate([middles - sizes / 2, sizes], 1), answer[0, :, 4:5] * answer[0, :, 5:]
        kept = []
        for label in range(len(COCO_LABELS)):
            likely = scores[:, label] > 0.1
            if likely.any():
                kept.append(cv2.dnn.NMSBoxes(boxes[likely].tolist(), scores[likely, label].tolist(), 0.1, 0.45))
        return kept

    return lambda clip: [one(frame) for frame in clip.frames_rgb]


def hog() -> Bare:
    """OpenCV's own detector of people, at its usual settings for video."""
    net = cv2.HOGDescriptor()
    net.setSVMDetector(np.array(cv2.HOGDescriptor.getDefaultPeopleDetector()))
    return lambda clip: [
        net.detectMultiScale(frame, winStride=(8, 8), padding=(8, 8), scale=1.05) for frame in clip.frames_rgb
    ]


def rtdetr(folder: Path) -> Bare:
    prepare = RTDetrImageProcessor.from_pretrained(folder)
    net: Any = RTDetrV2ForObjectDetection.from_pretrained(folder).eval()

    @torch.inference_mode()
    def one(frame: np.ndarray) -> object:
        outputs = net(**prepare(images=frame, return_tensors="pt"))
        return prepare.post_process_object_detection(outputs, target_sizes=[frame.shape[:2]], threshold=0.1)

    return lambda clip: [one(frame) for frame in clip.frames_rgb]


def vitpose(folder: Path) -> Bare:
    prepare = VitPoseImageProcessor.from_pretrained(folder)
    net: Any = VitPoseForPoseEstimation.from_pretrained(folder).eval()

    @torch.inference_mode()
    def one(frame: np.ndarray) -> object:
        left, top, right, bottom = np.array(PERSON) * np.tile(frame.shape[1::-1], 2)
        boxes = [[[left, top, right - left, bottom - top]]]
        outputs = net(**prepare(frame, boxes=boxes, return_tensors="pt"))
        return prepare.post_process_pose_estimation(outputs, boxes=boxes)

    return lambda clip: [one(frame) for frame in clip.frames_rgb]


def yolo(weights: Path) -> Bare:
    with quiet():
        from ultralytics import YOLO

        net = YOLO(weights)
        net.predict(np.zeros((64, 64, 3), np.uint8), verbose=False, device="cpu")
    return lambda clip: [
        net.predict(np.ascontiguousarray(frame[..., ::-1]), verbose=False, conf=0.1) for frame in clip.frames_rgb
    ]


def build(folder: Path) -> dict[str, tuple[dict[str, Any], Callable[[], Bare]]]:
    """Processor id to its options and to its bare library, with models of the real size in the folder."""
    stages: Any = {"out_indices": [2, 3, 4]}
    backbone = RTDetrResNetConfig(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", **stages)
    labels: Any = {"id2label": dict(enumerate(COCO_LABELS)), "label2id": {n: i for i, n in enumerate(COCO_LABELS)}}
    config = RTDetrV2Config(
        backbone_config=backbone, encoder_in_channels=[128, 256, 512], hidden_expansion=0.5, decoder_layers=3, **labels
    )
    RTDetrV2ForObjectDetection(config).save_pretrained(folder / "rtdetr")
    RTDetrImageProcessor().save_pretrained(folder / "rtdetr")
    points: Any = {"num_labels": 17, "backbone_config": {"model_type": "vitpose_backbone", "out_indices": [12]}}
    VitPoseForPoseEstimation(VitPoseConfig(**points)).save_pretrained(folder / "vitpose")
    VitPoseImageProcessor().save_pretrained(folder / "vitpose")
    with quiet():
        from ultralytics import YOLO

        for name in ("yolo26n", "yolo26n-pose"):
            net: Any = YOLO(f"{name}.yaml")
            net.model.names = {i: label for i, label in enumerate(COCO_LABELS) if i < len(net.model.names)}
            net.save(folder / f"{name}.pt")
    return {
        "track.yolox": ({"model": str(YOLOX)}, yolox),
        "track.hog": ({}, hog),
        "track.rtdetr": ({"model": str(folder / "rtdetr")}, lambda: rtdetr(folder / "rtdetr")),
        "track.yolo": ({"model": str(folder / "yolo26n.pt")}, lambda: yolo(folder / "yolo26n.pt")),
        "pose.vitpose": ({"model": str(folder / "vitpose")}, lambda: vitpose(folder / "vitpose")),
        "pose.yolo": ({"model": str(folder / "yolo26n-pose.pt")}, lambda: yolo(folder / "yolo26n-pose.pt")),
    }


def inputs(processor: Processor, clip: DecodedClip) -> Row:
    """No faces, and one person in every frame."""
    times_s = as_asked(clip, processor).frame_times_s.tolist()
    person = {"track": 0, "times_s": times_s, "boxes_xyxy": [PERSON] * len(times_s), "scores": [0.9] * len(times_s)}
    given = {"face_tracks": [], "people_tracks": [person]}
    return {name: given[name] for name in processor.reads.inputs}


def speeds(rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    clips = [make_clip(name, seen(VIDEO / name, seconds), duration_s=seconds) for name in SPEED_VIDEOS]
    told = {}
    with tempfile.TemporaryDirectory() as name:
        for processor_id, (options, bare) in build(Path(name)).items():
            processor = create_processor(processor_id, options)
            processor.load("cpu")
            theirs = bare()
            torch.set_num_threads(THREADS)
            cv2.setNumThreads(THREADS)
            told[processor_id] = ratio(processor, theirs, clips, rounds, [inputs(processor, clip) for clip in clips])
    return told


def tracks() -> dict[str, dict[str, list[int]]]:
    """For each video, of each of its shots: people in it, tracks found, and the longest tracks' shares in percent."""
    processor = create_processor("track.yolox", {"model": str(YOLOX)})
    processor.load("cpu")
    told = {}
    for name, shots in SHOTS.items():
        frames = seen(VIDEO / name, max(end_s for _, end_s, _ in shots))
        people, found, shares = [], [], []
        for start_s, end_s, n_people in shots:
            part = frames[int(np.ceil(start_s * 4)) : int(end_s * 4)]
            row: Any = processor.process([make_clip(frames_rgb=part)], [{}])[0]
            sights = sorted((len(track["times_s"]) for track in row["people_tracks"]), reverse=True)
            people.append(n_people)
            found.append(len(sights))
            shares += [round(100 * n / len(part)) for n in sights[:n_people]]
        told[name] = {"people": people, "tracks": found, "percent_of_frames": shares}
    return told


def summary(told: dict[str, dict[str, list[int]]]) -> dict[str, int]:
    pairs = [pair for one in told.values() for pair in zip(one["people"], one["tracks"], strict=True)]
    return {
        "shots": len(pairs),
        "people": sum(people for people, _ in pairs),
        "tracks_too_many": sum(max(0, found - people) for people, found in pairs),
        "people_missed": sum(max(0, people - found) for people, found in pairs),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.people", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each video whose frames are measured")
    told = parser.parse_args(arguments)
    per_video = tracks()
    print(json.dumps({"per_video": per_video, "summary": summary(per_video)}, indent=None))
    print(json.dumps(speeds(told.rounds, told.seconds), indent=1))


if __name__ == "__main__":
    main()
