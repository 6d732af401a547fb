"""Losses as modules: each builds what its function builds."""

import pytest

import graphc as gc
from graphc import nn
from graphc.nn import loss

X, Y, Z = (gc.input(name, ("n", 5)) for name in "xyz")
LABELS = gc.input("labels", ("n",), "int64")
CLASSES = gc.input("classes", ("n", 5), "int64")
SIGNS = gc.input("signs", ("n",), "int32")
STEPS = gc.input("steps", ("t", "n", 5))
LENGTHS = (gc.input("targets", ("n", "s"), "int64"), *(gc.input(name, ("n",), "int64") for name in ("i", "j")))

MODULES = [
    (nn.MSELoss("sum"), nn.mse_loss, (X, Y), {"reduction": "sum"}),
    (nn.L1Loss(), nn.l1_loss, (X, Y), {}),
    (nn.HuberLoss(delta=2.0), nn.huber_loss, (X, Y), {"delta": 2.0}),
    (nn.SmoothL1Loss(beta=0.5), nn.smooth_l1_loss, (X, Y), {"beta": 0.5}),
    (nn.PoissonNLLLoss(False, full=True), nn.poisson_nll_loss, (X, Y), {"log_input": False, "full": True}),
    (nn.GaussianNLLLoss(eps=0.1), nn.gaussian_nll_loss, (X, Y, Z), {"eps": 0.1}),
    (nn.BCELoss(reduction="none"), nn.binary_cross_entropy, (X, Y), {"reduction": "none"}),
    (nn.BCEWithLogitsLoss(pos_weight=2.0), nn.binary_cross_entropy_with_logits, (X, Y), {"pos_weight": 2.0}),
    (nn.SigmoidFocalLoss(gamma=1.0), nn.sigmoid_focal_loss, (X, Y), {"gamma": 1.0}),
    (
        nn.CrossEntropyLoss(soft=True, label_smoothing=0.1),
        nn.cross_entropy,
        (X, Y),
        {"label_smoothing": 0.1, "soft": True},
    ),
    (nn.NLLLoss(ignore_index=0), nn.nll_loss, (X, LABELS), {"ignore_index": 0}),
    (nn.KLDivLoss("batchmean", log_target=True), nn.kl_div, (X, Y), {"reduction": "batchmean", "log_target": True}),
    (nn.HingeEmbeddingLoss(margin=2.0), nn.hinge_embedding_loss, (X, Y), {"margin": 2.0}),
    (nn.SoftMarginLoss("sum"), nn.soft_margin_loss, (X, Y), {"reduction": "sum"}),
    (nn.MultiMarginLoss(p=2), nn.multi_margin_loss, (X, LABELS), {"p": 2}),
    (nn.MarginRankingLoss(0.5), nn.margin_ranking_loss, (X, Y, Z), {"margin": 0.5}),
    (nn.CosineEmbeddingLoss(0.5), nn.cosine_embedding_loss, (X, Y, SIGNS), {"margin": 0.5}),
    (nn.TripletMarginLoss(swap=True), nn.triplet_margin_loss, (X, Y, Z), {"swap": True}),
    (nn.TripletMarginWithDistanceLoss(swap=True), nn.triplet_margin_with_distance_loss, (X, Y, Z), {"swap": True}),
    (nn.MultiLabelMarginLoss("sum"), nn.multilabel_margin_loss, (X, CLASSES), {"reduction": "sum"}),
    (nn.MultiLabelSoftMarginLoss(reduction="sum"), nn.multilabel_soft_margin_loss, (X, Y), {"reduction": "sum"}),
    (nn.InfoNCELoss(0.5), nn.info_nce, (X, Y), {"temperature": 0.5}),
    (nn.InfoNCELoss(), nn.info_nce, (X, Y, Z), {}),
    (nn.CTCLoss(blank=4), nn.ctc_loss, (STEPS, *LENGTHS), {"blank": 4}),
]


def test_the_table_names_every_loss_module() -> None:
    assert {type(module).__name__ for module, *_ in MODULES} == set(loss.__all__)


@pytest.mark.parametrize(
    ("module", "function", "inputs", "options"),
    MODULES,
    ids=[f"{type(module).__name__}-{len(inputs)}" for module, _, inputs, _ in MODULES],
)
def test_module_and_function_build_the_same_graph(module: nn.Module, function, inputs: tuple, options: dict) -> None:
    graphs = [gc.graph(make) for make in (module(*inputs), function(*inputs, **options))]
    gc.testing.assert_graphs_equal(*graphs)


@pytest.mark.parametrize("module", [module for module, *_ in MODULES], ids=lambda m: type(m).__name__)
def test_an_unknown_option_is_an_error(module: nn.Module) -> None:
    with pytest.raises(TypeError, match="size_average"):
        type(module)(size_average=True)
