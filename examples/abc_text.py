"""Dance tunes as text: Ryan's Mammoth Collection (Boston 1883) in ABC notation, as music21's corpus holds it.

A tune is a header (R: the dance, M: the meter, L: the unit of length, K: the key) and its notes, bar by bar; an empty
line ends it. The notation is that of https://abcnotation.com/wiki/abc:standard:v2.1.
"""

import functools
import importlib.util
import math
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

HEADER = re.compile(r"R:[a-z]+\nM:([1-9]\d*)/([1-9]\d*)\nL:1/([1-9]\d*)\nK:[A-G][b#]?(?:m|dor|mix|lyd|phr)?\n")
BAR = re.compile(r"(::|:\||\|:|\|\||\|)[12]?\n?")  # also repeats, and first and second endings
NOTE = re.compile(r"(\(3)?[\^_=]?[A-Ga-gz][,']*([1-9]\d*)?(/*)([1-9]\d*)?-?(>+|<+)? ?")
# What is no part of the melody: remarks, decorations, grace notes, directions of the bow, slurs.
DROPPED = re.compile(r'%.*|"[^"]*"|![^!]*!|\{[^}]*\}|[uvTHJLMPSORUVk~.`$\\]|\((?!\d)|\)')
MODES = {"": "", "m": "m", "min": "m", "dor": "dor", "mix": "mix", "lyd": "lyd", "phr": "phr"}


class Verdict(NamedTuple):
    """What is right about a tune: its header, its notes and bar lines, and how many of its whole bars are full."""

    header: bool
    notes: bool
    full: int
    bars: int

    @property
    def passes(self) -> bool:
        """Whether nothing is wrong."""
        return self.header and self.notes and self.bars == self.full > 0


class Shares(NamedTuple):
    """Of some tunes: those with a right header, with right notes; full bars among whole ones; tunes without a fault."""

    header: float
    notes: float
    full: float
    passes: float


class Corpus(NamedTuple):
    """Tunes to train on, to choose by, and to test with; and the characters that they are written in."""

    train: list[str]
    validation: list[str]
    test: list[str]
    characters: str

    def encode(self, text: str) -> np.ndarray:
        """The place of each character of a text among `characters`, int64."""
        return np.array([self.characters.index(c) for c in text])

    def decode(self, indices: Iterable[int]) -> str:
        """The text of such places."""
        return "".join(self.characters[k] for k in indices)

    def windows(self, tunes: list[str], length: int, stride: int | None = None) -> dict[str, np.ndarray]:
        """Pieces of the tunes in a row, each `text` with what comes `next`: (pieces, length) both.

        They begin `stride` characters apart; `length` when None, so that each character is predicted once.
        """
        row = self.encode("".join("\n" + tune for tune in tunes) + "\n")
        starts = np.arange(0, len(row) - length, stride or length)[:, None]
        pieces = row[starts + np.arange(length + 1)]
        return {"text": pieces[:, :-1], "next": pieces[:, 1:]}


@functools.cache
def corpus() -> Corpus:
    """The collection's tunes that :func:`check` passes, split at random: a tenth to validate, a tenth to test."""
    spec = importlib.util.find_spec("music21")  # finds the package without importing all of it
    if spec is None or spec.origin is None:
        raise ImportError("the tunes are part of music21. Install it with: pip install 'graphc[examples]'")
    files = sorted((Path(spec.origin).parent / "corpus" / "ryansMammoth").glob("*.abc"))
    cleaned = dict.fromkeys(clean(file.read_text(encoding="latin-1")) for file in files)  # each once
    tunes = [tune for tune in cleaned if check(tune).passes]
    shuffled = [tunes[k] for k in np.random.default_rng(0).permutation(len(tunes))]
    tenth = len(tunes) // 10
    characters = "".join(sorted(set("".join(tunes))))
    return Corpus(shuffled[2 * tenth :], shuffled[:tenth], shuffled[tenth : 2 * tenth], characters)


def counted_bits(corpus: Corpus, order: int, weight: float = 8.0) -> float:
    """Bits per character on the test tunes of a model that counts what follows the last `order` characters.

    What was seen seldom is filled up, as by `weight` more occurrences, with what shorter contexts say: the hierarchical
    Dirichlet language model of D. MacKay and L. Peto (1995).
    """
    train, test = ("\n" + "\n".join(tunes) + "\n" for tunes in (corpus.train, corpus.test))
    seen = Counter(train[k : k + size] for size in range(order + 2) for k in range(len(train) - size))
    bits = 0.0
    for place in range(order, len(test)):
        p = 1 / len(corpus.characters)
        for size in range(order + 1):
            context = test[place - size : place]
            p = (seen[context + test[place]] + weight * p) / (seen[context] + weight)
        bits -= math.log2(p)
    return bits / (len(test) - order)


def clean(abc: str) -> str:
    """A tune with four fields of its header, and the bare melody; without one of these fields, an empty text."""
    lines = [line.strip() for line in abc.splitlines()]
    start = next((n + 1 for n, line in enumerate(lines) if line.startswith("K:")), 0)
    fields = {line[0]: line[2:].partition("%")[0].strip() for line in reversed(lines[:start]) if line[1:2] == ":"}
    key = re.match(r"([A-G][b#]?) ?([A-Za-z]{0,3})", fields.get("K", ""))
    if key is None or not fields.keys() >= set("RML"):
        return ""
    meter = {"C|": "2/2", "C": "4/4"}.get(fields["M"], fields["M"])
    mode = MODES.get(key[2].lower(), "")
    header = f"R:{fields['R'].lower().replace(' ', '')}\nM:{meter}\nL:{fields['L']}\nK:{key[1]}{mode}\n"
    notes = DROPPED.sub("", "\n".join(lines[start:])).replace("[|]", "|").replace("y", "")
    notes = re.sub(r"(?<!\[)([\s:|\]]*[:|][\s:|\]]*)\[?([12]?) *", _bar, notes.strip())
    return header + re.sub(r"(?<![\n|:12]) *\n| +", " ", notes).strip() + "\n"


def _bar(found: re.Match[str]) -> str:
    """One of five bar lines for a run of them, such as `:|` for `:|]`, and at the end of a line, not at its start."""
    run = re.sub(r"[\s\]]", "", found[1])
    opens, closes = run.endswith(":"), run.startswith(":")
    line = "::" if opens and closes else "|:" if opens else ":|" if closes else "||" if run.count("|") > 1 else "|"
    return line + found[2] + ("\n" if "\n" in found[1] else "")


def check(tune: str) -> Verdict:
    """Whether a tune is ABC as :func:`clean` writes it, and the lengths of its notes add up to bars.

    What counts as a whole bar is what lies between two plain bar lines: others may begin or end with an upbeat.
    """
    header = HEADER.match(tune)
    if header is None:
        return Verdict(False, False, 0, 0)
    numerator, denominator, unit = map(int, header.groups())
    parts = BAR.split(tune[header.end() :])  # bar, line, bar, line, ...
    lengths = [_length(bar) for bar in parts[::2]]
    plain = [line == "|" for line in parts[1::2]]
    whole = [lengths[k + 1] for k, (a, b) in enumerate(pairwise(plain)) if a and b]
    expected = numerator / denominator * unit
    full = sum(length is not None and math.isclose(length, expected) for length in whole)
    return Verdict(True, None not in lengths and not parts[-1].strip(), full, len(whole))


def judge(tunes: list[str]) -> Shares:
    """How much of some tunes :func:`check` finds right."""
    found = [check(tune) for tune in tunes]
    header, notes, passes = (
        float(np.mean([getattr(v, name) for v in found])) for name in ("header", "notes", "passes")
    )
    return Shares(header, notes, sum(v.full for v in found) / max(1, sum(v.bars for v in found)), passes)


def _length(bar: str) -> float | None:
    """The sum of the lengths of a bar's notes, in units; None where something is no note."""
    bar = bar.strip()
    end, total, triplet, factor = 0, 0.0, 0, 1.0
    while end < len(bar):
        note = NOTE.match(bar, end)
        if note is None:
            return None
        start, count, slashes, divisor, broken = note.groups()
        triplet = 3 if start else triplet
        length = factor * int(count or 1) / (int(divisor) if slashes and divisor else 2 ** len(slashes))
        length *= 2 / 3 if triplet > 0 else 1.0
        longer = 2 - 2.0 ** -len(broken or "")  # a>b: one and a half of a, half of b; with >> seven quarters
        factor = longer if broken and broken[0] == "<" else 2 - longer
        total, triplet, end = total + length * (2 - factor), triplet - 1, note.end()
    return total
