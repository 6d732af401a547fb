"""onnxruntime-training, by its on-device training API: artifacts made from a forward model, then a module that runs
them.

The forward model is PyTorch's export of the network of `with_torch`, as onnxruntime's documentation has it. The
artifacts (training, evaluation and optimizer model, checkpoint) are files in a temporary folder.
"""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from onnxruntime.training import api, artifacts, onnxblock

from bench.peers import with_torch
from bench.peers.workloads import Arrays, Workload

REQUIREMENTS = ("onnxruntime-training==1.19.2", "torch==2.13.0", "onnx==1.16.2", "numpy==1.26.4")
OPSET = 16  # the lowest with a ScatterElements that adds; 17 has a LayerNormalization that lacks outputs for gradients
TRAINING, OPTIMIZER = "training_model.onnx", "optimizer_model.onnx"


class Rows(torch.nn.Module):
    """A network whose logits are a matrix: a row for each label."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Any) -> Any:
        return self.net(*inputs).flatten(0, -2)


class GCNConv(with_torch.GCNConv):
    """Sums over edges by `scatter_add`: PyTorch exports `index_add` only of targets that occur once."""

    def forward(self, x: Any, edge_index: Any, edge_weight: Any) -> Any:
        x = self.lin(x)
        messages = x[edge_index[0]] * edge_weight[:, None]
        targets = edge_index[1][:, None].expand_as(messages)
        return torch.zeros_like(x).scatter_add(0, targets, messages) + self.bias


def network(workload: Workload) -> torch.nn.Module:
    """The network with its initial weights, in a form that PyTorch exports."""
    net = with_torch.network(workload)
    if isinstance(net, with_torch.GCN):
        for name, layer in net.named_children():
            same = GCNConv(layer.lin.in_features, layer.lin.out_features)
            same.load_state_dict(layer.state_dict())
            net.add_module(name, same)
    return net


def forward(workload: Workload) -> onnx.ModelProto:
    """The forward model, in training mode, its weights as they are, each under its name."""
    feeds = {name: torch.from_numpy(array) for name, array in workload.batches[0].items() if name != "y"}
    file = io.BytesIO()
    torch.onnx.export(
        Rows(network(workload)),
        tuple(feeds.values()),
        file,
        dynamo=False,
        input_names=list(feeds),
        output_names=["logits"],
        opset_version=OPSET,
        training=torch.onnx.TrainingMode.TRAINING,
        do_constant_folding=False,
    )
    return onnx.load_model_from_string(file.getvalue())


def make_artifacts(workload: Workload, folder: Path) -> None:
    """Write the artifacts."""
    weights = {f"net.{name}" for name in workload.weights}
    frozen = {name for name in weights if ".running_" in name}
    adam, loss = workload.optimizer == "adam", artifacts.LossType
    artifacts.generate_artifacts(
        forward(workload),
        requires_grad=sorted(weights - frozen),
        frozen_params=sorted(frozen),
        loss=loss.BCEWithLogitsLoss if workload.network == "xor" else loss.CrossEntropyLoss,
        optimizer=onnxblock.optim.AdamW(eps=1e-8, weight_decay=0.0) if adam else artifacts.OptimType.SGD,
        artifact_directory=folder,
    )
    if adam:
        _add_eps_as_pytorch_does(folder / OPTIMIZER)


def _add_eps_as_pytorch_does(path: Path) -> None:
    """Change Adam's mode to that which adds eps after the bias correction of the second moment, not before."""
    model = onnx.load_model(path)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "adam_mode":
                attribute.i = 0
    onnx.save_model(model, path)


def artifact(workload: Workload) -> int:
    """Bytes of the training and the optimizer model; the checkpoint is the weights, evaluation needs no training."""
    with tempfile.TemporaryDirectory() as folder:
        make_artifacts(workload, Path(folder))
        return sum(Path(folder, name).stat().st_size for name in (TRAINING, OPTIMIZER))


def program(workload: Workload, *, threads: int) -> Callable[[Arrays], float]:
    """A step of training: takes a batch, returns the loss."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_artifacts(workload, folder)
        state = api.CheckpointState.load_checkpoint(folder / "checkpoint")
        module = api.Module(folder / TRAINING, state, session_options=options)
        optimizer = api.Optimizer(folder / OPTIMIZER, module)
    optimizer.set_learning_rate(workload.learning_rate)
    module.train()
    labels = workload.batches[0]["y"].shape if workload.network == "xor" else (-1,)

    def step(batch: Arrays) -> float:
        *inputs, y = batch.values()
        loss = module(*inputs, y.reshape(labels))
        optimizer.step()
        module.lazy_reset_grad()
        return float(loss)

    return step
