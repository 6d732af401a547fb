"""Losses as modules: each is a function of `graphc.nn.functional` and its options, called with what the loss is of."""

from __future__ import annotations

from graphc.nn import functional as F
from graphc.nn.function_module import FunctionModule

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "InfoNCELoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SigmoidFocalLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class _Loss(FunctionModule):
    arity = 2


class MSELoss(_Loss):
    """Module form of :func:`graphc.nn.functional.mse_loss`."""

    function = staticmethod(F.mse_loss)


class L1Loss(_Loss):
    """Module form of :func:`graphc.nn.functional.l1_loss`, the mean absolute error."""

    function = staticmethod(F.l1_loss)


class HuberLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.huber_loss`."""

    function = staticmethod(F.huber_loss)


class SmoothL1Loss(_Loss):
    """Module form of :func:`graphc.nn.functional.smooth_l1_loss`."""

    function = staticmethod(F.smooth_l1_loss)


class BCELoss(_Loss):
    """Module form of :func:`graphc.nn.functional.binary_cross_entropy`, of probabilities."""

    function = staticmethod(F.binary_cross_entropy)


class BCEWithLogitsLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.binary_cross_entropy_with_logits`."""

    function = staticmethod(F.binary_cross_entropy_with_logits)


class CrossEntropyLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.cross_entropy`, of logits."""

    function = staticmethod(F.cross_entropy)


class NLLLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.nll_loss`, of log-probabilities."""

    function = staticmethod(F.nll_loss)


class KLDivLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.kl_div`, of log-probabilities."""

    function = staticmethod(F.kl_div)


class SigmoidFocalLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.sigmoid_focal_loss`, of logits."""

    function = staticmethod(F.sigmoid_focal_loss)


class PoissonNLLLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.poisson_nll_loss`, of logarithms of rates."""

    function = staticmethod(F.poisson_nll_loss)


class GaussianNLLLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.gaussian_nll_loss`; called with means, targets and variances."""

    function = staticmethod(F.gaussian_nll_loss)
    arity = 3


class HingeEmbeddingLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.hinge_embedding_loss`, of distances."""

    function = staticmethod(F.hinge_embedding_loss)


class SoftMarginLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.soft_margin_loss`."""

    function = staticmethod(F.soft_margin_loss)


class MultiMarginLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.multi_margin_loss`, of scores."""

    function = staticmethod(F.multi_margin_loss)


class MarginRankingLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.margin_ranking_loss`; called with two inputs and targets."""

    function = staticmethod(F.margin_ranking_loss)
    arity = 3


class CosineEmbeddingLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.cosine_embedding_loss`; called with two inputs and targets."""

    function = staticmethod(F.cosine_embedding_loss)
    arity = 3


class TripletMarginLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.triplet_margin_loss`; called with anchors, positives and negatives."""

    function = staticmethod(F.triplet_margin_loss)
    arity = 3


class TripletMarginWithDistanceLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.triplet_margin_with_distance_loss`; called like the plain one."""

    function = staticmethod(F.triplet_margin_with_distance_loss)
    arity = 3


class MultiLabelMarginLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.multilabel_margin_loss`, of scores."""

    function = staticmethod(F.multilabel_margin_loss)


class MultiLabelSoftMarginLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.multilabel_soft_margin_loss`, of scores."""

    function = staticmethod(F.multilabel_soft_margin_loss)


class InfoNCELoss(_Loss):
    """Module form of :func:`graphc.nn.functional.info_nce`; called with queries, positives and, if any, negatives."""

    function = staticmethod(F.info_nce)
    arity = 3


class CTCLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.ctc_loss`; called with its first four arguments."""

    function = staticmethod(F.ctc_loss)
    arity = 4
