"""People and objects by RT-DETR v2: the permissively licensed detector of the profile `pretrained`."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import RTDetrImageProcessor, RTDetrV2ForObjectDetection

from processors.base import NOT_IN_RECIPE
from processors.pretrained import model_folder, weights_digest
from processors.track.boxes import strongest
from processors.track.detector import (
    DOUBTFUL,
    SURE,
    Detected,
    Detector,
    check_labels,
    object_column,
    people_columns,
)

FRAMES_AT_ONCE = 8
"""Of 640 px each, on a GPU. Chosen: on a CPU 8 at once take 1.4 times as long as one by one."""
MOST_IOU = 0.7
"""Chosen: RT-DETR gives one box to each thing, but now and then a person twice."""
_SOURCE = "RT-DETR v2 (Lv et al. 2024), labels of its data set"


@dataclass(frozen=True)
class Options:
    """model: a folder or an id of the model hub; min_score: least score of a box that opens a track."""

    model: str = field(metadata=NOT_IN_RECIPE)
    revision: str | None = field(default=None, metadata=NOT_IN_RECIPE)
    min_score: float = SURE


class RtDetr(Detector):
    """Tracks of people and objects by RT-DETR."""

    version = 1
    Options = Options
    half_on_gpu = True
    columns = (*people_columns(_SOURCE), object_column(_SOURCE))

    def load(self, device: str) -> None:
        folder = model_folder(self.options.model, self.options.revision)
        self._preprocess = RTDetrImageProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = RTDetrV2ForObjectDetection.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()
        check_labels(self.options.model, self._model.config.id2label.values())
        self._digest = weights_digest(folder)

    def weights(self) -> dict[str, str]:
        return {"rtdetr": self._digest}

    def detected(self, frames_rgb: np.ndarray) -> list[Detected]:
        at_once = 1 if self._model.device.type == "cpu" else FRAMES_AT_ONCE
        starts = range(0, len(frames_rgb), at_once)
        return [one for start in starts for one in self._answers(frames_rgb[start : start + at_once])]

    @torch.inference_mode()
    def _answers(self, frames_rgb: np.ndarray) -> list[Detected]:
        pixels = self._preprocess(images=list(frames_rgb), return_tensors="pt")["pixel_values"]
        outputs = self._model(pixel_values=pixels.to(self._model.device))
        found = []
        for answer in self._preprocess.post_process_object_detection(outputs, threshold=DOUBTFUL):
            boxes, scores = (answer[name].double().cpu().numpy() for name in ("boxes", "scores"))
            labels = answer["labels"].cpu().numpy()
            kept = strongest(boxes, scores, labels, MOST_IOU)
            names = tuple(self._model.config.id2label[label] for label in labels[kept].tolist())
            found.append(Detected(boxes[kept], scores[kept], names))
        return found
