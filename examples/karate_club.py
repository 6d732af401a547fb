"""A graph convolution tells the two sides of a club from two members of each.

In the 1970s a karate club split: its instructor, Mr. Hi, left, and about half of the members went with him. The
anthropologist Wayne Zachary knew who met whom outside the club: 34 members, 78 pairs (networkx ships them). Who went
with whom?

A layer of a graph convolution (GCN) gives each member a mean of what its friends and itself had, and passes that on
through a dense layer: H' = g(D^-1/2 (A + I) D^-1/2 H W), with the friendships A and the counts of friends D. After two
layers, members know of the friends of their friends. Nothing else is known of a member: its features are a one-hot row.
The sides of four members are labelled, and the edges tell the rest.

Sources: W. W. Zachary, An information flow model for conflict and fission in small groups (Journal of Anthropological
Research 33, 1977); T. N. Kipf and M. Welling, Semi-supervised classification with graph convolutional networks (2017).
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import networkx
import numpy as np
import rich
import typer
from rich.table import Table

import graphc as gc
from graphc import nn

CLOSEST = np.array([0, 1, 32, 33])  # Mr. Hi and the president, John A., and the closest friend of each
SIDES, COLOURS = ("with Mr. Hi", "with the president"), ("#0072b2", "#d55e00")


class GCN(nn.Module):
    """Two graph convolutions, which give each member a place in the plane, and a line through the plane."""

    def __init__(self) -> None:
        super().__init__(name="gcn")
        self.first, self.second, self.line = nn.GCNConv(16), nn.GCNConv(2), nn.Linear(2)

    def forward(self, features: Any, edges: Any) -> tuple[gc.Tensor, gc.Tensor]:
        """The places (members, 2), and the logits of the two sides (members, 2)."""
        place = self.second(gc.tanh(self.first(features, edges)), edges)
        return place, self.line(place)


class Result(NamedTuple):
    """Shares of the 30 other members on the right side, by seed: four leaders known, or four random members.

    And who is on the wrong side for some seed, where the leaders are known.
    """

    closest: list[float]
    random: list[float]
    wrong: set[int]


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer seeds")] = False,
) -> Result:
    """Learn the sides of all members from four of them."""
    out.mkdir(parents=True, exist_ok=True)
    club = networkx.karate_club_graph()
    pairs = np.array(club.edges).T
    edges = np.concatenate([pairs, pairs[::-1]], axis=1)  # friendship goes both ways
    sides = np.array([club.nodes[member]["club"] == "Officer" for member in club], "int64")

    place, logits = GCN()(np.eye(len(sides), dtype="float32"), edges)
    member, side = gc.input("member", ("batch",), "int64"), gc.input("side", ("batch",), "int64")
    chosen = gc.take(logits, member)  # all members are computed; the loss sees those with a label
    loss, accuracy = nn.cross_entropy(chosen, side), gc.metrics.accuracy(chosen, side)

    def learn(known: np.ndarray, seed: int) -> tuple[gc.Trainer, float]:
        """A net that knows the sides of some members, and its accuracy on all others."""
        trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(0.01), metrics={"accuracy": accuracy}, seed=seed)
        trainer.fit({"member": known, "side": sides[known]}, batch_size=None, epochs=80, verbose=False)
        others = np.setdiff1d(np.arange(len(sides)), known)
        return trainer, float(trainer.evaluate({"member": others, "side": sides[others]})["accuracy"])

    seeds = range(3 if small else 10)
    trained, closest = zip(*(learn(CLOSEST, seed) for seed in seeds), strict=True)
    everyone = {"member": np.arange(len(sides))}
    guesses = [trainer.predict(chosen, everyone).argmax(axis=1) for trainer in trained]
    wrong = {int(member) for guess in guesses for member in np.flatnonzero(guess != sides)}

    rng = np.random.default_rng(0)  # and from members who were not chosen well?
    fours = [np.concatenate([rng.choice(np.flatnonzero(sides == k), 2, replace=False) for k in (0, 1)]) for _ in seeds]
    random = [learn(four, seed)[1] for four, seed in zip(fours, seeds, strict=True)]

    table = Table("known", "mean accuracy", "worst", title=f"30 other members, {len(seeds)} seeds")
    for known, accuracies in (("leaders and their closest friends", closest), ("two of each side at random", random)):
        table.add_row(known, f"{np.mean(accuracies):.1%}", f"{min(accuracies):.1%}")
    rich.print(table, f"on the wrong side with the leaders known: {', '.join(str(k + 1) for k in sorted(wrong))}")

    untrained = gc.Trainer(loss, optimizer=gc.optim.Adam(0.01), seed=0)
    with gc.plots.figure(out / "karate_club.svg", 1, 2, size=(9, 4)) as axes:
        for ax, trainer, title in zip(axes, (untrained, trained[0]), ("random weights", "trained"), strict=True):
            x, y = trainer.compute(place, {}).T
            ax.plot(x[pairs], y[pairs], color="#999999", linewidth=0.4, zorder=0)
            for k, name in enumerate(SIDES):
                ax.scatter(x[sides == k], y[sides == k], color=COLOURS[k], s=30, label=name)
            ax.scatter(x[CLOSEST], y[CLOSEST], facecolors="none", edgecolors="black", s=80, label="label known")
            for k in {*CLOSEST, *wrong}:  # Zachary counts from 1
                ax.annotate(k + 1, (x[k], y[k]), xytext=(6, 4 - 14 * (k % 2)), textcoords="offset points")
            ax.set(title=title, xlabel="first number of the second layer", ylabel="second number")
        (w, b) = (trained[0].parameters[f"gcn.line.{name}"] for name in ("weight", "bias"))
        normal, offset = w[1] - w[0], b[1] - b[0]
        axes[1].axline(-offset * normal / (normal @ normal), slope=-normal[0] / normal[1], color="black", linestyle=":")
        axes[1].legend(loc="best", fontsize="small")
    return Result(list(closest), random, wrong)


if __name__ == "__main__":
    typer.run(main)
