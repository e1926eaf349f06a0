"""Tiny detectors of people and tiny models of their poses, of the real classes, for `processors.tiny`.

Each finds a few things, at places that depend on the picture; what it calls them means nothing.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, checker, helper, numpy_helper, save
from transformers import (
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessor,
)

from processors.pose.keypoints import KEYPOINTS
from processors.track.coco import COCO_LABELS
from processors.track.yolox import STRIDES
from processors.yolo_model import quiet
from store.errors import ModelUnavailable

SIZE_PX = 64
LABELS = {0: "person", 1: "chair"}


def build_rtdetr(folder: Path) -> None:
    labels: Any = {"id2label": LABELS, "label2id": {name: i for i, name in LABELS.items()}}
    stages: Any = {"out_indices": [2, 3, 4]}
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], layer_type="basic", **stages
    )
    config = RTDetrV2Config(
        backbone_config=backbone,
        encoder_in_channels=[16, 16, 32],
        encoder_hidden_dim=16,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=8,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_denoising=0,
        hidden_expansion=0.5,
        **labels,
    )
    model = RTDetrV2ForObjectDetection(config)
    for name, parameter in model.named_parameters():
        if "class_embed" in name or "bbox_embed" in name:
            torch.nn.init.normal_(parameter, 0.0, 0.4)
        if name.endswith("class_embed.1.bias"):  # of the last layer: people, often several, and fewer chairs
            parameter.data = torch.tensor([2.0, -0.5])
    RTDetrImageProcessor(size={"height": SIZE_PX, "width": SIZE_PX}).save_pretrained(folder)
    model.save_pretrained(folder)


def build_vitpose(folder: Path) -> None:
    layers: Any = {"out_indices": [2]}
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48], hidden_size=32, num_hidden_layers=2, num_attention_heads=2, **layers
    )
    labels: Any = {"num_labels": len(KEYPOINTS)}
    VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(folder)
    VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, **labels)).save_pretrained(folder)


def build_yolo(folder: Path) -> None:
    _ultralytics(folder / "yolo.pt", "yolo26.yaml", "detect", {"nc": len(LABELS)}, LABELS)


def build_yolo_pose(folder: Path) -> None:
    points = {"nc": 1, "kpt_shape": [len(KEYPOINTS), 3]}
    _ultralytics(folder / "yolo-pose.pt", "yolo26-pose.yaml", "pose", points, {0: "person"})


def _ultralytics(path: Path, design: str, task: str, changed: dict[str, Any], labels: dict[int, str]) -> None:
    """A model of ultralytics' own design, an eighth as wide as its smallest, at 64 px."""
    with quiet():
        try:
            from ultralytics.nn.tasks import DetectionModel, PoseModel, yaml_model_load
        except ModuleNotFoundError as error:
            raise ModelUnavailable(
                f"{path} cannot be built without the package ultralytics (AGPL-3.0): `uv sync --extra yolo`"
            ) from error
        widths = {"scales": {"t": [0.25, 0.03125, 256]}, "scale": "t"}
        model = {"detect": DetectionModel, "pose": PoseModel}[task](
            yaml_model_load(design) | widths | changed, verbose=False
        )
    model.names = labels
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():  # once in training, so that the pictures are not lost on the way through the layers
        model.train()(torch.rand(8, 3, SIZE_PX, SIZE_PX))
    head: Any = model.eval().model[-1]
    for name, parameter in head.named_parameters():
        if "cv3" in name and name.split(".")[2] == "2":  # the last layer of the scores, so that some are high
            torch.nn.init.normal_(parameter, -1.0 if name.endswith("bias") else 0.0, 0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model, "train_args": {"task": task, "imgsz": SIZE_PX}}, path)


def build_yolox(folder: Path) -> None:
    """One layer for each of YOLOX's strides, with its outputs: boxes as they are, scores in 0..1."""
    n_values, nodes, weights, grids = 5 + len(COCO_LABELS), [], [], []
    for stride in STRIDES:
        kernel = torch.randn(n_values, 3, STRIDES[0], STRIDES[0]) / 1000.0  # of pictures in 0..255
        bias = torch.full((n_values,), -6.0)
        bias[:7] = torch.tensor([0.0, 0.0, 0.5, 1.0, 0.0, 4.0, 3.5])  # few things, of two kinds
        weights += [
            numpy_helper.from_array(kernel.numpy(), f"kernel{stride}"),
            numpy_helper.from_array(bias.numpy(), f"bias{stride}"),
        ]
        given = ["images", f"kernel{stride}", f"bias{stride}"]
        nodes.append(helper.make_node("Conv", given, [f"map{stride}"], strides=[stride, stride]))
        nodes.append(helper.make_node("Reshape", [f"map{stride}", "flat"], [f"grid{stride}"]))
        grids.append(f"grid{stride}")
    weights += [
        numpy_helper.from_array(np.array([1, n_values, -1]), "flat"),
        numpy_helper.from_array(np.array([4, n_values - 4]), "parts"),
    ]
    nodes += [
        helper.make_node("Concat", grids, ["all"], axis=2),
        helper.make_node("Split", ["all", "parts"], ["boxes", "raw"], axis=1),
        helper.make_node("Sigmoid", ["raw"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["joined"], axis=1),
        helper.make_node("Transpose", ["joined"], ["output"], perm=[0, 2, 1]),
    ]
    n_cells = sum((SIZE_PX // stride) ** 2 for stride in STRIDES)
    pictures = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE_PX, SIZE_PX])
    answers = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, n_cells, n_values])
    graph = helper.make_graph(nodes, "yolox", [pictures], [answers], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    save(model, str(folder / "yolox.onnx"))
