"""Boxes, float64 [N, 4] xyxy: how much they overlap, and which of them show the same thing."""

import cv2
import numpy as np


def iou(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Intersection over union, float64 [M, N], of boxes [M, 4] and [N, 4]."""
    shared = overlap(left, right)
    return shared / np.maximum(area(left)[:, None] + area(right)[None, :] - shared, 1e-12)


def area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Float64 [N]."""
    return np.prod(np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0.0), axis=1)


def overlap(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Area of the intersection, float64 [M, N], of boxes [M, 4] and [N, 4]."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    return np.prod(np.maximum(high - low, 0.0), axis=2)


def grown(boxes_xyxy: np.ndarray, times: float) -> np.ndarray:
    """Boxes about the same centres, so many times as wide and high."""
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2.0
    halves = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * times / 2.0
    return np.concatenate([centres - halves, centres + halves], axis=1)


def strongest(boxes_xyxy: np.ndarray, scores: np.ndarray, labels: np.ndarray, most_iou: float) -> np.ndarray:
    """Indices of the boxes that are no weaker copy, of an overlap above `most_iou`, of one of the same label.

    Args:
        scores: float64 [N]. labels: int [N].
    """
    corner_and_size = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(corner_and_size.tolist(), scores.tolist(), labels.tolist(), 0.0, most_iou)
    return np.sort(np.asarray(kept, np.intp))
