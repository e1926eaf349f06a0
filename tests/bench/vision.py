"""How fast the processors of `vision/` and `quality/` are, against the bare model called in a loop.

    python -m tests.bench.vision [--frames 20] [--full]

For each that runs a model: frames per second through the processor, and of the same model called on one frame after
another as its library's documentation does (preprocessing included, one thread both times). `--full` builds the
published sizes with random weights (ViT-B at 224 px, CLIP ViT-L/14), which cost what trained ones do; without it, the
tiny models. For each that measures: seconds per minute of footage, as clips of five seconds at 384 x 216.

Seconds are of the processor, all threads, since the clock means little on a busy machine; rounds are interleaved and
the best of each counts.

Seen on two busy cores: ours over bare 1.1 for SigLIP of the published size (processor time), 1.9 to 4.1 for the tiny
models, where calling costs more than computing (by the clock). By the clock, beside seven other programs, the filters
took 23 s per minute of footage: the text detector 15, blur 2.6, overlays 2.1, exposure 1.8, signatures 1.2.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data
from transformers import (
    BitImageProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from processors.base import Curve, DecodedClip, Processor, create_processor
from processors.engine import Engine
from processors.profile import create_profile
from processors.quality.aesthetic import AestheticsPredictor
from processors.tiny import build_tiny_models

ROUNDS = 3
MEASURED = ["letterbox", "sharpness", "exposure", "flicker", "overlay", "text", "signature"]


@dataclass(frozen=True)
class Model:
    """A processor's model as its own library loads it."""

    processor: str
    folder: str
    kind: Any
    preprocess: Any


MODELS = (
    Model("vision.siglip", "siglip", SiglipVisionModel, SiglipImageProcessor),
    Model("vision.dino", "dino", Dinov2Model, BitImageProcessor),
    Model("quality.aesthetic", "aesthetic", AestheticsPredictor, CLIPImageProcessor),
    Model("quality.nsfw", "nsfw", ViTForImageClassification, ViTImageProcessor),
)


def build_full_models(folder: Path) -> None:
    """Models of the published sizes with random weights, in `folder/tiny/...`."""
    siglip, dino, aesthetic, nsfw = (folder / "tiny" / model.folder for model in MODELS)
    SiglipImageProcessor().save_pretrained(siglip)
    SiglipVisionModel(SiglipVisionConfig()).save_pretrained(siglip)
    BitImageProcessor(size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}).save_pretrained(dino)
    Dinov2Model(Dinov2Config(image_size=518, patch_size=14)).save_pretrained(dino)
    CLIPImageProcessor().save_pretrained(aesthetic)
    large = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    AestheticsPredictor(CLIPVisionConfig(**large, patch_size=14, projection_dim=768)).save_pretrained(aesthetic)
    ViTImageProcessor().save_pretrained(nsfw)
    labels = {0: "normal", 1: "nsfw"}
    ViTForImageClassification(ViTConfig(id2label=labels, label2id={"normal": 0, "nsfw": 1})).save_pretrained(nsfw)


def clip_of(n_frames: int, rate_hz: float = 4.0) -> DecodedClip:
    """A camera that moves over a picture, 384 x 216."""
    picture = data.astronaut()
    frames = np.stack([picture[i : i + 216, 2 * i : 2 * i + 384] for i in range(n_frames)])
    duration_s = n_frames / rate_hz
    curves = {"luma": Curve(10.0, np.full(round(duration_s * 10), 0.5, np.float32))}
    return DecodedClip("bench", duration_s, frames, np.arange(n_frames) / rate_hz, None, 16_000, curves)


def bare(model: Model, folder: Path, frames_rgb: np.ndarray) -> Callable[[], None]:
    """The model in a loop, one frame at a time."""
    preprocess, net = model.preprocess.from_pretrained(folder), model.kind.from_pretrained(folder).eval()
    pictures = [Image.fromarray(frame) for frame in frames_rgb]

    def run() -> None:
        with torch.inference_mode():
            for picture in pictures:
                net(**preprocess(images=picture, return_tensors="pt"))

    return run


def loaded(processor_id: str, **options: Any) -> Processor:
    processor = create_processor(processor_id, options)
    processor.load("cpu")
    return processor


def best_s(runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Least seconds of the processor for each, rounds interleaved."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started_s = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - started_s)
    return best


def models_speed(folder: Path, n_frames: int, size: int) -> Iterator[dict[str, Any]]:
    """Frames per second of each model, ours and bare, and their ratio."""
    clip = clip_of(n_frames)
    for model in MODELS:
        path = folder / "tiny" / model.folder
        options = {"model": str(path)} | ({"size": size} if model.processor.startswith("vision") else {})
        processor = loaded(model.processor, **options)
        runs = {"ours": lambda p=processor: p.process([clip], [{}]), "bare": bare(model, path, clip.frames_rgb)}
        seconds = best_s(runs)
        speeds = {name: round(n_frames / s, 1) for name, s in seconds.items()}
        yield {"processor": model.processor, **speeds, "ratio": round(seconds["bare"] / seconds["ours"], 2)}


def filters_cost() -> dict[str, float]:
    """Seconds per minute of footage of each measuring filter, as the engine runs it, and of all."""
    letterbox = loaded("quality.letterbox")
    clip = clip_of(20)
    costs: dict[str, float] = {}
    for name in MEASURED:
        one = loaded(f"quality.{name}")
        needed = [letterbox, one] if "letterbox_xyxy" in one.reads.columns else [one]
        engine = Engine(create_profile("bench", needed))
        costs[name] = best_s({name: lambda e=engine: e.run([clip])})[name] * 60.0 / clip.duration_s
    for name in ("sharpness", "exposure", "overlay", "signature"):
        costs[name] -= costs["letterbox"]
    return {name: round(max(0.0, cost), 2) for name, cost in (costs | {"all": sum(costs.values())}).items()}


def main() -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.vision", description=__doc__)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--full", action="store_true", help="models of the published sizes, random weights")
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if parsed.full:
            build_full_models(folder)
        else:
            build_tiny_models(folder)
        for speed in models_speed(folder, parsed.frames, 768 if parsed.full else 32):
            print(json.dumps(speed), flush=True)
    print(json.dumps({"s_per_minute_of_footage": filters_cost()}))


if __name__ == "__main__":
    main()
