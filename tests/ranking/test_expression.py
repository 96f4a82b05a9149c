import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.errors import InputError
from pix2spec.measure.quantities import LINES
from pix2spec.ranking.expression import LINE_NAMES, NUMBER, columns_of, evaluate, parse

NAMES = ["z", "dn4000", "g_r", "r_i", "bpt", "mag_r"]
NAMES += [f"{kind}_{line}" for kind in ("ew", "flux") for line in LINES]
NAMES += [f"flux_{line}_error" for line in LINES]
Z = np.array([0.05, 0.15, 0.25, np.nan])


def truth(text, **columns):
    return evaluate(parse(text, NAMES), columns).tolist()


def test_every_line_has_a_name():
    assert set(LINE_NAMES.values()) == set(LINES)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("z > 0.1", [0, 1, 1, None]),
        ("0.1 < z < 0.2", [0, 1, 0, None]),
        ("not z > 0.1", [1, 0, 0, None]),
        ("z > 0.1 and mag_r < 18", [0, 1, 0, None]),
        ("z > 0.1 and mag_r < 10", [0, 0, 0, 0]),  # false whatever z is
        ("z > 0.1 or mag_r > 10", [1, 1, 1, 1]),
        ("z > 0.1 or mag_r > 18", [0, 1, 1, None]),
        ("z + 2 * mag_r == 34.05", [1, 0, 0, None]),
        ("-z < -0.1", [0, 1, 1, None]),
        ("(z - 0.05) * (z - 0.25) < 0", [0, 1, 0, None]),
        ("log10(abs(z - 1)) < log10(0.9)", [0, 1, 1, None]),
        ("z != 0.05", [0, 1, 1, None]),
    ],
)
def test_values_and_unknown_ones(text, expected):
    mag = np.array([17, 17, 19, 17.0])
    np.testing.assert_equal(truth(text, z=Z, mag_r=mag), [np.nan if e is None else e for e in expected])


def test_precedence():
    assert evaluate(parse("1 + 2 * 3 - 8 / 4 / 2", NAMES, NUMBER), {}) == 6
    assert truth("1 > 2 and 1 > 2 or 2 > 1") == 1  # (a and b) or c
    assert truth("2 > 1 or 1 > 2 and 1 > 2") == 1  # a or (b and c)
    assert truth("not 1 > 2 and 2 > 1") == 1  # (not a) and b


def test_functions_are_columns():
    values = {"flux_oiii": np.array([9.0, 9, 9]), "flux_hbeta": np.array([2.0, 4, -2])}
    # A flux lost in noise has no ratio.
    np.testing.assert_equal(truth("flux(OIII5007) / flux(Hbeta) > 3", **values), [1, 0, np.nan])
    assert columns_of(parse("sn(Halpha) > 3", NAMES)) == {"flux_halpha", "flux_halpha_error"}
    colours = {"g_r": np.array([0.5]), "r_i": np.array([0.25])}
    assert evaluate(parse("colour(g, i)", NAMES, NUMBER), colours) == 0.75
    assert columns_of(parse("EW(halpha) > ew_Hbeta", NAMES)) == {"ew_halpha", "ew_hbeta"}


def test_classes():
    assert truth('bpt == "AGN"', bpt=np.array([0, 3, 1])) == [0, 1, 0]
    assert truth("bpt != 'star-forming'", bpt=np.array([0, 3, 1])) == [1, 1, 0]


@pytest.mark.parametrize(
    "text, column, words",
    [
        ("ew(Hapha) > 3", 4, "did you mean Halpha"),
        ("z > 0 and ew_halfa > 3", 11, "did you mean ew_halpha"),
        ("flx(Halpha) > 3", 1, "did you mean flux"),
        ("bpt == 'AGM'", 8, "did you mean AGN"),
        ("z = 3", 3, "write =="),
        ("z > 1 & z < 2", 7, "write and"),
        ("Halpha > 3", 1, "flux(Halpha)"),
        ("z >", 4, "missing"),
        ("(z > 1", 7, "')' is missing"),
        ("z > 1 2", 7, "not expected"),
        ("z > 1, 2", 6, "not expected"),
        ("z > 1)", 6, "not expected"),
        ("2 ** 9 > z", 4, "missing"),
        ("z > not z", 5, "missing"),
        ("bpt == AGN", 8, 'write "AGN"'),
        ("ew > 3", 1, "write ew(...)"),
        ("log10(z, 2) > 1", 10, "takes only one number"),
        ("z + 1", 1, "a statement is needed"),
        ("z and z > 1", 1, "and needs a statement"),
        ("z > 'AGN'", 3, "with == and !="),
        ("bpt + 1 > 2", 1, "+ needs a number"),
        ("colour(r, g) > 0", 11, "the bluer one first"),
        ("ew(3) > 1", 4, "missing"),
        ("1e999 > z", 1, "too large"),
        ("z.__class__ > 1", 2, "no meaning"),
        ("__import__('os') > 1", 1, "function __import__ is unknown"),
        ("µ > 1", 1, "no meaning"),
        ("", 1, "there is nothing"),
        ("(" * 60 + "z > 1", 31, "nested"),
        ("1 < " + "z + " * 230 + "z", None, "more than 200 parts"),
    ],
)
def test_errors_point_at_the_text(text, column, words):
    with pytest.raises(InputError) as caught:
        parse(text, NAMES)
    message = str(caught.value)
    assert words in message
    if column is not None:
        assert re.search(rf"at column {column}( \(.*\))?\n", message)
        assert message.splitlines()[2].index("^") == 2 + column - 1


def test_errors_name_the_argument():
    with pytest.raises(InputError, match=r"^`by`: name zz is unknown"):
        parse("zz", NAMES, NUMBER, "`by`")


@pytest.mark.parametrize("name", ["lambda", "None", "in", "class", "_"])
def test_columns_may_be_named_like_words_of_python(name):
    assert evaluate(parse(f"{name} > 007", [name]), {name: np.array([6.5, 8])}).tolist() == [0, 1]


@pytest.mark.parametrize("text", ["-" * 900 + "z > 1", "not " * 240 + "z > 1", "(" * 900 + "z > 1"])
def test_deep_texts_do_not_exhaust_the_parser(text):
    with pytest.raises(InputError, match=r"more than 200 parts|nested more than 30 deep"):
        parse(text, NAMES)


def test_length_is_limited():
    with pytest.raises(InputError, match="characters"):
        parse("z > 1 or " * 200 + "z > 2", NAMES)


def test_a_name_that_is_not_at_hand():
    with pytest.raises(InputError, match="sn needs flux_halpha_error, which is not known here"):
        parse("sn(Halpha) > 3", ["flux_halpha", "z"])


numbers = st.sampled_from(["z", "mag_r", "2", "0.5", "ew(Ha)"])
sums = st.recursive(
    numbers,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner) | st.builds("-{}".format, inner)
    ),
    max_leaves=6,
)
statements = st.recursive(
    st.builds("{} {} {}".format, sums, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), sums),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=6,
)


@given(statements, st.tuples(*[st.floats(-3, 3)] * 3))
def test_same_as_python_where_all_is_known(text, values):
    names = dict(zip(("z", "mag_r", "ew_halpha"), values))
    expected = eval(text.replace("ew(Ha)", "ew_halpha"), {"__builtins__": {}}, names)
    assert truth(text, **names) == expected


@given(st.text(max_size=60) | st.text("zewbpt()<>=!+-*/'\"., 019andornot", max_size=60))
def test_any_text_is_parsed_or_refused(text):
    try:
        evaluate(parse(text, NAMES), {name: np.ones(2) for name in NAMES})
    except InputError as error:
        assert "expression" in str(error)
