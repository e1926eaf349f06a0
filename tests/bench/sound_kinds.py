"""How well each profile's vectors of sound tell similar wordless sounds apart, on ../shared/media/audio.

    python -m tests.bench.sound_kinds [--models FOLDER] [--speed]

For every profile and each of its vectors: how often the nearest sound of ANOTHER speaker is of the same kind, over
the 12 kinds of Deeply's recordings and the 30 emotions of EmoGator's, beside chance; then the mission's own pairs,
each with its two kinds alone. Deeply has no groans and no sobs: moans stand beside crying, and EmoGator's desire beside
its pain. `together` joins a profile's vectors with the same weight each, as clustering does. Nothing is trained;
the constants of the vectors come from EmoGator, so Deeply is the honest half. Then how `audio.kind` tells speech, voice
and other sound, recording by recording; its constants are chosen and saw EmoGator, the other sounds and no Deeply.

`tiny` has random weights: what it reaches beyond chance, its random filters do. `pretrained` is run where its models
are in FOLDER or in the cache. With --speed, clips per second of each model against the bare model called in a loop.

Seen (measured; `sound` is the cepstral and modulation vector, `wordless` adds roughness, rhythm, pitch, harmonicity):

TABLE
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import ASTForAudioClassification, HubertModel, Wav2Vec2Model

from processors.base import DecodedClip
from processors.engine import TORCH_THREADS, Engine, Measured
from processors.profile import Profile, create_profile, load_profile
from processors.tiny import build_tiny_models
from store.errors import ModelUnavailable
from tests.processors.made_clips import MEDIA, RATE_HZ, heard, make_clip

DEEPLY = MEDIA / "audio" / "deeply"
EMOGATOR = MEDIA / "audio" / "emogator"
PAIRS = (("laughing", "crying"), ("sighing", "panting"), ("moaning", "crying"), ("Desire", "Pain"))
SPEECH = ("audio/speech_librispeech.flac", "audio/speech_two_speakers.wav", "video/talk_katie_hill.mp4",
          "video/talk_theresa_may.mp4", "video/nasa_13013.mp4", "video/hamilton_whitehouse.mp4")  # fmt: skip
OTHER = ("audio/music_librosa.mp3", "audio/nonhuman_dog.wav", "video/chaplin_by_the_sea.mp4",
         "video/face_driving_d12.mp4", "video/face_source_s13.mp4", "video/street_walkers_1080p.mp4",
         "video/broken_audio.mp4")  # fmt: skip
MODELS: Mapping[str, Any] = {
    "audio.wav2vec2": Wav2Vec2Model,
    "audio.hubert": HubertModel,
    "audio.ast": ASTForAudioClassification,
}


@dataclass(frozen=True)
class Recording:
    """A sound, float32 [N] at 16 kHz, of a kind and a speaker."""

    kind: str
    speaker: str
    audio: np.ndarray


@dataclass(frozen=True)
class Found:
    """accuracy: share whose nearest sound of another speaker is of the same kind; chance: of a random one."""

    accuracy: float
    chance: float

    def __str__(self) -> str:
        return f"{self.accuracy:.2f} ({self.accuracy / self.chance:.1f} x chance)"


def recordings(folder: Path) -> list[Recording]:
    """Deeply's kinds or EmoGator's emotions, by file name and ground truth."""
    if folder == DEEPLY:
        named = [(path, *path.stem.split("__")) for path in sorted(folder.glob("*.wav"))]
        return [Recording(kind, rest.split("_")[0], heard(path)) for path, kind, rest in named]
    truth = json.loads((MEDIA / "ground_truth.json").read_text())["audio"]
    kinds = {path: truth[f"emogator/{path.name}"].split(";")[0].split()[1:] for path in sorted(folder.glob("*.mp3"))}
    return [Recording(" ".join(kind), path.stem.split("-")[0], heard(path)) for path, kind in kinds.items()]


def leave_one_speaker_out(vectors: np.ndarray, kinds: Sequence[str], speakers: Sequence[str]) -> Found:
    """Nearest neighbours by cosine among the sounds of other speakers.

    Args:
        vectors: float64 [N, D] of unit length.
    """
    same = np.array(kinds)[:, None] == np.array(kinds)
    others = np.array(speakers)[:, None] != np.array(speakers)
    likeness = np.where(others, vectors @ vectors.T, -np.inf)
    chance = np.mean([same[i, others[i]].mean() for i in range(len(kinds))])
    return Found(float(same[np.arange(len(kinds)), likeness.argmax(axis=1)].mean()), float(chance))


def sound_engine(name: str, models: Path | None) -> Engine:
    """The profile's processors of sound, loaded.

    Raises:
        ModelUnavailable: the weights are not here.
    """
    every = load_profile(name, models).processors
    processors = [p for p in every if p.id.startswith("audio.") and p.reads.frame_rate_hz is None]
    engine = Engine(create_profile(name, processors))
    engine.load()
    return engine


def measure(engine: Engine, sounds: Sequence[np.ndarray]) -> list[Measured]:
    clips = [make_clip(str(i), audio=sound, duration_s=len(sound) / RATE_HZ) for i, sound in enumerate(sounds)]
    return engine.run(clips)


def report_vectors(profile: Profile, deeply: list[Measured], emogator: list[Measured]) -> None:
    sets = ((recordings(DEEPLY), deeply), (recordings(EMOGATOR), emogator))
    names = [column.name for column in profile.columns if column.kind == "vector"]
    for name in [*names, "together"]:
        told = []
        for sounds, results in sets:
            told.append(str(_found(sounds, results, names if name == "together" else [name])))
        pairs = [
            f"{'/'.join(pair)} {_found(sounds, results, names if name == 'together' else [name], pair).accuracy:.2f}"
            for pair in PAIRS
            for sounds, results in sets
            if any(sound.kind == pair[0] for sound in sounds)
        ]
        print(f"{profile.name:10} {name:13} Deeply {told[0]}  EmoGator {told[1]}  {'  '.join(pairs)}")


def _found(
    sounds: list[Recording], results: list[Measured], names: list[str], pair: tuple[str, str] | None = None
) -> Found:
    kept = [i for i, sound in enumerate(sounds) if pair is None or sound.kind in pair]
    vectors = np.array([np.concatenate([results[i].values[name] for name in names]) for i in kept]) / len(names) ** 0.5
    return leave_one_speaker_out(vectors, [sounds[i].kind for i in kept], [sounds[i].speaker for i in kept])


def report_kinds(engine: Engine, deeply: list[Measured], emogator: list[Measured]) -> None:
    speech, other = (
        measure(engine, [heard(MEDIA / path)[: 10 * RATE_HZ] for path in paths]) for paths in (SPEECH, OTHER)
    )
    groups = {"speech": speech, "other": other, "EmoGator": emogator}
    for sound, result in zip(recordings(DEEPLY), deeply, strict=True):
        groups.setdefault(sound.kind, []).append(result)
    for name, results in groups.items():
        shares = [r.values["sound_kind"] for r in results if r.values["sound_kind"] is not None]
        likeliest = [max(share, key=share.__getitem__) for share in shares]
        told = "  ".join(f"{kind} {likeliest.count(kind) / len(likeliest):.2f}" for kind in shares[0])
        print(f"likeliest kind of {len(shares):3d} recordings of {name:17} {told}")


def report_speed(engine: Engine) -> None:
    """Clips of 5 s per second, through the processor and through the bare model on the same samples."""
    torch.set_num_threads(TORCH_THREADS)
    clips = [make_clip(str(i), audio=sound.audio[: 5 * RATE_HZ]) for i, sound in enumerate(recordings(DEEPLY)[:16])]
    for processor in engine.profile.processors:
        if processor.id not in MODELS:
            continue
        ours = _per_second(lambda p=processor: p.process(clips, [{}] * len(clips)), len(clips))
        bare = _per_second(_bare(MODELS[processor.id], processor.options.model, clips), len(clips))
        rates = f"{ours:.1f} clips/s, bare model {bare:.1f}, ratio {ours / bare:.2f}"
        print(f"{engine.profile.name:10} {processor.id:15} {rates}")


def _bare(model_class: Any, folder: str, clips: list[DecodedClip]) -> Callable[[], None]:
    model = model_class.from_pretrained(folder).eval()
    window = (model.config.max_length, model.config.num_mel_bins) if model_class is ASTForAudioClassification else None

    @torch.inference_mode()
    def run() -> None:
        for clip in clips:
            assert clip.audio is not None
            model(torch.zeros(1, *window) if window else torch.tensor(clip.audio)[None])

    return run


def _per_second(run: Callable[[], Any], n: int) -> float:
    """Best of three: other work on the machine only ever makes a run slower."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return n / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder with the models of the profile pretrained")
    parser.add_argument("--speed", action="store_true", help="also time the models against bare ones")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build_tiny_models(Path(folder))
        for name, models in (("measured", None), ("tiny", Path(folder)), ("pretrained", asked.models)):
            try:
                engine = sound_engine(name, models)
            except ModelUnavailable as error:
                print(f"{name}: not measured, {error}")
                continue
            deeply, emogator = (measure(engine, [s.audio for s in recordings(f)]) for f in (DEEPLY, EMOGATOR))
            report_vectors(engine.profile, deeply, emogator)
            if name == "measured":
                report_kinds(engine, deeply, emogator)
            if asked.speed:
                report_speed(engine)


if __name__ == "__main__":
    main()
