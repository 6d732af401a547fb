"""From gradients to the next values of all state: what lies between differentiation and the finished step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

from graphc import functional as F
from graphc.errors import GraphError
from graphc.ir.build import parameter
from graphc.ir.node import Tensor
from graphc.ir.origin import inherit
from graphc.ir.types import as_dtype
from graphc.optim.base import Hyper, Optimizer, Slot, wide
from passes.accumulation import Accumulation
from passes.clipping import Factors, add_penalties, clip_by_norm, clip_by_value
from passes.ema import average
from passes.groups import Group, Groups, assign_groups

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
    for name, p in parameters.items():
        with inherit(p.node.origin, "optimizer"):
            changed = _update(assigned[name], name, p, ready[name], hyper)
        slots[name] = tuple(str(t.name) for t in changed if t != p)
        values |= changed
    if "ema" in options:
        averages, changed = average(options["ema"], parameters, values, hyper.step)
        values |= changed
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


def _update(group: Group, name: str, p: Tensor, g: Tensor, hyper: Hyper) -> dict[Tensor, Tensor]:
    """The next values of one parameter and its slots.

    A float16 or bfloat16 parameter is updated in float32, where small steps are not lost to rounding: what the rounded
    value lacks is kept as the slot `residual`.
    """
    full = F.cast(p, wide(p.dtype))
    residual = parameter(f"{name}.residual", p.shape, dtype=full.dtype, trainable=False) if full != p else None
    if residual is not None:
        full = full + residual
    state = {
        slot: _slot(f"{name}.{slot}", full, description) for slot, description in group.optimizer.slots(full).items()
    }
    value, following = group.optimizer.update(full, g, state, group.hyper(hyper))
    if set(following) != set(state):
        raise GraphError(
            f"{type(group.optimizer).__name__}.update returned the slots {sorted(following)}; expected {sorted(state)}"
        )
    rounded = F.cast(value, p.dtype)
    kept = {} if residual is None else {residual: value - F.cast(rounded, full.dtype)}
    return {p: rounded, **kept, **{state[slot]: following[slot] for slot in state}}


def _slot(name: str, p: Tensor, description: object) -> Tensor:
    slot = description if isinstance(description, Slot) else Slot(description)
    shape = p.shape if slot.shape is None else slot.shape
    dtype = p.dtype if slot.dtype is None else as_dtype(slot.dtype)
    return parameter(name, shape, slot.initializer, dtype=dtype, trainable=False)
