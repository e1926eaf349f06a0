"""Nets with random weights that tell faces apart no better than chance, for tiny profiles; see `processors.tiny`."""

from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import save_file

from processors.identity.mobileface import SIZE_PX
from store.errors import ModelUnavailable

SEED = 20
MOBILEFACE_SIZE = 32
_CELLS = 7
"""Rows and columns that the tiny net averages a face over."""


def build_facenet(folder: Path) -> None:
    """FaceNet as the hub lays it out; the class has one size, 94 MB."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"classify": false}\n', encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        save_file(InceptionResnetV1().state_dict(), folder / "model.safetensors")


def build_mobileface(folder: Path) -> None:
    """A net of MobileFaceNet's input and output: a mean over `_CELLS` squared cells, and one random layer."""
    try:
        from onnx import TensorProto, helper, numpy_helper, save
    except ModuleNotFoundError as error:
        raise ModelUnavailable(f"{folder} cannot be built without the package onnx: `uv sync --dev`") from error
    folder.mkdir(parents=True, exist_ok=True)
    n_cells = 3 * _CELLS**2
    layer = np.random.default_rng(SEED).normal(size=(n_cells, MOBILEFACE_SIZE)).astype(np.float32)
    cell = SIZE_PX // _CELLS
    nodes = [
        helper.make_node("AveragePool", ["face"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("MatMul", ["flat", "layer"], ["vector"]),
    ]
    shapes = {"face": [1, 3, SIZE_PX, SIZE_PX], "vector": [1, MOBILEFACE_SIZE]}
    ends = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    graph = helper.make_graph(
        nodes, "tiny", [ends["face"]], [ends["vector"]], [numpy_helper.from_array(layer, "layer")]
    )
    # An opset and a format that runtimes of years ago read as well.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    save(model, folder / "mobileface.onnx")
