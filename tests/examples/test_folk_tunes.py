"""The LSTM's claims: it expects new tunes far better than chance, and composes better when it is bold less often."""

from pathlib import Path

import abc_text
import folk_tunes
import numpy as np
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[folk_tunes.Result, Path]:
    out = tmp_path_factory.mktemp("folk_tunes")
    return folk_tunes.main(out, small=True), out


def test_the_lstm_expects_more_than_counts_of_characters_tell(found) -> None:
    assert found[0].lstm < found[0].counted[2] < found[0].counted[0]


def test_most_tunes_have_a_header_and_notes_at_low_temperature_and_few_at_high_ones(found) -> None:
    shares = found[0].shares
    assert shares[0.5].header > 0.5 > shares[1.25].header
    assert shares[0.5].notes > shares[1.25].notes


def test_the_figure_is_drawn(found) -> None:
    assert (found[1] / "folk_tunes.svg").stat().st_size > 10_000


# --- the text ---------------------------------------------------------------------------------------------------------

TUNE = "R:jig\nM:6/8\nL:1/8\nK:G\nd|\n{}|d2g gfg|1 z6:|\n"
RAW = """X:1
T:Test -- Jig % a remark
T:Its other name
R: Slip Jig
M:C|
L:1/8
K: A Minor % no sharps
|:ud|{c}d2"G"g (gfg)|\\
d2~g .gfg |1 (3def g>a g2 :|2
d3 d2z|]
"""


def test_cleaning_keeps_the_header_and_the_melody() -> None:
    expected = "R:slipjig\nM:2/2\nL:1/8\nK:Am\n|:d|d2g gfg|\nd2g gfg|1(3def g>a g2:|2\nd3 d2z|\n"
    assert abc_text.clean(RAW) == expected


@pytest.mark.parametrize("field", ["R: ", "M:", "L:", "K: A"])
def test_a_tune_without_a_field_of_the_header_is_left_out(field: str) -> None:
    assert abc_text.clean(RAW.replace(field, "N:")) == ""


@pytest.mark.parametrize(
    ("bar", "full"),
    [
        ("d2g gfg", True),
        ("d2g gf", False),
        ("d3-d2z", True),
        ("d>g g g>fg", True),
        ("d>>g g<<g fg", True),
        ("(3def g2 g2", True),
        ("(3d2e2f2 g2", True),
        ("d/e/ f//g//a/ ^g'2=a,2", True),
        ("d3/2e/ g3/4f// d3/ z/ f", True),
        ("_B6", True),
        ("_B6z", False),
    ],
)
def test_the_lengths_of_a_bar_add_up(bar: str, full: bool) -> None:
    assert abc_text.check(TUNE.format(bar)) == (True, True, 1 + full, 2)


def test_what_is_no_tune_is_found_out() -> None:
    right = TUNE.format("d2g gfg")
    assert abc_text.check(right).passes
    assert not abc_text.check(right.replace("K:G\n", "")).header
    assert not abc_text.check(right.replace("6/8", "six")).header
    assert not abc_text.check(right.replace("6/8", "6/0")).header
    assert not abc_text.check(right.replace("gfg", "ghg")).notes
    assert not abc_text.check(right.replace("gfg", "gf/0g")).notes
    assert not abc_text.check(right.replace("gfg", "g((g")).notes
    assert not abc_text.check(right.removesuffix(":|\n")).notes
    assert not abc_text.check(right.replace("gfg", "gf")).passes


def test_the_corpus_is_split_by_tune_and_its_tunes_pass() -> None:
    corpus = abc_text.corpus()
    parts = [set(tunes) for tunes in corpus[:3]]
    assert [len(tunes) for tunes in corpus[:3]] == [len(part) for part in parts] == [643, 80, 80]
    assert not parts[0] & parts[1] | parts[1] & parts[2] | parts[0] & parts[2]
    assert all(abc_text.check(tune).passes for part in parts for tune in part)
    assert corpus.decode(corpus.encode(corpus.test[0])) == corpus.test[0]


def test_windows_predict_each_character_from_the_one_before() -> None:
    corpus = abc_text.corpus()
    windows = corpus.windows(corpus.test[:2], 32)
    assert windows["text"].shape == windows["next"].shape
    text, following = (corpus.decode(windows[name].ravel()) for name in ("text", "next"))
    whole = f"\n{corpus.test[0]}\n{corpus.test[1]}\n"
    assert whole.startswith(text)
    assert whole[1:].startswith(following)
    assert len(whole) - len(text) <= 33


def test_counting_is_as_good_as_the_entropy_of_characters_without_context() -> None:
    corpus = abc_text.corpus()
    counts = np.bincount(corpus.encode("\n".join(corpus.train)))
    share = counts / counts.sum()
    assert abc_text.counted_bits(corpus, 0) == pytest.approx(-np.sum(share * np.log2(share)), abs=0.05)
