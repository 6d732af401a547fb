"""From gradients to the next values of all state: what lies between differentiation and the finished step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

from graphc import functional as F
from graphc.ir.node import Tensor
from graphc.ir.origin import inherit
from graphc.optim.base import Hyper, Optimizer, wide
from passes.accumulation import Accumulation
from passes.apply_optimizer import apply_optimizer
from passes.clipping import Factors, add_penalties, clip_by_norm, clip_by_value
from passes.ema import average
from passes.groups import Groups, assign_groups

__all__ = ["UpdateOptions", "Updates", "make_updates"]


class UpdateOptions(TypedDict, total=False):
    """How gradients become updates; all of it is optional, and works together with every optimizer.

    Patterns of parameter names are those of a shell: `"*.bias"`, `"encoder.*"`. One that matches nothing is an error.

    Keys:
        groups: hyper-parameters that differ for some parameters, by pattern: `{"*.bias": {"weight_decay": 0.0}}`. The
            key `learning_rate_scale` is a factor on the learning rate. Of several matching patterns all hold, and of
            what they both set, the last.
        accumulate: how many batches make one update, equal to that of one batch with all their rows if the loss is a
            mean over rows. The optimizer, its learning rate and the averages advance with updates, not with batches.
        l1: adds the gradient of `l1 * sum |p|`: a factor, or factors by pattern. The reported loss is without it.
        l2: adds the gradient of `l2 * sum p^2`, likewise.
        clip_value: limits each element of the gradients, as `torch.nn.utils.clip_grad_value_`.
        clip_norm: scales the gradients so that their common norm is at most this, as
            `torch.nn.utils.clip_grad_norm_`; after `clip_value`.
        ema: the decay rate of averages of the parameters, kept as the state `<parameter>.ema`.
    """

    groups: Groups
    accumulate: int
    l1: Factors
    l2: Factors
    clip_value: float
    clip_norm: float
    ema: float


class Updates(NamedTuple):
    """The next values by state, the names of each parameter's slots, and the averages of parameters by name."""

    values: dict[Tensor, Tensor]
    slots: dict[str, tuple[str, ...]]
    averages: dict[str, Tensor]


def make_updates(
    optimizer: Optimizer,
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    *,
    learning_rate: Tensor,
    count: Tensor,
    inputs: Sequence[Tensor],
    options: UpdateOptions,
) -> Updates:
    """The updates of a step in which parameters have these gradients.

    Args:
        optimizer: the update rule.
        parameters: what to train, by name.
        gradients: their gradients, by name.
        learning_rate: the scalar that is fed.
        count: the state that counts steps; its update is among the results.
        inputs: the fed inputs of the loss, whose first axis is the batch.
        options: what else to do.

    Raises:
        GraphError: a pattern matches no parameter, or an optimizer returned other slots than it declared.
        OperatorError: an option is out of range.
    """
    unknown = options.keys() - UpdateOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"train_step() got an unexpected keyword argument {sorted(unknown)[0]!r}")
    every = options.get("accumulate", 1)
    window = Accumulation(every, count, inputs) if every != 1 else None
    done = count if window is None else F.floor_divide(count, every)
    hyper = Hyper(learning_rate, done + 1)
    assigned = assign_groups(optimizer, options.get("groups", {}), parameters)
    values: dict[Tensor, Tensor] = {}
    slots: dict[str, tuple[str, ...]] = {}
    averages: dict[str, Tensor] = {}
    ready = _prepared(parameters, gradients, window, options)
    for name, following in apply_optimizer(assigned, parameters, ready, hyper).items():
        slots[name] = tuple(str(t.name) for t in following if t != parameters[name])
        values |= following
    if "ema" in options:
        averages, following = average(options["ema"], parameters, values, hyper.step)
        values |= following
    if window is not None:
        values = window.only_when_complete(values) | window.updates
    return Updates({**values, count: count + 1}, slots, averages)


def _prepared(
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    window: Accumulation | None,
    options: UpdateOptions,
) -> dict[str, Tensor]:
    """The gradients as the optimizer takes them: averaged over the window, with penalties, and clipped."""
    ready: dict[str, Tensor] = {}
    wide_parameters: dict[str, Tensor] = {}
    for name, p in parameters.items():
        with inherit(p.node.origin, "optimizer"):
            g = gradients[name] if window is None else window.mean(name, p, gradients[name])
            ready[name] = F.cast(g, wide(p.dtype))
            wide_parameters[name] = F.cast(p, wide(p.dtype))
    if "l1" in options or "l2" in options:
        ready = add_penalties(ready, wide_parameters, l1=options.get("l1", 0.0), l2=options.get("l2", 0.0))
    if "clip_value" in options:
        ready = clip_by_value(ready, options["clip_value"])
    if "clip_norm" in options:
        ready = clip_by_norm(ready, options["clip_norm"])
    return ready
