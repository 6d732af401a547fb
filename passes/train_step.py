"""The whole training step as one pure graph: forward, gradients, optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Unpack

import numpy as np

from graphc.errors import DifferentiationError, GraphError, OperatorError
from graphc.ir.build import input, parameter
from graphc.ir.call import inline, inline_tensors
from graphc.ir.graph import Graph, graph, leaves
from graphc.ir.node import Tensor
from graphc.ir.origin import inherit, location
from graphc.optim.base import Optimizer
from graphc.patterns import matching
from passes import pipelines
from passes.autodiff import grad
from passes.batch_norm import lower_batch_norm
from passes.forms import to_inference, updates_of
from passes.lowering.convolution import is_gradient_call
from passes.manager import BeforeGradient, Pass, apply
from passes.randomness import counter_based
from passes.updates import UpdateOptions, make_updates

__all__ = ["LEARNING_RATE", "LOSS", "SEED", "STEP", "RandomSource", "TrainStep", "train_step"]

RandomSource = Literal["counter", "runtime"]

LOSS = "loss"
"""The name of the output that holds the loss."""
STEP = "step"
"""The name of the state that counts the steps done, int64."""
SEED = "seed"
"""The name of the state that random operators draw by, int64; only where there are some."""
LEARNING_RATE = "learning_rate"
"""The name of the input that holds the learning rate, float32."""


@dataclass(frozen=True)
class TrainStep:
    """A training step.

    `graph` takes the batch inputs, `learning_rate` and the state (parameters, running statistics, optimizer slots,
    `step`, and `seed` where something is random); its outputs are `loss` and the metrics, its updates the next state.
    `evaluation` computes loss and metrics only, in inference form. `trained` maps the names of the parameters that the
    optimizer changes to their tensors, `slots` each of them to the names of its slots. `averages` maps names of
    parameters to the state that holds their moving averages. The parameters are updated once in `accumulate` calls.
    """

    graph: Graph
    evaluation: Graph
    optimizer: Optimizer
    trained: Mapping[str, Tensor]
    slots: Mapping[str, tuple[str, ...]]
    averages: Mapping[str, Tensor]
    accumulate: int


def train_step(
    loss: Tensor,
    *,
    optimizer: Optimizer,
    metrics: Mapping[str, Tensor] | None = None,
    parameters: Sequence[Tensor] | None = None,
    freeze: Sequence[str] = (),
    passes: Sequence[Pass] | None = None,
    rng: RandomSource = "counter",
    **options: Unpack[UpdateOptions],
) -> TrainStep:
    """Build the training step that lowers `loss`, a scalar in training form.

    Args:
        loss: what to minimize.
        optimizer: the update rule; each of its slots becomes the state `<parameter>.<slot>`.
        metrics: further scalars to report, by name.
        parameters: what to train; all trainable parameters of the loss when None.
        freeze: patterns of names of parameters, such as `"backbone.*"`, to leave as they are.
        passes: what the loss (those marked `before_gradient`) and the finished graphs go through;
            `gc.pipelines.train` when None.
        rng: "counter" makes dropout and other random operators functions of `seed`, `step` and their place in the
            model, the same on every runtime; "runtime" leaves them to the runtime, which is faster.
        options: groups, clipping, accumulation and more: see :class:`passes.updates.UpdateOptions`.

    Raises:
        DifferentiationError: there is nothing to train, or the loss does not depend on one of `parameters`.
        GraphError: a metric, an input or a state bears a reserved or repeated name, or a pattern matches nothing.
        OperatorError: an option is out of range.
    """
    metrics = dict(metrics or {})
    if LOSS in metrics:
        raise GraphError(f"train_step: a metric is named {LOSS!r}, as the loss itself{location()}")
    if rng not in ("counter", "runtime"):
        raise OperatorError(f"train_step: rng is {rng!r}; expected 'counter' or 'runtime'{location()}")
    trained = _trained(loss, parameters, freeze)
    chosen = pipelines.train if passes is None else passes
    ahead = [p for p in chosen if isinstance(p, BeforeGradient)]
    outputs = {LOSS: loss, **metrics}
    if ahead:
        outputs = dict(zip(outputs, apply(graph(outputs), ahead).outputs, strict=True))
    loss = outputs[LOSS]
    gradients = grad(loss, trained)
    feeds = [t for t in leaves(outputs.values()) if t.node.is_input]
    with inherit(loss.node.origin, "optimizer"):
        rate = input(LEARNING_RATE, (), "float32")
        count = parameter(STEP, (), np.int64(0), dtype="int64", trainable=False)
        updates, slots, averages = make_updates(
            optimizer, trained, gradients, learning_rate=rate, count=count, inputs=feeds, options=options
        )
    updates |= updates_of(inline_tensors(list(outputs.values())))
    evaluation = inline(graph(outputs, name="evaluation"))
    step = lower_batch_norm(
        inline(graph(outputs, [*feeds, rate], updates=updates, name="train_step"), is_gradient_call)
    )
    if rng == "counter":
        step = counter_based(step, parameter(SEED, (), np.int64(0), dtype="int64", trainable=False), count)
    evaluation = lower_batch_norm(to_inference(evaluation))
    every = options.get("accumulate", 1)
    after = [p for p in chosen if p not in ahead]
    return TrainStep(apply(step, after), apply(evaluation, after), optimizer, trained, slots, averages, every)


def _trained(loss: Tensor, parameters: Sequence[Tensor] | None, freeze: Sequence[str]) -> dict[str, Tensor]:
    chosen = (
        [t for t in leaves([loss]) if t.node.is_parameter and t.node.attrs["trainable"]]
        if parameters is None
        else list(parameters)
    )
    if not chosen:
        raise DifferentiationError(f"train_step: the loss depends on no trainable parameter{location()}")
    for t in chosen:
        if not t.node.is_parameter:
            raise DifferentiationError(f"train_step: {t!r} is no parameter; only parameters can be trained{location()}")
    named = {str(t.name): t for t in chosen}
    frozen = {name for pattern in freeze for name in matching("freeze", pattern, named)}
    if len(frozen) == len(named):
        raise DifferentiationError(f"train_step: {list(freeze)} freezes all parameters: {', '.join(named)}{location()}")
    return {name: t for name, t in named.items() if name not in frozen}
