"""Optimizers as update graphs: symbolic functions from (parameter, gradient, slots) to their next values."""

from graphc.optim import schedule
from graphc.optim.adagrad import Adadelta, Adagrad, RMSProp
from graphc.optim.adam import Adam, Adamax, AdamW, AMSGrad, NAdam
from graphc.optim.base import Hyper, Optimizer, Slot
from graphc.optim.lamb import LAMB
from graphc.optim.lion import Lion
from graphc.optim.sgd import SGD, Momentum, Nesterov

__all__ = [
    "AMSGrad",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Hyper",
    "LAMB",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "RMSProp",
    "SGD",
    "Slot",
    "schedule",
]
