"""Templates: what a caller gives is escaped, what it forgets is an error."""

import math

import jinja2
import numpy as np
import pytest

from pix2spec.runtime.templates import _environment, render
from support.pages import cells_of, parse_page

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"


def from_text(source: str, **values) -> str:
    return _environment().from_string(source).render(values)


@pytest.mark.parametrize("template", ["web/note.html.j2", "web/alert.html.j2"])
def test_values_are_escaped_and_are_no_template(template):
    tree = parse_page(render(template, text=HOSTILE))
    assert "".join(tree.itertext()) == HOSTILE


def test_attributes_are_escaped():
    source = "{% from 'macros.html.j2' import figure %}{{ figure(png, text, text) }}"
    image = next(parse_page(from_text(source, png=b"png", text=HOSTILE)).iter("img"))
    assert image.get("alt") == HOSTILE and image.get("src") == "data:image/png;base64,cG5n"


def test_every_template_escapes():
    environment = _environment()
    assert environment.autoescape is True
    assert len(environment.list_templates()) > 5
    for name in environment.list_templates():
        source, _, _ = environment.loader.get_source(environment, name)
        environment.get_template(name)
        assert "|safe" not in source.replace(" ", "") and "autoescape" not in source


def test_a_missing_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="text"):
        render("web/note.html.j2")


NUMBERS = [
    ("number(x)", 0.123456, "0.1235"),
    ("number(x)", np.float64(12345.678), "1.235e+04"),
    ("number(x)", 12, "12"),
    ("number(x)", "12.00", "12.00"),
    *[("number(x)", x, "–") for x in (None, math.nan, -math.inf, np.float32("nan"))],
    ("fixed(x)", 0.5, "0.5000"),
    ("fixed(x, 0.25, digits=1)", 0.5, "0.5 ± 0.2"),
    ("fixed(x, none)", 0.5, "0.5000"),
    ("fixed(x, digits=2)", math.nan, "–"),
    ("fixed(x, 0.1)", None, "–"),
    ("percent(x, 0.05)", 0.5, "50.0 ± 5.0"),
]


@pytest.mark.parametrize("call, x, expected", NUMBERS)
def test_numbers(call, x, expected):
    source = "{% from 'macros.html.j2' import fixed, number, percent %}{{ " + call + " }}"
    assert from_text(source, x=x) == expected


def test_a_table_without_rows_is_left_out():
    source = (
        "{% from 'macros.html.j2' import row, table %}{% call table('name', ['a', 'b']) %}"
        "{% for x in rows %}{{ row([x, none]) }}{% endfor %}{% endcall %}"
    )
    assert from_text(source, rows=[]).strip() == ""
    assert cells_of(parse_page(from_text(source, rows=["<i>"]))) == [["a", "b"], ["<i>", "–"]]
