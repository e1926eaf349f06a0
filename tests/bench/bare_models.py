"""Frames, or seconds of sound, that a processor measures per second of processor time, against its bare library.

    python -m tests.bench.bare_models [--rounds 3]

The bare library is called as its own examples do it: in a loop, one frame or one sound at a time, on the same decoded
material and with the same bound on threads. A ratio above 1.0 says that the processor is faster than that loop.

Seen on a busy core: MTCNN 25 frames per second to the bare 22 (1.17), silero-vad 83 s of sound to 83 (1.00); of tiny
models, whose nets cost next to nothing, SigLIP 1,741 frames to 602 (2.89), wav2vec 2.0 1,235 s of sound to 1,296
(0.95).
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import silero_vad
import torch
from facenet_pytorch import MTCNN
from transformers import SiglipImageProcessor, SiglipVisionModel, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from processors.base import DecodedClip, Processor
from processors.decode import read_samples
from processors.engine import THREADS, Engine, shrunk, thinned
from processors.profile import load_profile
from processors.tiny import build_tiny_models
from tests.bench.perception import packs

Bare = Callable[[DecodedClip], object]


def mtcnn() -> Bare:
    """MTCNN on one frame after the other."""
    net = MTCNN(keep_all=True, min_face_size=20, thresholds=[0.6, 0.7, 0.9])
    return lambda clip: [net.detect(frame) for frame in clip.frames_rgb]


def silero() -> Bare:
    """silero-vad on a whole sound."""
    net: Any = silero_vad.load_silero_vad()
    return lambda clip: clip.audio is not None and silero_vad.get_speech_timestamps(torch.from_numpy(clip.audio), net)


def siglip(folder: Path) -> Bare:
    """SigLIP's vision tower on one frame after the other."""
    net: Any = SiglipVisionModel.from_pretrained(folder)
    prepare = SiglipImageProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def bare(clip: DecodedClip) -> object:
        return [net(**prepare(images=frame, return_tensors="pt")).pooler_output for frame in clip.frames_rgb]

    return bare


def wav2vec2(folder: Path) -> Bare:
    """wav2vec 2.0 on a whole sound."""
    net: Any = Wav2Vec2Model.from_pretrained(folder)
    prepare = Wav2Vec2FeatureExtractor.from_pretrained(folder)

    @torch.inference_mode()
    def bare(clip: DecodedClip) -> object:
        if clip.audio is None:
            return None
        return net(**prepare(clip.audio, sampling_rate=clip.audio_rate_hz, return_tensors="pt")).last_hidden_state

    return bare


def as_asked(clip: DecodedClip, processor: Processor) -> DecodedClip:
    """The clip with the frames that the processor reads."""
    rate_hz = processor.reads.frame_rate_hz
    if rate_hz is None:
        return clip
    picked = thinned(clip.frame_times_s, rate_hz)
    fields = vars(clip) | {
        "frames_rgb": shrunk(clip.frames_rgb[picked], processor.reads.longest_px),
        "frame_times_s": clip.frame_times_s[picked],
    }
    return DecodedClip(**fields)


def fastest(work: Callable[[], object], rounds: int) -> float:
    """Processor time in seconds of the fastest round."""
    took_s = []
    for _ in range(rounds):
        started_s = time.process_time()
        work()
        took_s.append(time.process_time() - started_s)
    return min(took_s)


def ratio(processor: Processor, bare: Bare, clips: Sequence[DecodedClip], rounds: int) -> dict[str, float]:
    """Units per second of the processor and of the bare library, and the first by the second."""
    given = [as_asked(clip, processor) for clip in clips]
    if processor.reads.frame_rate_hz is None:
        units = sum(clip.duration_s for clip in given if clip.audio is not None)
    else:
        units = float(sum(len(clip.frames_rgb) for clip in given))
    rows = [dict.fromkeys(processor.reads.inputs) for _ in given]
    ours_s = fastest(lambda: processor.process(given, rows), rounds)
    bare_s = fastest(lambda: [bare(clip) for clip in given], rounds)
    return {
        "per_s": round(units / ours_s, 2),
        "bare_per_s": round(units / bare_s, 2),
        "ratio": round(bare_s / ours_s, 3),
    }


def main() -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bare_models", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(THREADS)
    clips = [read_samples(data, name) for name, data in packs().items()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_tiny_models(folder)
        engine = Engine(load_profile("tiny", folder))
        engine.load()
        bare = {
            "track.mtcnn": mtcnn(),
            "audio.silero": silero(),
            "vision.siglip": siglip(folder / "tiny" / "siglip"),
            "audio.wav2vec2": wav2vec2(folder / "tiny" / "wav2vec2"),
        }
        torch.set_num_threads(THREADS)
        processors = {processor.id: processor for processor in engine.profile.processors}
        told = {name: ratio(processors[name], one, clips, rounds) for name, one in bare.items()}
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
