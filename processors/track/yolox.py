"""People and objects by YOLOX, as an ONNX file: small and permissively licensed, for machines without a GPU."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import onnxruntime

from processors.base import NOT_IN_RECIPE
from processors.models.lock import file_sha256
from processors.pretrained import model_file
from processors.track.boxes import strongest
from processors.track.coco import COCO_LABELS
from processors.track.detector import DOUBTFUL, SURE, Detected, Detector, object_column, people_columns
from store.errors import ModelUnavailable

STRIDES = (8, 16, 32)
EDGE_GREY = 114
"""What YOLOX was trained with beyond the picture's edge."""
MOST_IOU = 0.45
"""Of two boxes of one label, as in YOLOX's own demonstration."""
_SOURCE = "YOLOX (Ge et al. 2021), COCO labels"


@dataclass(frozen=True)
class Options:
    """model: an ONNX file as YOLOX's `tools/export_onnx.py` writes it (or a folder that holds one), or an id of the
    model hub; min_score: least score of a box that opens a track."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    min_score: float = SURE


class Yolox(Detector):
    """Tracks of people and objects by YOLOX."""

    version = 1
    Options = Options
    model_files = ("*.onnx",)
    columns = (*people_columns(_SOURCE), object_column(_SOURCE))

    def load(self, device: str) -> None:
        """Onto the CPU, whatever the device: onnxruntime's package for GPUs is another one."""
        path = model_file(self.options.model, self.options.revision, "*.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._net = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        (given,), (height, width) = self._net.get_inputs(), self._net.get_inputs()[0].shape[2:]
        n_cells = sum((height // stride) * (width // stride) for stride in STRIDES)
        answer = self._net.get_outputs()[0].shape
        if list(answer[1:]) != [n_cells, 5 + len(COCO_LABELS)]:
            raise ModelUnavailable(
                f"{path} answers with {answer}, not with YOLOX's [1, {n_cells}, {5 + len(COCO_LABELS)}]; export it "
                "with YOLOX's tools/export_onnx.py and without --decode_in_inference"
            )
        self._input, self._size = given.name, (height, width)
        self._corners, self._strides = _cells(height, width)
        self._digest = file_sha256(path)

    def weights(self) -> dict[str, str]:
        return {"yolox": self._digest}

    def detected(self, frames_rgb: np.ndarray) -> list[Detected]:
        return [self._in_frame(frame) for frame in frames_rgb]

    def _in_frame(self, frame_rgb: np.ndarray) -> Detected:
        picture, shown = self._framed(frame_rgb)
        answer: Any = self._net.run(None, {self._input: picture})[0]
        # [cells, x, y, log width, log height, objectness, 80 labels]; a score is objectness times a label's.
        maybe = np.flatnonzero(answer[0, :, 4] >= DOUBTFUL)
        cells = answer[0, maybe].astype(np.float64)
        labels = cells[:, 5:].argmax(axis=1)
        scores = cells[:, 4] * cells[np.arange(len(cells)), 5 + labels]
        centres = (cells[:, :2] + self._corners[maybe]) * self._strides[maybe]
        halves = np.exp(cells[:, 2:4]) * self._strides[maybe] / 2.0
        boxes = np.concatenate([centres - halves, centres + halves], axis=1) / np.tile(shown, 2)
        likely = np.flatnonzero(scores >= DOUBTFUL)
        kept = likely[strongest(boxes[likely], scores[likely], labels[likely], MOST_IOU)]
        return Detected(boxes[kept], scores[kept], tuple(COCO_LABELS[label] for label in labels[kept]))

    def _framed(self, frame_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The net's input, float32 [1, 3, H, W], BGR in 0..255, with the frame at its top left, and the frame's width
        and height in it."""
        height, width = frame_rgb.shape[:2]
        scale = min(self._size[0] / height, self._size[1] / width)
        shown = max(1, round(width * scale)), max(1, round(height * scale))
        picture = np.full((*self._size, 3), EDGE_GREY, np.uint8)
        picture[: shown[1], : shown[0]] = cv2.resize(frame_rgb, shown, interpolation=cv2.INTER_LINEAR)
        return picture[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32), np.array(shown, np.float64)


def _cells(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, float64 [cells, 2], and stride, float64 [cells, 1], of each cell of the net's three grids."""
    corners, strides = [], []
    for stride in STRIDES:
        rows, columns = np.indices((height // stride, width // stride))
        corners.append(np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float64))
        strides.append(np.full((len(corners[-1]), 1), float(stride)))
    return np.concatenate(corners), np.concatenate(strides)
