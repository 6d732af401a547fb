"""The equations of every optimizer in NumPy, from the papers: `(p, g, slots, rate, t) -> p`, slots in a dictionary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import graphc as gc

Array = np.ndarray
Slots = dict[str, Array]
Update = Callable[[Array, Array, Slots, float, int], Array]


def _zeros(slots: Slots, name: str, like: Array) -> Array:
    return slots.get(name, np.zeros_like(like))


def sgd(momentum: float = 0.0, nesterov: bool = False, decay: float = 0.0) -> Update:
    def update(p, g, slots, rate, t):
        g = g + decay * p
        if not momentum:
            return p - rate * g
        slots["v"] = momentum * _zeros(slots, "v", p) + g
        return p - rate * (g + momentum * slots["v"] if nesterov else slots["v"])

    return update


def _moments(slots: Slots, g: Array, b1: float, b2: float) -> tuple[Array, Array]:
    slots["m"] = b1 * _zeros(slots, "m", g) + (1 - b1) * g
    slots["v"] = b2 * _zeros(slots, "v", g) + (1 - b2) * g * g
    return slots["m"], slots["v"]


def adam(b1=0.9, b2=0.999, eps=1e-8, coupled=0.0, decoupled=0.0, amsgrad=False) -> Update:
    def update(p, g, slots, rate, t):
        g = g + coupled * p
        p = p * (1 - rate * decoupled)
        m, v = _moments(slots, g, b1, b2)
        if amsgrad:
            v = slots["max"] = np.maximum(_zeros(slots, "max", p), v)
        return p - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)

    return update


def nadam(b1=0.9, b2=0.999, eps=1e-8, psi=4e-3, coupled=0.0, decoupled=0.0) -> Update:
    def mu(t):
        return b1 * (1 - 0.5 * 0.96 ** (t * psi))

    def update(p, g, slots, rate, t):
        g = g + coupled * p
        p = p * (1 - rate * decoupled)
        m, v = _moments(slots, g, b1, b2)
        product = np.prod([mu(i) for i in range(1, t + 1)])
        step = g * (1 - mu(t)) / (1 - product) + m * mu(t + 1) / (1 - product * mu(t + 1))
        return p - rate * step / (np.sqrt(v / (1 - b2**t)) + eps)

    return update


def adamax(b1=0.9, b2=0.999, eps=1e-8, decay=0.0) -> Update:
    def update(p, g, slots, rate, t):
        g = g + decay * p
        slots["m"] = b1 * _zeros(slots, "m", p) + (1 - b1) * g
        slots["u"] = np.maximum(b2 * _zeros(slots, "u", p), np.abs(g) + eps)
        return p - rate / (1 - b1**t) * slots["m"] / slots["u"]

    return update


def adagrad(lr_decay=0.0, decay=0.0, initial=0.0, eps=1e-10) -> Update:
    def update(p, g, slots, rate, t):
        g = g + decay * p
        slots["s"] = slots.get("s", np.full_like(p, initial)) + g * g
        return p - rate / (1 + (t - 1) * lr_decay) * g / (np.sqrt(slots["s"]) + eps)

    return update


def adadelta(rho=0.9, eps=1e-6, decay=0.0) -> Update:
    def update(p, g, slots, rate, t):
        g = g + decay * p
        slots["s"] = rho * _zeros(slots, "s", p) + (1 - rho) * g * g
        delta = np.sqrt(_zeros(slots, "a", p) + eps) / np.sqrt(slots["s"] + eps) * g
        slots["a"] = rho * _zeros(slots, "a", p) + (1 - rho) * delta * delta
        return p - rate * delta

    return update


def rmsprop(alpha=0.99, eps=1e-8, decay=0.0, momentum=0.0, centered=False) -> Update:
    def update(p, g, slots, rate, t):
        g = g + decay * p
        slots["s"] = alpha * _zeros(slots, "s", p) + (1 - alpha) * g * g
        slots["a"] = alpha * _zeros(slots, "a", p) + (1 - alpha) * g
        step = g / (np.sqrt(slots["s"] - (slots["a"] ** 2 if centered else 0)) + eps)
        slots["b"] = momentum * _zeros(slots, "b", p) + step
        return p - rate * slots["b"]

    return update


def lion(b1=0.9, b2=0.99, decay=0.0) -> Update:
    def update(p, g, slots, rate, t):
        m = _zeros(slots, "m", p)
        slots["m"] = b2 * m + (1 - b2) * g
        return p - rate * (np.sign(b1 * m + (1 - b1) * g) + decay * p)

    return update


def lamb(b1=0.9, b2=0.999, eps=1e-6, decay=0.0) -> Update:
    def update(p, g, slots, rate, t):
        m, v = _moments(slots, g, b1, b2)
        u = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps) + decay * p
        norms = np.linalg.norm(p), np.linalg.norm(u)
        return p - rate * (norms[0] / norms[1] if all(norms) else 1.0) * u

    return update


o = gc.optim
CASES: dict[str, tuple[gc.optim.Optimizer, Update]] = {
    "sgd": (o.SGD(0.1), sgd()),
    "sgd-decay": (o.SGD(0.1, weight_decay=0.3), sgd(decay=0.3)),
    "sgd-momentum": (o.SGD(0.05, momentum=0.8), sgd(0.8)),
    "sgd-nesterov": (o.SGD(0.05, momentum=0.8, nesterov=True, weight_decay=0.1), sgd(0.8, True, 0.1)),
    "momentum": (o.Momentum(0.05), sgd(0.9)),
    "nesterov": (o.Nesterov(0.05), sgd(0.9, True)),
    "adam": (o.Adam(0.03), adam()),
    "adam-decay": (o.Adam(0.03, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.2), adam(0.8, 0.95, 1e-4, 0.2)),
    "amsgrad": (o.AMSGrad(0.03, betas=(0.9, 0.9), weight_decay=0.1), adam(b2=0.9, coupled=0.1, amsgrad=True)),
    "adamw": (o.AdamW(0.03, weight_decay=0.4), adam(decoupled=0.4)),
    "adamw-amsgrad": (o.AdamW(0.03, betas=(0.9, 0.9), amsgrad=True), adam(b2=0.9, decoupled=0.01, amsgrad=True)),
    "nadam": (o.NAdam(0.03), nadam()),
    "nadam-decay": (o.NAdam(0.03, momentum_decay=0.1, weight_decay=0.2), nadam(psi=0.1, coupled=0.2)),
    "nadam-decoupled": (
        o.NAdam(0.03, betas=(0.8, 0.9), weight_decay=0.2, decoupled_weight_decay=True),
        nadam(0.8, 0.9, decoupled=0.2),
    ),
    "adamax": (o.Adamax(0.03, weight_decay=0.1), adamax(decay=0.1)),
    "adagrad": (o.Adagrad(0.1), adagrad()),
    "adagrad-decay": (
        o.Adagrad(0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.3, eps=1e-3),
        adagrad(0.1, 0.1, 0.3, 1e-3),
    ),
    "adadelta": (o.Adadelta(), adadelta()),
    "adadelta-decay": (o.Adadelta(0.5, rho=0.8, eps=1e-3, weight_decay=0.1), adadelta(0.8, 1e-3, 0.1)),
    "rmsprop": (o.RMSProp(0.01), rmsprop()),
    "rmsprop-centered": (o.RMSProp(0.01, centered=True, eps=1e-3), rmsprop(centered=True, eps=1e-3)),
    "rmsprop-all": (
        o.RMSProp(0.01, alpha=0.9, eps=1e-3, weight_decay=0.1, momentum=0.7, centered=True),
        rmsprop(0.9, 1e-3, 0.1, 0.7, True),
    ),
    "lion": (o.Lion(0.01), lion()),
    "lion-decay": (o.Lion(0.01, betas=(0.8, 0.95), weight_decay=0.5), lion(0.8, 0.95, 0.5)),
    "lamb": (o.LAMB(0.02), lamb()),
    "lamb-decay": (o.LAMB(0.02, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.3), lamb(0.8, 0.95, 1e-4, 0.3)),
}
