"""Faces per second of each model of faces, against the bare model called in a loop, one picture after the other.

`python -m tests.bench.faces [--faces 48] [--models affect.xception] [--full]` prints one JSON line per model. `--full`
builds EmoNet and MiVOLO in their published sizes with random weights, which take as long as real ones; else, the tiny
ones. The processor's side holds all that it does: cutting out, preparing, batches, curves. The loop's side is given
pictures that are cut out and prepared already.

Seen on one thread of two busy cores (load 3 to 9), processor / loop / ratio: mini-Xception 374 / 299 / 1.25, DeepFace
447 / 371 / 1.20, EmoNet tiny 506 / 155 / 3.3, published size 0.65 / 0.40 / 1.6 (1.12 in another run), MiVOLO tiny 265 /
133 / 2.0, published size 0.25 / 0.18 / 1.4 (0.92 in another run: on a CPU batches hardly help nets of this size).
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from processors.affect.emonet import FILE as EMONET_FILE
from processors.affect.emonet import EmonetNet, EmonetSize
from processors.age.mivolo import PREFIX
from processors.age.volo import MiVolo, VoloSize
from processors.base import Processor, create_processor
from processors.tiny import build_tiny_models
from tests.processors.made_clips import face_frames, make_clip

FACE_AT = (0.35 * 216, 0.12 * 216, 0.52 * 216, 0.34 * 216)
"""Of `face_frames`, in pixels."""


def build_full_models(folder: Path) -> None:
    """EmoNet and MiVOLO in their published sizes, in place of the tiny ones."""
    torch.save(EmonetNet(EmonetSize(256, 4, 2, 68, 4, 8)).state_dict(), folder / "tiny" / "emonet" / EMONET_FILE)
    net = MiVolo(VoloSize(image_px=384, stem=64, layers=(4, 4, 8, 2), widths=(192, 384, 384, 384)))
    save_file({PREFIX + k: v for k, v in net.state_dict().items()}, folder / "tiny" / "mivolo" / "model.safetensors")


def measure(name: str, models: Path, n_faces: int) -> dict[str, Any]:
    """Faces per second of a processor and of its net in a loop."""
    options = {} if name == "affect.xception" else {"model": str(models / "tiny" / name.partition(".")[2])}
    processor: Any = create_processor(name, options)
    processor.load("cpu")
    clip = make_clip(frames_rgb=face_frames(n_faces), duration_s=n_faces / 4.0)
    box = (np.array(FACE_AT) / (384, 216, 384, 216)).tolist()
    # Ages are looked at a few times a person: as many people as it takes.
    together = 3 if name == "age.mivolo" else n_faces
    tracks = [_track(start, together, box) for start in range(0, n_faces, together)]
    picture = _picture(processor)

    def by_processor() -> None:
        processor.process([clip], [{"face_tracks": tracks, "people_tracks": []}])

    @torch.inference_mode()
    def by_loop() -> None:
        for _ in range(n_faces):
            processor._net(picture)

    ours, bare = (n_faces / seconds for seconds in _fastest(by_processor, by_loop))
    return {
        "processor": name,
        "faces_per_s": round(ours, 2),
        "loop_per_s": round(bare, 2),
        "ratio": round(ours / bare, 2),
    }


def _track(first: int, n: int, box: list[float]) -> dict[str, Any]:
    times = [i / 4.0 for i in range(first, first + n)]
    return {"track": first, "times_s": times, "boxes_xyxy": [box] * n, "scores": [1.0] * n}


def _picture(processor: Processor) -> torch.Tensor:
    channels = {"age.mivolo": 6, "affect.emonet": 3}.get(processor.id, 1)
    side: int = getattr(processor, "size_px", None) or processor._image_px  # type: ignore[attr-defined]
    return torch.zeros(1, channels, side, side)


def _fastest(*works: Callable[[], None]) -> list[float]:
    """Seconds of the fastest of three runs of each, taken in turns after one that warms up."""
    found: list[list[float]] = [[] for _ in works]
    for _ in range(4):
        for seconds, work in zip(found, works, strict=True):
            started_s = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started_s)
    return [min(seconds[1:]) for seconds in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=48)
    parser.add_argument("--models", default="affect.xception,affect.deepface,affect.emonet,age.mivolo")
    parser.add_argument("--full", action="store_true", help="EmoNet and MiVOLO in their published sizes")
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        models = Path(folder)
        build_tiny_models(models)
        if parsed.full:
            build_full_models(models)
        for name in parsed.models.split(","):
            print(json.dumps(measure(name, models, parsed.faces)), flush=True)


if __name__ == "__main__":
    main()
