"""How old everyone seen appears to be, by MiVOLO v2: of each person a distribution, not a number."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch

from processors.age.pairs import Person, Sight, Tracked, paired, sights
from processors.age.volo import MiVolo, VoloSize
from processors.base import NOT_IN_RECIPE, DecodedClip, Failed, Processor, Reads, Row
from processors.decode import SAMPLE_LONGEST_PX, SAMPLE_RATE_HZ
from processors.pretrained import model_folder, weight_files, weights_digest
from processors.state_dict import fill, read_state
from store.errors import ModelUnavailable
from store.records import Column

ADULT_YEARS = 18.0
"""What `p_minor` asks about; the gate (store/gate.py) asks for its own age, with a margin."""
FACE_ERROR_YEARS = 3.65
"""Mean absolute error of MiVOLO v2 on Lagenda, face and body (the authors' table; 74.5% within 5 years). With the face
alone it was no other in their first version (4.22 and 4.24 on IMDB-clean)."""
BODY_ERROR_YEARS = FACE_ERROR_YEARS * 6.87 / 4.24
"""Without a face: not published for v2; their first version had 6.87 where the face gave 4.24 (IMDB-clean)."""
MEAN_ERROR_OF_DEVIATION = math.sqrt(2.0 / math.pi)
"""Of a normal distribution: its mean absolute error, in standard deviations."""
SIGHTS = 3
"""Chosen: of each person at most so many looks, as they err together and each costs a CPU core 3 seconds."""
SIGHTS_AT_ONCE = 4
"""Chosen: bounds the memory of the cross-attention, 2,304 patches by 2,304, twice."""
MEAN_RGB, DEVIATION_RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of colours in 0..1."""
PREFIX = "mivolo.model."
"""Of the names in the published file."""


@dataclass(frozen=True)
class Options:
    """model: a folder or a Hugging Face id."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)


class Mivolo(Processor):
    """Apparent ages. Who cannot be assessed is counted: `age_unassessed` is 0 only if everyone was, None if faces or
    people were not looked for, as in a profile without a detector of people.
    """

    version = 1
    reads = Reads(
        frame_rate_hz=SAMPLE_RATE_HZ,
        longest_px=SAMPLE_LONGEST_PX,
        columns=("face_tracks",),
        optional=("people_tracks",),
    )
    Options = Options
    max_batch = 4
    model_files = ("config.json", "model.safetensors")
    columns = (
        Column(name="age_tracks", kind="json", measured=False,
               source="MiVOLO v2 (Kuprashevich and Tolstykh 2023); list of {track: face track or null, person: people "
               "track or null, mean_years, std_years: published error and spread over the sights, p_minor: probability "
               "of being younger than 18, p_female, n_sights}"),
        Column(name="minor_probability", kind="float", low=0.0, high=1.0, measured=False,
               source="highest p_minor of age_tracks; None where nobody was assessed"),
        Column(name="age_unassessed", kind="int", unit="people", low=0, measured=False,
               source="faces and people seen that are too small or hidden for MiVOLO v2; None where not looked for"),
    )  # fmt: skip

    def load(self, device: str) -> None:
        folder = model_folder(self.options.model, self.options.revision)
        (path, *_) = weight_files(folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        state = {name.removeprefix(PREFIX): value.float() for name, value in read_state(path).items()}
        try:
            self._middle_years = float(config["avg_age"])
            self._span_years = float(config["max_age"]) - float(config["min_age"])
            size = VoloSize.of(state)
        except KeyError as error:
            raise ModelUnavailable(f"{path} and its config.json are not MiVOLO v2's: there is no {error}") from error
        net = MiVolo(size)
        fill(net, state, path)
        self._device, self._image_px = device, size.image_px
        self._net = net.to(device).eval()
        self._digest = weights_digest(folder)

    def weights(self) -> dict[str, str]:
        return {"mivolo": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip, row) for clip, row in zip(clips, inputs, strict=True)]

    def _measured(self, clip: DecodedClip, row: Row) -> Row:
        faces, bodies = row["face_tracks"], row["people_tracks"]
        people = paired(faces or [], bodies or [])
        looks = [sights(person, clip, faces or [], bodies or [], SIGHTS) for person in people]
        told = self._told([look for of_person in looks for look in of_person])
        tracks, start = [], 0
        for person, of_person in zip(people, looks, strict=True):
            if of_person:
                tracks.append(_aged(person, of_person, told[start : start + len(of_person)]))
            start += len(of_person)
        looked_for = faces is not None and bodies is not None
        return {
            "age_tracks": tracks if looked_for or tracks else None,
            "minor_probability": max((track["p_minor"] for track in tracks), default=None),
            "age_unassessed": len(people) - len(tracks) if looked_for else None,
        }

    @torch.inference_mode()
    def _told(self, looks: Sequence[Sight]) -> np.ndarray:
        """float64 [N, 2]: age in years and probability of being female, of looks at people of this clip."""
        parts = [looks[start : start + SIGHTS_AT_ONCE] for start in range(0, len(looks), SIGHTS_AT_ONCE)]
        told = [np.zeros((0, 2))]
        for part in parts:
            pairs = [np.concatenate([self._pixels(look.face_rgb), self._pixels(look.body_rgb)]) for look in part]
            output = self._net(torch.from_numpy(np.stack(pairs)).to(self._device)).double().cpu()
            years = output[:, 2] * self._span_years + self._middle_years
            told.append(torch.stack([years.clamp(min=0.0), output[:, :2].softmax(dim=1)[:, 1]], dim=1).numpy())
        return np.concatenate(told)

    def _pixels(self, picture_rgb: np.ndarray | None) -> np.ndarray:
        """float32 [3, S, S]: a picture, whole, in the middle of a black square; all black where there is none."""
        square = np.zeros((self._image_px, self._image_px, 3), np.uint8)
        if picture_rgb is not None:
            height, width = picture_rgb.shape[:2]
            scale = self._image_px / max(height, width)
            high, wide = max(1, round(height * scale)), max(1, round(width * scale))
            top, left = (self._image_px - high) // 2, (self._image_px - wide) // 2
            square[top : top + high, left : left + wide] = cv2.resize(picture_rgb, (wide, high))
        scaled = (square / 255.0 - MEAN_RGB) / DEVIATION_RGB
        return scaled.astype(np.float32).transpose(2, 0, 1)


def _aged(person: Person, looks: Sequence[Sight], told: np.ndarray) -> dict[str, Any]:
    """A person's entry in `age_tracks`.

    The looks err together, so that more of them make the estimate no surer: the published error stays whole, and how
    they differ comes on top.
    """
    years, female = told[:, 0], told[:, 1]
    sees_face = any(look.face_rgb is not None for look in looks)
    error_years = FACE_ERROR_YEARS if sees_face else BODY_ERROR_YEARS
    deviation_years = math.hypot(error_years / MEAN_ERROR_OF_DEVIATION, float(years.std()))
    return {
        "track": _number(person.face),
        "person": _number(person.body),
        "mean_years": float(years.mean()),
        "std_years": deviation_years,
        "p_minor": probability_below(ADULT_YEARS, float(years.mean()), deviation_years),
        "p_female": float(female.mean()),
        "n_sights": len(looks),
    }


def _number(track: Tracked | None) -> int | None:
    return None if track is None else int(track["track"])


def probability_below(limit_years: float, mean_years: float, std_years: float) -> float:
    """That a normally distributed age lies below a limit."""
    return 0.5 * math.erfc((mean_years - limit_years) / (std_years * math.sqrt(2.0)))
