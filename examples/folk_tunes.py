"""A character LSTM composes folk tunes.

Dance tunes are text in ABC notation (examples/abc_text.py). A language model of characters predicts each from those
before it: an embedding, an LSTM, whose state carries what it has read, and a dense layer that gives the logits of the
next character. Trained, it composes: draw a character from its prediction, feed that, and so on. For this one step of
the LSTM is exported, with its state as inputs and outputs; any ONNX runtime could compose with that file.

How good is it? The mean of -log2 p(next character) on tunes that it never saw is in bits per character, what a
compressor would need; counting which character follows which gives a mark to beat. And its tunes can be checked: a
header, known notes, bars that are full.

Sources: S. Hochreiter and J. Schmidhuber, Long short-term memory (1997); A. Karpathy, The unreasonable effectiveness of
recurrent neural networks (2015); B. Sturm et al., Music transcription modelling and composition using deep learning
(2016), who trained such a net on ABC.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import abc_text
import numpy as np
import rich
import typer
from abc_text import Corpus
from rich.table import Table

import graphc as gc
from graphc import nn

TEMPERATURES = (0.5, 0.75, 1.0, 1.25)
Predict = Callable[[list[str]], np.ndarray]  # the logits of the next character of each text


class CharLSTM(nn.Module):
    """Characters in, and logits of the next ones out, with the state of the LSTM behind the last of them."""

    def __init__(self, characters: int, hidden: int) -> None:
        super().__init__(name="lstm")
        self.embedding = nn.Embedding(characters, 32)
        self.lstm = nn.LSTM(32, hidden, batch_first=True)
        self.head = nn.Linear(hidden, characters)

    def forward(self, text: gc.Tensor, state: tuple[gc.Tensor, gc.Tensor] | None = None) -> tuple[gc.Tensor, Any]:
        """Logits (tunes, steps, characters), and the state, each half of it (1, tunes, hidden)."""
        output, state = self.lstm(self.embedding(text), state)
        return self.head(output), state


class Learned(NamedTuple):
    """A trained model: the trainer, bits per character by epoch, and on the test tunes by position in a window."""

    trainer: gc.Trainer
    train: list[float]
    validation: list[float]
    test: np.ndarray


def learn(predict: Callable[[gc.Tensor], gc.Tensor], corpus: Corpus, length: int, epochs: int, rate: float) -> Learned:
    """Train what gives logits for text, on windows of so many characters, each read without what came before it."""
    text, following = (gc.input(name, ("batch", "steps"), "int64") for name in ("text", "next"))
    logits = predict(text)
    losses = nn.cross_entropy(logits.mT, following, reduction="none")  # (batch, steps)
    train, validation = (corpus.windows(tunes, length) for tunes in (corpus.train, corpus.validation))
    test = corpus.windows(corpus.test, length, stride=4)
    steps = epochs * -(-len(train["text"]) // 16)
    optimizer = gc.optim.Adam(gc.optim.schedule.OneCycle(rate, steps, rising=0.1))
    options = gc.RuntimeOptions(threads=1)  # steps of this size are not faster with more
    trainer = gc.Trainer(gc.mean(losses), optimizer=optimizer, clip_norm=1.0, options=options)
    history = trainer.fit(train, batch_size=16, epochs=epochs, validation=validation)
    curves = (list(np.array(history[name]) / np.log(2)) for name in ("loss", "val_loss"))
    return Learned(trainer, *curves, trainer.predict(losses, test).mean(axis=0) / np.log(2))


def export_step(model: CharLSTM, trainer: gc.Trainer, path: Path) -> None:
    """Write the graph of one character: (character, h, c) -> (logits, h.next, c.next)."""
    character = gc.input("character", ("tunes", 1), "int64")
    h, c = (gc.input(name, (1, "tunes", model.lstm.hidden_size)) for name in ("h", "c"))
    logits, (h_next, c_next) = model(character, (h, c))
    gc.export({"logits": logits[:, 0], "h.next": h_next, "c.next": c_next}, path, trainer.state)


def reader(path: Path, corpus: Corpus, count: int) -> Predict:
    """The exported step as a function that reads the last character of each text, and keeps the state between calls."""
    file = gc.load(path)
    step = gc.compile(file.outputs, state=file.state)
    state = {name: np.zeros((1, count, file.inputs[name].shape[2]), "float32") for name in ("h", "c")}

    def read(texts: list[str]) -> np.ndarray:
        last = corpus.encode("".join(text[-1] for text in texts))[:, None]
        logits, state["h"], state["c"] = step(character=last, **state).values()
        return logits

    return read


def compose(predict: Predict, corpus: Corpus, count: int, temperature: float, opening: str = "\n\n") -> list[str]:
    """Some tunes, drawn character by character from softmax(logits / temperature), as they go on after an opening."""
    rng = np.random.default_rng(0)
    for place in range(1, len(opening)):
        predict([opening[:place]] * count)
    texts = [opening] * count  # which ends with an empty line, so that a tune begins
    for _ in range(500):
        logits = predict(texts)
        drawn = np.argmax(logits / temperature + rng.gumbel(size=logits.shape), axis=1)  # as often as softmax says
        texts = [text + corpus.characters[k] for text, k in zip(texts, drawn, strict=True)]
        if all("\n\n" in text[len(opening) :] for text in texts):
            break
    return [text[len(opening) :].partition("\n\n")[0] + "\n" for text in texts]


class Result(NamedTuple):
    """Bits per character on the test tunes, of counting and of the LSTM; by temperature what is right; some tunes."""

    counted: dict[int, float]  # by the number of characters before
    lstm: float
    shares: dict[float, abc_text.Shares]
    tunes: list[str]


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="a smaller net and fewer tunes")] = False,
) -> Result:
    """Train an LSTM on dance tunes, and let it compose."""
    out.mkdir(parents=True, exist_ok=True)
    corpus = abc_text.corpus()
    print(f"{len(corpus.train)} tunes to train on, the first:\n\n{corpus.train[0]}")

    model = CharLSTM(len(corpus.characters), hidden=64 if small else 192)
    learned = learn(lambda text: model(text)[0], corpus, length=64, epochs=2 if small else 6, rate=1e-2)
    counted = {order: abc_text.counted_bits(corpus, order) for order in (0, 2, 5)}
    table = Table("model", "bits per character", title="New tunes")
    for order, bits in counted.items():
        table.add_row(f"counting what follows {order} characters", f"{bits:.2f}")
    table.add_row("LSTM", f"{learned.test.mean():.2f}")
    rich.print(table)

    count = 16 if small else 100
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        export_step(model, learned.trainer, path)
        composed = {t: compose(reader(path, corpus, count), corpus, count, t) for t in TEMPERATURES}
    shares = {temperature: abc_text.judge(tunes) for temperature, tunes in composed.items()}
    table = Table("temperature", "header", "notes", "full bars", "all is right", title=f"{count} new tunes each")
    for temperature, found in shares.items():
        table.add_row(str(temperature), *(f"{share:.0%}" for share in found))
    rich.print(table)
    known = set("".join(corpus.train).splitlines())
    lines = [line for tune in composed[0.75] for line in tune.splitlines()[4:]]
    print(f"{np.mean([line in known for line in lines]):.0%} of their lines of notes are in the collection, too\n")
    print("\n".join(composed[0.75][:3]))

    with gc.plots.figure(out / "folk_tunes.svg", 1, 2) as (left, right):
        epochs = range(1, len(learned.train) + 1)
        left.plot(epochs, learned.train, "o-", label="LSTM, training")
        left.plot(epochs, learned.validation, "o-", label="LSTM, held out")
        for (order, bits), style in zip(counted.items(), (":", "-.", "--"), strict=True):
            left.axhline(bits, color="black", linestyle=style, linewidth=1, label=f"counting, {order} before")
        left.set(title="What it expects", xlabel="epoch", ylabel="bits per character", xticks=epochs)
        left.legend(fontsize="small", loc="upper right", bbox_to_anchor=(1, 0.97))
        for name, label in (("header", "header"), ("notes", "notes"), ("full", "bars"), ("passes", "all")):
            right.plot(TEMPERATURES, [100 * getattr(found, name) for found in shares.values()], "o-", label=label)
        right.set(title="What it composes", xlabel="temperature", ylabel="right, %", ylim=(0, 103), xticks=TEMPERATURES)
        right.legend(fontsize="small")
    return Result(counted, float(learned.test.mean()), shares, composed[0.75])


if __name__ == "__main__":
    typer.run(main)
