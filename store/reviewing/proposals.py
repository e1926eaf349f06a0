"""What a person would likely answer, with its uncertainty; it proposes and never decides.

Learnt from the answers so far: a logistic regression for each kind of question, by maximum a posteriori. The weights
are w ~ N(m, diag(s^2)) with a stated prior mean m, so that without an answer it says what the prior says, and each
answer moves it a little. Its posterior is taken for normal (Laplace; MacKay 1992, "The evidence framework applied to
classification networks"): with x's logit normal of mean x.w and variance v = x S x, where S is the inverse Hessian,

    P(yes | x) = sigmoid(x.w / sqrt(1 + pi v / 8)),   95% interval: sigmoid(x.w +- 1.96 sqrt(v)).

With enough answers its logits are calibrated by Platt's sigmoid (1999) on out-of-fold predictions, fitted in the same
way around the identity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from store.records import Json
from store.reviewing.ledger import Ledger

Learnt = Literal["member", "hold"]
"""Kinds of questions that are learnt: is the clip of a concept (yes, no); may a held clip be used (keep, drop)."""

FEATURES = ("membership", "margin", "cluster_probability", "outlier_score", "contradiction", "excess", "pivot")
"""In [0, 1], of a clip. membership: its probability in the concept. excess: how far it is beyond a filter's threshold.
pivot: score of its strongest change of concept."""
_CENTRE, _SCALE = 0.5, 0.25
"""What makes a feature of [0, 1] one of unit size; a missing one is at the centre, where it says nothing."""
_MEANS: Mapping[Learnt, tuple[float, ...]] = {
    "member": (1.5, 1.0, 0.5, 0.0, -0.5, -0.25, 0.0, -0.25),
    "hold": (0.0, 0.0, 0.0, 0.0, -0.5, -0.5, -0.5, 0.0),
}
"""Prior means of the bias and of each feature's weight. Chosen: four in five members at the centre of every feature are
right, and half of what is held; the signs are what the features are for."""
_SPREAD = 1.0
"""Prior deviation of every weight. Chosen: a feature may turn its sign, given some twenty answers that say so."""
_FOLDS = 5
CALIBRATED_FROM = 50
"""Chosen: from so many answers Platt's two numbers are fitted. Learnt from 60, 120 and 300 answers in the queue's order
(`tests.bench.review`, 10 subsets), the calibration error on the others is 0.060, 0.054, 0.047 with them and 0.064,
0.057, 0.050 without, and the mean proposal is off by 0.027, 0.037, 0.038 in place of 0.056, 0.050, 0.043."""
ENOUGH, ENOUGH_EITHER = 20, 4
"""Chosen: with fewer answers, or fewer of either kind, nothing is proposed; the prior still orders the queue."""
_Z = 1.959964


@dataclass(frozen=True)
class Example:
    """An answer: what was shown of the clip, and whether it was yes (or keep)."""

    features: Mapping[str, float]
    is_yes: bool


@dataclass(frozen=True)
class Proposal:
    """What a person would likely answer about a clip: `answer` is yes (or keep); the 95% interval of `probability` is
    (low, high). concept: None where the question is whether it may be used."""

    clip_id: str
    concept: str | None
    answer: bool
    probability: float
    low: float
    high: float


@dataclass(frozen=True)
class Model:
    """A fitted regression. weights: float64 [1 + F]. covariance: float64 [1 + F, 1 + F]. platt: (offset, slope) of its
    logits. n_yes, n_no: answers that it was fitted to."""

    weights: np.ndarray
    covariance: np.ndarray
    platt: tuple[float, float]
    n_yes: int
    n_no: int

    @property
    def lacks(self) -> str | None:
        """Why it proposes nothing yet, for a person; None: it does."""
        n_answers, fewest = self.n_yes + self.n_no, min(self.n_yes, self.n_no)
        if n_answers >= ENOUGH and fewest >= ENOUGH_EITHER:
            return None
        return (
            f"not enough decisions yet: {n_answers} of {ENOUGH}, with {fewest} of at least {ENOUGH_EITHER} of the"
            " rarer answer"
        )

    def predict(self, features: Sequence[Mapping[str, float]]) -> np.ndarray:
        """(probability of yes, low, high) of each clip: float64 [N, 3]."""
        x = _matrix(features)
        offset, slope = self.platt
        logits = offset + slope * (x @ self.weights)
        deviations = abs(slope) * np.sqrt(np.einsum("ni,ij,nj->n", x, self.covariance, x))
        middle = logits / np.sqrt(1.0 + np.pi * deviations**2 / 8.0)
        return expit(np.stack([middle, logits - _Z * deviations, logits + _Z * deviations], axis=1))


def examples(ledger: Ledger, kind: Learnt) -> list[Example]:
    """The standing answers to one kind of question, the latest of each, by clip and concept; only of clips of which it
    is on record what was shown."""
    found: dict[tuple[str, str], Example] = {}
    for one in ledger.decisions:
        shown, clip_id = one.get("shown", {}), one["subject_id"]
        if kind == "hold" and shown and one["verdict"] in ("keep", "drop"):
            found[clip_id, ""] = Example(shown, one["verdict"] == "keep")
        if kind == "member" and shown:
            for concept, is_yes in one.get("concepts", {}).items():
                found[clip_id, concept] = Example(shown_of(shown, concept), is_yes)
    return [found[key] for key in sorted(found)]


def shown_of(shown: Json, concept: str) -> dict[str, float]:
    """The features of a clip as a question about one concept sees them; a record keeps `membership.CONCEPT`."""
    return {name.removesuffix(f".{concept}"): value for name, value in shown.items()}


def fitted(kind: Learnt, answers: Sequence[Example]) -> Model:
    """The model of these answers, whose order does not matter as long as it is always the same."""
    x, y = _matrix([one.features for one in answers]), np.array([one.is_yes for one in answers], np.float64)
    means = np.array(_MEANS[kind])
    weights, covariance = _posterior(x, y, means, np.full(len(means), _SPREAD))
    platt = (0.0, 1.0)
    if len(y) >= CALIBRATED_FROM and min(y.sum(), len(y) - y.sum()) >= ENOUGH_EITHER:
        platt = _platt(x, y, means)
    return Model(weights, covariance, platt, int(y.sum()), int(len(y) - y.sum()))


def _platt(x: np.ndarray, y: np.ndarray, means: np.ndarray) -> tuple[float, float]:
    folds = np.arange(len(y)) % _FOLDS
    logits = np.empty(len(y))
    for fold in range(_FOLDS):
        inside = folds != fold
        weights, _ = _posterior(x[inside], y[inside], means, np.full(len(means), _SPREAD))
        logits[~inside] = x[~inside] @ weights
    line = np.stack([np.ones_like(logits), logits], axis=1)
    (offset, slope), _ = _posterior(line, y, np.array([0.0, 1.0]), np.array([0.5, 0.5]))
    return float(offset), float(slope)


def _posterior(x: np.ndarray, y: np.ndarray, means: np.ndarray, spreads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mode float64 [F] and covariance float64 [F, F] of the weights, given x float64 [N, F] and y 0 or 1 [N]."""
    precision = 1.0 / spreads**2

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        value = -(y * log_expit(z) + (1.0 - y) * log_expit(-z)).sum() + 0.5 * (precision * (w - means) ** 2).sum()
        return value, x.T @ (expit(z) - y) + precision * (w - means)

    mode = minimize(loss, means, jac=True, method="L-BFGS-B").x
    p = expit(x @ mode)
    return mode, np.linalg.inv((x * (p * (1.0 - p))[:, None]).T @ x + np.diag(precision))


def _matrix(features: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Features of each clip, the bias first: float64 [N, 1 + F]."""
    values = [[one.get(name, _CENTRE) for name in FEATURES] for one in features]
    scaled = (np.array(values, np.float64).reshape(-1, len(FEATURES)) - _CENTRE) / _SCALE
    return np.hstack([np.ones((len(scaled), 1)), scaled])
