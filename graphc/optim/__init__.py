"""Optimizers as update graphs: symbolic functions from (parameter, gradient, slots) to their next values."""

from graphc.optim.adam import Adam, AdamW
from graphc.optim.base import Hyper, Optimizer
from graphc.optim.sgd import SGD, Momentum

__all__ = ["SGD", "Adam", "AdamW", "Hyper", "Momentum", "Optimizer"]
