"""A small GPT composes folk tunes, and is compared with the LSTM.

The other way to predict the next character (examples/folk_tunes.py shows the first): no state, but attention. Each
character asks all those before it at once: a query is compared with the key of each of them, the softmax of the scores
says how much of its value to take. A causal mask hides what comes after. Since attention knows no order, queries and
keys are rotated by their positions, so that scores depend on distances. A block is attention and then a dense net, each
added to what it reads; a GPT is a stack of blocks.

Both models read the same windows of the same tunes for as many steps. What does the GPT look at, and what does each of
them gain from more context?

Sources: A. Vaswani et al., Attention is all you need (2017); A. Radford et al., Improving language understanding by
generative pre-training (2018); J. Su et al., RoFormer: enhanced transformer with rotary position embedding (2021).
"""

import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import abc_text
import folk_tunes
import numpy as np
import rich
import typer
from abc_text import Corpus
from folk_tunes import CharLSTM, Predict, compose, export_step, learn
from rich.table import Table

import graphc as gc
from graphc import nn


class Block(nn.Module):
    """Causal attention and a dense net, each a residual branch that begins with a normalization."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True, rotary=10_000.0)
        self.mlp = nn.Sequential(nn.Linear(4 * width), nn.GELU(), nn.Linear(width))

    def forward(self, x: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        """What it makes of (tunes, steps, width), and the attention weights (tunes, steps, steps)."""
        attended, weights = self.attention(self.norm1(x), is_causal=True)
        x = x + attended
        return x + self.mlp(self.norm2(x)), weights


class GPT(nn.Module):
    """Characters in, logits of the next ones out, with the attention weights of each block."""

    def __init__(self, characters: int, width: int, heads: int, depth: int) -> None:
        super().__init__(name="gpt")
        self.embedding = nn.Embedding(characters, width, weight_init=nn.init.Normal(std=0.02))
        self.blocks = [Block(width, heads) for _ in range(depth)]
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters)

    def forward(self, text: gc.Tensor) -> tuple[gc.Tensor, list[gc.Tensor]]:
        """Logits (tunes, steps, characters), and weights (tunes, steps, steps) of each block."""
        x, weights = self.embedding(text), []
        for block in self.blocks:
            x, found = block(x)
            weights.append(found)
        return self.head(self.norm(x)), weights


def reader(model: GPT, trainer: gc.Trainer, corpus: Corpus, length: int, folder: Path) -> Predict:
    """The exported model as a function that reads the last `length` characters of each text, again for each new one."""
    text = gc.input("text", ("tunes", "steps"), "int64")
    logits, _ = model(text)
    gc.export({"logits": logits[:, -1]}, folder / "gpt.onnx", trainer.state)
    file = gc.load(folder / "gpt.onnx")
    last = gc.compile(file.outputs["logits"], state=file.state)
    return lambda texts: last(text=np.stack([corpus.encode(text[-length:]) for text in texts]))


class Result(NamedTuple):
    """By model: bits per character on the test tunes, at each position of a window; what is right of what it composes.

    And the attention weights of each block for one text.
    """

    bits: dict[str, np.ndarray]
    shares: dict[str, abc_text.Shares]
    attention: list[np.ndarray]


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figures")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="smaller nets and fewer steps")] = False,
) -> Result:
    """Train a GPT and an LSTM on dance tunes, compare them, and look at the attention."""
    out.mkdir(parents=True, exist_ok=True)
    corpus, length, epochs = abc_text.corpus(), 64, 1 if small else 6
    characters = len(corpus.characters)
    lstm = CharLSTM(characters, hidden=32 if small else 192)
    gpt = GPT(characters, width=32 if small else 96, heads=4, depth=2 if small else 3)
    learned = {
        "LSTM": learn(lambda text: lstm(text)[0], corpus, length, epochs, rate=1e-2),
        "GPT": learn(lambda text: gpt(text)[0], corpus, length, epochs, rate=5e-3 if small else 2e-3),
    }

    count = 8 if small else 40
    with tempfile.TemporaryDirectory() as folder:
        export_step(lstm, learned["LSTM"].trainer, Path(folder) / "lstm.onnx")
        readers = {
            "LSTM": folk_tunes.reader(Path(folder) / "lstm.onnx", corpus, count),
            "GPT": reader(gpt, learned["GPT"].trainer, corpus, length, Path(folder)),
        }
        opening = corpus.train[0][-length:] + "\n"  # few windows began with a header, but many end a tune and go on
        composed = {name: compose(predict, corpus, count, 0.75, opening) for name, predict in readers.items()}
    shares = {name: abc_text.judge(tunes) for name, tunes in composed.items()}

    title = f"Bits per character of new tunes, and what is right of {count} composed ones"
    table = Table("model", "parameters", "bits", "header", "notes", "full bars", "all", title=title)
    for name, (trainer, *_, test) in learned.items():
        size = sum(value.size for value in trainer.parameters.values())
        table.add_row(name, f"{size:,}", f"{test.mean():.2f}", *(f"{share:.0%}" for share in shares[name]))
    rich.print(table)
    print("\n".join(composed["GPT"][:3]))

    with gc.plots.figure(out / "gpt.svg", 1, 2) as (left, right):
        for (name, (_, train, validation, test)), colour in zip(learned.items(), ("C0", "C1"), strict=True):
            left.plot(range(1, epochs + 1), train, "--", color=colour, label=f"{name}, training")
            left.plot(range(1, epochs + 1), validation, "o-", color=colour, label=f"{name}, held out")
            right.plot(range(1, length + 1), test, color=colour, label=name)
        left.set(title="Learning", xlabel="epoch", ylabel="bits per character")
        right.set(title="New tunes", xlabel="characters read", ylabel="bits for the next one")
        left.legend(fontsize="small")
        right.legend(fontsize="small")

    text = corpus.test[0].split("\n", 4)[4][:length]
    read = gc.input("text", ("tunes", "steps"), "int64")
    attention = learned["GPT"].trainer.compute(gpt(read)[1], {"text": corpus.encode(text)[None]})
    with gc.plots.figure(out / "gpt_attention.svg", 1, 2, size=(12, 6)) as axes:
        for ax, block, place in zip(axes, (0, -1), ("first", "last"), strict=True):
            ax.imshow(attention[block][0] ** 0.5, cmap="Blues")  # the root shows small weights, too
            ax.set(title=f"Attention in the {place} block", xlabel="… to this one", ylabel="from this character …")
            shown = text.replace("\n", "↵")
            ax.set_xticks(range(len(text)), shown, fontsize=6)
            ax.set_yticks(range(len(text)), shown, fontsize=6)
            ax.grid(visible=False)
    return Result({name: found.test for name, found in learned.items()}, shares, [w[0] for w in attention])


if __name__ == "__main__":
    typer.run(main)
