import csv
import io

import pytest

from labkit.report.table import Column, Table, choose_decimals, escape_latex, escape_markdown

TABLE = Table(
    columns=[Column(title="learning_rate"), Column(title="n"), Column(title="a|b", decimals=3)],
    rows=[["0.1_%", 3, 0.12345], ["", 10, None]],
)
HOSTILE = [
    "\\input{/etc/passwd}",
    "100% & $x_1^2$ #~",
    "<script>|alert</script>",
    "`a`*b*_c_ [x](y)",
    "two\nlines",
    "ünïcödé",
]


def test_markdown_has_aligned_columns() -> None:
    assert TABLE.render("markdown") == (
        "| learning_rate | n   |  a\\|b |\n"
        "| ------------- | --: | ----: |\n"
        "| 0.1\\_%        |   3 | 0.123 |\n"
        "|               |  10 |       |\n"
    ).replace("| n   |", "|   n |")


def test_latex_has_rules_and_numbers_to_the_right() -> None:
    assert TABLE.render("latex").splitlines() == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"learning\_rate & n & a\textbar{}b \\",
        r"\midrule",
        r"0.1\_\% & 3 & 0.123 \\",
        r" & 10 &  \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_csv_has_all_digits() -> None:
    assert TABLE.render("csv") == "learning_rate,n,a|b\n0.1_%,3,0.12345\n,10,\n"


def test_any_text_survives_csv() -> None:
    table = Table(columns=[Column(title='"q",')], rows=[[text] for text in HOSTILE])
    assert list(csv.reader(io.StringIO(table.render("csv")))) == [['"q",'], *([text] for text in HOSTILE)]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("100% & $x_1^2$ #~", r"100\% \& \$x\_1\textasciicircum{}2\$ \#\textasciitilde{}"),
        ("<b>\n|", r"\textless{}b\textgreater{} \textbar{}"),
    ],
)
def test_latex_shows_text_as_it_is(text: str, escaped: str) -> None:
    assert escape_latex(text) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("learning_rate", "learning_rate"),
        ("__init__", r"\_\_init\_\_"),
        ("a|b\nc", r"a\|b c"),
        ("<img onerror=x>", r"\<img onerror=x\>"),
        ("[x](y) `c` *d*", r"\[x\](y) \`c\` \*d\*"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


@pytest.mark.parametrize(("uncertainty", "decimals"), [(0.0, 4), (0.0123, 3), (0.5, 2), (12.0, 0), (1e-30, 8)])
def test_numbers_have_two_digits_of_what_is_uncertain(uncertainty: float, decimals: int) -> None:
    assert choose_decimals(uncertainty) == decimals
