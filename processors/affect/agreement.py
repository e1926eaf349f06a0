"""What the models of facial affect say of a clip together, and how far they disagree.

Every model has the same say, and of the faces each as much as it is large. Probabilities are averaged as they are: two
models that see two different things leave two peaks, not a middle that neither saw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from processors.affect.arousal import distribution as arousal_shares
from processors.affect.divergence import divergence
from processors.affect.faces import PLEASURE_AROUSAL
from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

MODELS = ("affect_tracks_xception", "affect_tracks_deepface", "affect_tracks_emonet")
SEES_VALENCE = {"affect_tracks_emonet"}
"""Of `MODELS` those that were trained on valence; the others give it by the place of the expressions that they see."""
CURVE_RATE_HZ = 2.0
"""As often as faces are looked for."""
HOLDS_S = 0.5
"""A face is taken to look as it did this long before its first and after its last sight: the time between two looks."""
BORDER, SHARPNESS = 0.2, 12.0
"""Chosen: valence beyond 0.2 either way is positive or negative, as affect.arousal's borders are 0.4 and 0.6 of 0..1; a
neutral face is neutral with 0.83, a happy one positive with 0.999."""
VALENCES = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class Options:
    """None."""


@dataclass(frozen=True)
class Look:
    """What one model says of one face at one time.

    weight: area of the face, as a share of the frame. expression: label to probability. valence_shares: float64 [3], of
    `VALENCES`.
    """

    track: int
    time_s: float
    weight: float
    expression: Mapping[str, float]
    valence: float
    arousal: float
    valence_shares: np.ndarray


class Agreement(Processor):
    """Valence, expression and arousal of the faces of a clip; None without a face, or where no model looked."""

    version = 1
    reads = Reads(columns=("face_tracks",), optional=(*MODELS, "arousal"))
    Options = Options
    columns = (
        Column(name="valence", kind="json", low=0.0, high=1.0, measured=False,
               source="probabilities of negative, neutral and positive; mean over the models of facial affect, faces "
               "weighted by area; borders at 0.2 of -1..1, chosen"),
        Column(name="valence_curve", kind="curve", low=-1.0, high=1.0, rate_hz=CURVE_RATE_HZ, measured=False,
               source="as valence; None while no face is seen"),
        Column(name="valence_evidence", kind="json", measured=False, source="names of the columns that they rest on"),
        Column(name="expression", kind="json", low=0.0, high=1.0, measured=False,
               source="probability of each expression; mean over the models that know it, faces weighted by area"),
        Column(name="face_arousal", kind="json", low=0.0, high=1.0, measured=False,
               source="probabilities of low, mid and high by the models of facial affect; borders as of arousal"),
        Column(name="face_arousal_curve", kind="curve", low=-1.0, high=1.0, rate_hz=CURVE_RATE_HZ, measured=False,
               source="as face_arousal; None while no face is seen"),
        Column(name="affect_disagreement", kind="float", low=0.0, high=1.0, measured=False,
               source="of the models about expressions: Jensen-Shannon divergence (Lin 1991) over the labels that all "
               "know, a share of its largest, mean over the looks that all took; None with fewer than two models"),
        Column(name="arousal_disagreement", kind="float", low=0.0, high=1.0, measured=False,
               source="of faces and signals: Jensen-Shannon divergence of face_arousal and arousal, in bits"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._agreed(clip.duration_s, row) for clip, row in zip(clips, inputs, strict=True)]

    def _agreed(self, duration_s: float, row: Row) -> Row:
        areas = {track["track"]: _area(track) for track in row["face_tracks"] or ()}
        models = {name: looks for name in MODELS if (looks := _looks(name, row[name], areas))}
        if not models:
            return {column.name: None for column in self.columns} | {"valence_evidence": []}
        curves = [_curves(looks, duration_s) for looks in models.values()]
        signals = row["arousal"]
        face_arousal = _mean_shares([_averaged(looks, _arousal_shares) for looks in models.values()])
        valence = _mean_shares([_averaged(looks, _valence_shares) for looks in models.values()])
        expressions = [_averaged(looks, lambda look: look.expression) for looks in models.values()]
        return {
            "valence": valence,
            "valence_curve": _mean_curve([curve[:, 0] for curve in curves]),
            "valence_evidence": list(models),
            "expression": _mean_shares(expressions),
            "face_arousal": face_arousal,
            "face_arousal_curve": _mean_curve([curve[:, 1] for curve in curves]),
            "affect_disagreement": _disagreement(list(models.values())),
            "arousal_disagreement": None if signals is None else divergence([signals, face_arousal]),
        }


def valence_shares(valence: float) -> np.ndarray:
    """Probabilities of negative, neutral and positive, float64 [3], of a valence in -1..1 (ordered logistic)."""
    above_low, above_high = expit(SHARPNESS * (valence + BORDER)), expit(SHARPNESS * (valence - BORDER))
    return np.array([1.0 - above_low, above_low - above_high, above_high])


def _looks(model: str, tracks: Sequence[Mapping[str, Any]] | None, areas: Mapping[int, float]) -> list[Look]:
    found = []
    for track in tracks or ():
        for i, time_s in enumerate(track["times_s"]):
            expression = {label: curve[i] for label, curve in track["expression"].items()}
            if model in SEES_VALENCE:
                shares = valence_shares(track["valence"][i])
            else:
                # By expression, not by the expected place: half happy, half sad is not neutral.
                each = [share * valence_shares(PLEASURE_AROUSAL[label][0]) for label, share in expression.items()]
                shares = np.sum(each, axis=0)
            weight = areas[track["track"]]
            valence, arousal = track["valence"][i], track["arousal"][i]
            found.append(Look(track["track"], time_s, weight, expression, valence, arousal, shares))
    return found


def _area(track: Mapping[str, Any]) -> float:
    """Median share of the frame; a face without any still counts."""
    boxes = np.array(track["boxes_xyxy"])
    return max(float(np.median((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))), 1e-6)


def _averaged(looks: Sequence[Look], shares_of: Any) -> dict[str, float]:
    """Mean distribution of looks, weighted."""
    weights = np.array([look.weight for look in looks])
    each = [shares_of(look) for look in looks]
    return {label: float(np.average([one[label] for one in each], weights=weights)) for label in each[0]}


def _valence_shares(look: Look) -> dict[str, float]:
    return dict(zip(VALENCES, look.valence_shares.tolist(), strict=True))


def _arousal_shares(look: Look) -> dict[str, float]:
    return arousal_shares((look.arousal + 1.0) / 2.0, coverage=1.0)


def _mean_shares(models: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean distribution; a label that a model does not know is left to the others."""
    labels = sorted({label for model in models for label in model})
    means = {label: float(np.mean([model[label] for model in models if label in model])) for label in labels}
    return {label: share / sum(means.values()) for label, share in means.items()}


def _curves(looks: Sequence[Look], duration_s: float) -> np.ndarray:
    """Valence and arousal of one model over the clip, float64 [N, 2]; NaN while no face is seen."""
    at_s = np.arange(max(1, round(duration_s * CURVE_RATE_HZ))) / CURVE_RATE_HZ
    summed, weights = np.zeros((len(at_s), 2)), np.zeros((len(at_s), 1))
    for number in sorted({look.track for look in looks}):
        of_track = [look for look in looks if look.track == number]
        times_s = [look.time_s for look in of_track]
        seen = (at_s >= times_s[0] - HOLDS_S) & (at_s <= times_s[-1] + HOLDS_S)
        values = [
            np.interp(at_s, times_s, told) for told in zip(*((o.valence, o.arousal) for o in of_track), strict=True)
        ]
        summed[seen] += of_track[0].weight * np.stack(values, axis=1)[seen]
        weights[seen] += of_track[0].weight
    return np.divide(summed, weights, out=np.full_like(summed, np.nan), where=weights > 0.0)


def _mean_curve(curves: Sequence[np.ndarray]) -> list[float | None]:
    """Mean over the models; None where no face is seen, which is so for all of them alike or for none."""
    mean = np.mean(curves, axis=0)
    return [None if np.isnan(value) else float(value) for value in mean]


def _disagreement(models: Sequence[Sequence[Look]]) -> float | None:
    if len(models) < 2:
        return None
    shared = set.intersection(*({label for look in looks for label in look.expression} for looks in models))
    by_sight = [{(look.track, look.time_s): look for look in looks} for looks in models]
    found, weights = [], []
    for sight in sorted(set.intersection(*(set(looks) for looks in by_sight))):
        said = [_over(looks[sight].expression, shared) for looks in by_sight]
        found.append(divergence(said))
        weights.append(by_sight[0][sight].weight)
    return float(np.average(found, weights=weights)) if found else None


def _over(expression: Mapping[str, float], labels: set[str]) -> dict[str, float]:
    """A distribution over some of its labels only."""
    known = {label: expression[label] for label in sorted(labels)}
    whole = sum(known.values())
    return {label: share / whole if whole else 1.0 / len(known) for label, share in known.items()}
