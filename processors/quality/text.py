"""Text in the picture, and subtitles: PP-OCRv4's text detector, whose weights lie inside a dependency."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.errors import ModelUnavailable
from store.records import Column

PACKAGE, WEIGHTS = "rapidocr-onnxruntime", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"
ENLARGED = 1.5
"""Chosen: of subtitles 6 px high, drawn over 16 recorded frames of 384 px, 9 are found as they are, 15 at one and a
half times the size, 16 at twice it; of 9 px all are. A frame takes 26, 64 and 113 ms."""
SIDE_STEP = 32
"""The net halves its input five times."""
TEXT_PROBABILITY, LINE_PROBABILITY = 0.3, 0.6
"""PP-OCR's own thresholds, of a pixel and of the mean over a line (its `box_thresh`, 0.6 in PaddleOCR)."""
GROWN = 1.6
"""PP-OCR's `unclip_ratio`: the net is trained on lines shrunk by this much."""
WIDEST_LETTER = 1.5
"""Chosen: a line is at least so many times as wide as high; two of three finds on faces and machinery are not."""
TALLEST_SHARE = 0.25
"""Of the frame's height. Chosen: a drawn stage was found as one line half as high as the frame."""
SUBTITLE_TOP, SUBTITLE_OFF_CENTRE, SHORTEST_SUBTITLE = 0.60, 0.15, 0.15
"""Chosen: subtitles stand centred in the lower two fifths of the frame, and are wider than a mouth, the only fault of
this kind that was seen (0.10 of the width)."""


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Text(Processor):
    """Lines of text, filmed or burned in. That they are written is seen, not what they say."""

    version = 1
    reads = Reads(frame_rate_hz=1.0, longest_px=384)
    Options = Options
    columns = (
        Column(name="text_share", kind="float", low=0.0, high=1.0,
               source="share of the picture under lines of text, mean over frames; PP-OCRv4 (DB, Liao et al. 2020)"),
        Column(name="subtitle_share", kind="float", low=0.0, high=1.0,
               source="share of frames with a line centred in the lower two fifths; PP-OCRv4"),
        Column(name="text_boxes", kind="json",
               source="list of {time_s, boxes_xyxy in 0..1, scores} of frames with text; PP-OCRv4"),
    )  # fmt: skip

    def load(self, device: str) -> None:
        path = _weights_path()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._net = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._digest = sha256(path.read_bytes()).hexdigest()

    def weights(self) -> dict[str, str]:
        return {"PP-OCRv4 detector": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip) for clip in clips]

    def _measured(self, clip: DecodedClip) -> Row:
        each = [lines(self._probabilities(frame)) for frame in clip.frames_rgb]
        shares = [float(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).sum()) for boxes, _ in each]
        subtitled = [bool(_is_subtitle(boxes).any()) for boxes, _ in each]
        return {
            "text_share": min(1.0, float(np.mean(shares))),
            "subtitle_share": float(np.mean(subtitled)),
            "text_boxes": [
                {"time_s": float(time_s), "boxes_xyxy": boxes.tolist(), "scores": scores.tolist()}
                for time_s, (boxes, scores) in zip(clip.frame_times_s, each, strict=True)
                if len(boxes)
            ],
        }

    def _probabilities(self, frame_rgb: np.ndarray) -> np.ndarray:
        """Probability that a pixel is text, float32 [H, W], at the net's own scale."""
        height, width = (max(SIDE_STEP, round(side * ENLARGED / SIDE_STEP) * SIDE_STEP) for side in frame_rgb.shape[:2])
        enlarged = cv2.resize(frame_rgb, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        # RapidOCR: blue first, -1 to 1.
        pixels = np.ascontiguousarray((enlarged[None, :, :, ::-1] / 127.5 - 1.0).transpose(0, 3, 1, 2))
        (found,) = self._net.run(None, {self._net.get_inputs()[0].name: pixels})
        return np.asarray(found)[0, 0]


def lines(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes float64 [N, 4] xyxy in 0..1 and scores float64 [N] of lines of text (DB's box formation, upright boxes).

    Args:
        probabilities: float32 [H, W].
    """
    height, width = probabilities.shape
    mask = (probabilities > TEXT_PROBABILITY).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    boxes, scores = [], []
    for left, top, across, down in stats[1:, :4].tolist():
        score = float(probabilities[top : top + down, left : left + across].mean())
        is_line = min(across, down) >= 3 and across >= WIDEST_LETTER * down and down <= TALLEST_SHARE * height
        if not is_line or score < LINE_PROBABILITY:
            continue
        # DB shrinks a line by area * (1 - r^2) / perimeter on each side; `unclip_ratio` undoes it.
        grown = across * down * GROWN / (2.0 * (across + down))
        box = (left - grown, top - grown, left + across + grown, top + down + grown)
        boxes.append(np.clip(np.array(box) / (width, height, width, height), 0.0, 1.0))
        scores.append(score)
    return np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float64)


def _is_subtitle(boxes_xyxy: np.ndarray) -> np.ndarray:
    """bool [N]."""
    left, top, right, _ = boxes_xyxy.T
    off_centre = np.abs((left + right) / 2.0 - 0.5)
    return (top >= SUBTITLE_TOP) & (off_centre <= SUBTITLE_OFF_CENTRE) & (right - left >= SHORTEST_SUBTITLE)


def _weights_path() -> Path:
    """Where the package has its weights; it is not imported, as only the detector's file is used."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(WEIGHTS)))
    except PackageNotFoundError as error:
        raise ModelUnavailable(f"package {PACKAGE}, which holds the text detector, is missing; `make env`") from error
    if not path.is_file():
        raise ModelUnavailable(f"package {PACKAGE} holds no {WEIGHTS}; install the version that pyproject.toml names")
    return path
