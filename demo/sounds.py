"""One picture, several sounds: what a clip sounds like changes what it is described by, and no text says so.

    python -m demo.sounds [--out build/sounds] [--sounds FOLDER]

Renders a face that hardly moves several times, each with another wordless sound (or with each of the recordings in
FOLDER), sends the files down the whole road (cut, measured, described by the rules, distilled), and prints what comes
out. The attribute bundles are the same or nearly; the affect and the control vectors are not.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import av
import numpy as np
from rich.console import Console
from rich.table import Table

from demo.footage import FORMS, write_video
from demo.scenes import KINDS
from demo.sound import VOICE_RATE_HZ, make_sound
from processors.decode import read_samples
from processors.device import half_precision
from processors.distill.annotate import Distiller
from processors.distill.clip_tokens import count_tokens
from processors.engine import Engine
from processors.evaluation import KeptHere
from processors.profile import load_profile
from processors.reason.opening import open_reasoner
from processors.reason.reasoner import Subject
from processors.segment.recipe import SegmentRecipe
from processors.segment.run import Segmenter
from store.errors import InputError
from store.media import file_sha256
from store.records import Annotation

BUNDLE = ("pose", "tension", "motion", "shot_scale", "interaction")
"""What the attribute bundle holds."""
WORDLESS = ("laugh", "sob", "moan", "sigh", "noise")
SECONDS = 4.0
SEED = 5


@dataclass(frozen=True)
class Heard:
    """A clip of the picture with one of the sounds."""

    sound: str
    annotation: Annotation

    @property
    def bundle(self) -> dict[str, str | None]:
        """The attributes that are no sound's."""
        return {name: self.annotation.attributes[name] for name in BUNDLE}

    @property
    def control(self) -> np.ndarray:
        """float64 [N] in [-1, 1]; 0 where a control is not present."""
        return np.array(self.annotation.control.values)

    @property
    def arousal(self) -> np.ndarray:
        """float64 [3]: low, mid, high."""
        arousal = self.annotation.affect.arousal or {"low": 0.0, "mid": 0.0, "high": 0.0}
        return np.array([arousal["low"], arousal["mid"], arousal["high"]])


def synthesised() -> dict[str, np.ndarray]:
    """Wordless sounds, float32 [N] at `VOICE_RATE_HZ`, by name."""
    rng = np.random.default_rng(SEED)
    return {name: make_sound(name, SECONDS, rng) for name in WORDLESS}


def recorded(folder: Path) -> dict[str, np.ndarray]:
    """The recordings in a folder, as `synthesised`; shorter ones are repeated to fill the clip.

    Raises:
        InputError: there are fewer than two.
    """
    found = {path.stem: _read(path) for path in sorted(folder.iterdir()) if path.suffix in (".mp3", ".wav", ".flac")}
    if len(found) < 2:
        raise InputError(f"{folder} holds {len(found)} recordings (.mp3, .wav, .flac); two at least can be compared")
    return {name: np.resize(wave, round(SECONDS * VOICE_RATE_HZ)) for name, wave in found.items()}


def _read(path: Path) -> np.ndarray:
    resampler = av.AudioResampler("flt", "mono", VOICE_RATE_HZ)
    with av.open(path) as container:
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate(parts).astype(np.float32)


def describe(sounds: Mapping[str, np.ndarray], folder: Path) -> list[Heard]:
    """Render the picture with each sound, and send it down the road."""
    measuring = Engine(load_profile("measured"), "cpu", half_precision("cpu"))
    measuring.load()
    segmenter = Segmenter(SegmentRecipe()).load("cpu")
    reasoner, _, _ = open_reasoner("measured", folder, KeptHere())
    distiller = Distiller(reasoner.vocabulary, count_tokens)
    heard = []
    for number, (name, wave) in enumerate(sounds.items()):
        path = folder / f"{name}.mp4"
        _render(path, wave, late_s=0.04 * number)
        video = segmenter.segment(path, file_sha256(path), folder)
        clip = read_samples(video.clips[0].samples_path.read_bytes(), video.clip_ids[0])
        (measured,) = measuring.run([clip])
        subject = Subject(clip.clip_id, clip.duration_s, measured.values, measured.recipes, "", lambda: ())
        ((_, reasoning),) = reasoner.reason([subject])
        heard.append(Heard(name, distiller.distil(clip.clip_id, clip.duration_s, measured.values, reasoning)))
    return heard


def _render(path: Path, wave: np.ndarray, late_s: float) -> None:
    """The picture, begun a little later each time, so that it is similar and not the same."""
    form = FORMS[0]
    draw, _ = KINDS["talk"].open(form.size, SECONDS + 1.0, np.random.default_rng(SEED))
    n_frames = round(SECONDS * form.fps)
    frames = ((tick, draw(late_s + float(tick / form.fps), 0.0)) for tick in range(n_frames))
    write_video(path, form, frames, wave)


def apart(heard: Sequence[Heard]) -> dict[str, tuple[float, float]]:
    """Mean and least distance over all pairs: of bundles the share of attributes that differ; of control vectors the
    Euclidean distance; of arousal half the sum of the differences of its probabilities.
    """
    pairs = list(combinations(heard, 2))
    found = {
        "bundle": [sum(a.bundle[name] != b.bundle[name] for name in BUNDLE) / len(BUNDLE) for a, b in pairs],
        "control": [float(np.linalg.norm(a.control - b.control)) for a, b in pairs],
        "arousal": [float(np.abs(a.arousal - b.arousal).sum() / 2) for a, b in pairs],
    }
    return {name: (float(np.mean(values)), float(np.min(values))) for name, values in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.sounds", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep the rendered clips in this folder")
    parser.add_argument("--sounds", type=Path, help="folder of recordings to use in place of made sounds")
    parsed = parser.parse_args(arguments)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as scratch:
        folder = parsed.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            heard = describe(recorded(parsed.sounds) if parsed.sounds else synthesised(), folder)
        except InputError as error:
            console.print(f"refused: {error}")
            return 1
    _print(console, heard)
    return 0


def _print(console: Console, heard: Sequence[Heard]) -> None:
    table = Table("sound", *BUNDLE, "arousal low, mid, high", "heard as")
    for one in heard:
        bundle = [term or "–" for term in one.bundle.values()]
        arousal = " ".join(f"{share:.2f}" for share in one.arousal)
        table.add_row(one.sound, *bundle, arousal, one.annotation.attributes["sound_kind"] or "–")
    console.print(table)
    names = heard[0].annotation.control.names
    controls = Table("sound", *names)
    for one in heard:
        shown = zip(one.annotation.control.values, one.annotation.control.present, strict=True)
        controls.add_row(one.sound, *(f"{value:+.2f}" if present else "–" for value, present in shown))
    console.print(controls)
    for name, (mean, least) in apart(heard).items():
        console.print(f"{name}: {mean:.2f} apart on average, {least:.2f} at least")


if __name__ == "__main__":
    sys.exit(main())
