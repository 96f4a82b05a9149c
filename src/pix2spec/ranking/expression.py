"""A small language for statements about spectra, such as ``ew(Halpha) > 50 and z < 0.1``.

Text is parsed into a tree of `Node` and evaluated on numpy arrays, all candidates at once. It is never Python
code: there are the names that it is given, the functions below, arithmetic, comparisons and ``and or not``.

A quantity that was not measured is NaN and makes a comparison unknown. Unknown parts follow Kleene's logic:
``unknown and false`` is false, ``unknown or true`` is true, all else that contains an unknown is unknown.
"""

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pix2spec.errors import InputError
from pix2spec.measure.quantities import BPT_CLASSES

__all__ = ["FUNCTIONS", "LINE_NAMES", "NUMBER", "TRUTH", "Node", "columns_of", "evaluate", "parse"]

MAX_LENGTH, MAX_NODES, MAX_DEPTH = 1000, 200, 30  # of a text: no statement can exhaust the parser
NUMBER, TRUTH, CLASS = "a number", "a statement", "a class"

# Lines as people write them, and the quantities' names for them.
LINE_NAMES = {
    **{"Halpha": "halpha", "Ha": "halpha", "Hbeta": "hbeta", "Hb": "hbeta"},
    **{name: "oii" for name in ("OII", "OII3727")},
    **{name: "oiii" for name in ("OIII", "OIII5007")},
    **{name: "nii" for name in ("NII", "NII6583", "NII6584", "NII6585")},
    **{name: "sii" for name in ("SII", "SII6716", "SII6717")},
}
BANDS = ("g", "r", "i")  # that the spectra cover; neighbours have a colour among the quantities
# What a function of lines is made of: one column of a line, or the ratio of two.
OF_LINES = {"ew": ("ew_{}",), "flux": ("flux_{}",), "sn": ("flux_{}", "flux_{}_error")}
OF_NUMBERS = {"log10": np.log10, "abs": np.abs, "sqrt": np.sqrt}
FUNCTIONS = (*OF_LINES, "colour", *OF_NUMBERS)
COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<text>\"[^\"]*\"|'[^']*')|(?P<sign><=|>=|==|!=|[-+*/()<>,]))",
    re.ASCII,
)


class Token(NamedTuple):
    """A word of the text and where it starts, counted from 0."""

    kind: str  # number, name, text, sign, end
    text: str
    place: int


@dataclass(frozen=True)
class Node:
    """A part of a parsed expression.

    `kind` is ``number``, ``column``, ``text``, ``negate``, ``not``, an operator's sign, ``and``, ``or``, or a
    function of `OF_NUMBERS`; `gives` says what it evaluates to.
    """

    kind: str
    gives: str
    value: float | str = ""
    parts: tuple["Node", ...] = ()
    place: int = 0


def parse(text: str, names: Iterable[str], wanted: str = TRUTH) -> Node:
    """Parse a statement, or with ``wanted=NUMBER`` an arithmetic expression.

    Parameters
    ----------
    text : str
    names : iterable of str
        Columns that it may use, as they will be spelt in `evaluate`; case does not matter. ``bpt`` is the
        class, all others are numbers.

    Raises
    ------
    InputError
        With the column of the text, and the nearest name where one is unknown.
    """
    if len(text) > MAX_LENGTH:
        raise InputError("expression", f"it has {len(text)} characters", f"{MAX_LENGTH} at most")
    return _Parser(text, names).whole(wanted)


class _Parser:
    """Recursive descent: a method for each level of precedence, the loosest first."""

    def __init__(self, text: str, names: Iterable[str]):
        self.text = text
        self.names = {name.casefold(): name for name in names}
        self.tokens = list(self._tokens())
        self.position = self.nodes = self.depth = 0

    # -- words

    def _tokens(self):
        place, end = 0, len(self.text.rstrip())
        while place < end:
            match = TOKEN.match(self.text, place)
            if match is None:
                place += len(self.text[place:]) - len(self.text[place:].lstrip())
                word = self.text[place]
                hint = {"=": "to compare, write ==", "&": "write and", "|": "write or"}.get(word, "")
                raise self._error(f"{word!r} has no meaning here", place, hint)
            kind = str(match.lastgroup)
            yield Token(kind, match[kind], match.start(kind))
            place = match.end()
        yield Token("end", "", end)

    def _error(self, what: str, place: int, hint: str = "") -> InputError:
        shown = "".join(c if c.isprintable() else " " for c in self.text)
        below = f"  {shown}\n  {' ' * place}^"
        return InputError("expression", f"{what}, at column {place + 1}", hint, below)

    def _unknown(self, what: str, token: Token, known: Iterable[str]) -> InputError:
        spelt = {name.casefold(): name for name in known}
        near = get_close_matches(token.text.strip("'\"").casefold(), spelt, 1, 0.5)
        hint = f"did you mean {spelt[near[0]]}?" if near else f"known are {', '.join(spelt.values())}"
        return self._error(f"{what} {token.text} is unknown", token.place, hint)

    @property
    def next(self) -> Token:
        return self.tokens[self.position]

    def _take(self, *texts: str) -> Token | None:
        """The next word if it is one of `texts`."""
        token = self.next
        if token.kind in ("sign", "name") and token.text in texts:
            self.position += 1
            return token
        return None

    def _expect(self, text: str) -> None:
        if self._take(text) is None:
            found = self.next.text or "the end"
            raise self._error(f"{text!r} is missing before {found}", self.next.place)

    # -- nodes

    def _node(self, kind: str, gives: str, token: Token, value="", *parts: Node, needs: str = "") -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._error(f"the expression has more than {MAX_NODES} parts", token.place)
        for part in parts if needs else ():
            if part.gives != needs:
                raise self._error(f"{token.text} needs {needs}, this is {part.gives}", part.place)
        return Node(kind, gives, value, parts, parts[0].place if len(parts) > 1 else token.place)

    def whole(self, wanted: str) -> Node:
        if self.next.kind == "end":
            raise self._error("there is nothing", 0, "for example ew(Halpha) > 50")
        tree = self._or()
        if self.next.kind != "end":
            hint = "to compare, write ==" if self.next.text == "=" else ""
            raise self._error(f"{self.next.text!r} is not expected", self.next.place, hint)
        if tree.gives != wanted:
            hint = "for example ew(Halpha) > 50" if wanted == TRUTH else ""
            raise self._error(f"{wanted} is needed, this is {tree.gives}", tree.place, hint)
        return tree

    def _chain(self, words: tuple[str, ...], below, kind: str) -> Node:
        left = below()
        while token := self._take(*words):
            left = self._node(token.text, kind, token, "", left, below(), needs=kind)
        return left

    def _or(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"it is nested more than {MAX_DEPTH} deep", self.next.place)
        tree = self._chain(("or",), self._and, TRUTH)
        self.depth -= 1
        return tree

    def _and(self) -> Node:
        return self._chain(("and",), self._not, TRUTH)

    def _not(self) -> Node:
        turns = []
        while token := self._take("not"):
            turns.append(token)
        tree = self._comparison()
        for token in reversed(turns):
            tree = self._node("not", TRUTH, token, "", tree, needs=TRUTH)
        return tree

    def _comparison(self) -> Node:
        """One comparison, or a chain as in ``0.1 < z < 0.2``."""
        left, found = self._sum(), []
        while token := self._take(*COMPARISONS):
            right = self._sum()
            found.append(self._compare(token, left, right))
            left = right
        if not found:
            return left
        return reduce(lambda a, b: self._node("and", TRUTH, self.next, "", a, b), found)

    def _compare(self, token: Token, left: Node, right: Node) -> Node:
        if CLASS not in (left.gives, right.gives):
            return self._node(token.text, TRUTH, token, "", left, right, needs=NUMBER)
        if token.text not in ("==", "!="):
            raise self._error("classes are compared by == and != alone", token.place)
        return self._node(token.text, TRUTH, token, "", left, right, needs=CLASS)

    def _sum(self) -> Node:
        return self._chain(("+", "-"), self._product, NUMBER)

    def _product(self) -> Node:
        return self._chain(("*", "/"), self._signed, NUMBER)

    def _signed(self) -> Node:
        turns = []
        while token := self._take("-", "+"):
            turns.append(token)
        tree = self._atom()
        for token in reversed(turns):
            if token.text == "-":
                tree = self._node("negate", NUMBER, token, "", tree, needs=NUMBER)
        return tree

    def _atom(self) -> Node:
        token = self.next
        self.position += token.kind != "end"
        if token.text == "(" and token.kind == "sign":
            tree = self._or()
            self._expect(")")
            return tree
        if token.kind == "number":
            if not np.isfinite(float(token.text)):
                raise self._error(f"{token.text} is too large", token.place)
            return self._node("number", NUMBER, token, float(token.text))
        if token.kind == "text":
            return self._class(token)
        if token.kind == "name" and token.text not in ("and", "or", "not"):
            return self._function(token) if self._take("(") else self._name(token)
        raise self._error("a quantity or a number is missing", token.place)

    def _class(self, token: Token) -> Node:
        spelt = {name.casefold(): index for index, name in enumerate(BPT_CLASSES)}
        if (word := token.text[1:-1].casefold()) not in spelt:
            raise self._unknown("class", token, BPT_CLASSES)
        return self._node("text", CLASS, token, spelt[word])

    def _name(self, token: Token) -> Node:
        name = self.names.get(token.text.casefold())
        if name is None:
            if token.text.casefold() in {line.casefold() for line in LINE_NAMES}:
                raise self._error(f"{token.text} is a line", token.place, f"ask for flux({token.text})")
            raise self._unknown("name", token, [*self.names.values(), *FUNCTIONS])
        return self._column(name, token)

    def _column(self, name: str, token: Token) -> Node:
        if name not in self.names.values():
            raise self._error(f"{token.text} needs {name}, which is not known here", token.place)
        return self._node("column", CLASS if name == "bpt" else NUMBER, token, name)

    def _function(self, token: Token) -> Node:
        name = token.text.casefold()
        if name in OF_LINES:
            line = self._one_of(LINE_NAMES, "line")
            columns = [self._column(form.format(line), token) for form in OF_LINES[name]]
            tree = reduce(lambda a, b: self._node("/", NUMBER, token, "", a, b), columns)
        elif name in ("colour", "color"):
            tree = self._colour(token)
        elif name in OF_NUMBERS:
            tree = self._node(name, NUMBER, token, "", self._or(), needs=NUMBER)
        else:
            raise self._unknown("function", token, FUNCTIONS)
        self._expect(")")
        return tree

    def _one_of(self, known: Mapping[str, str], what: str) -> str:
        token = self.next
        spelt = {name.casefold(): value for name, value in known.items()}
        if token.kind != "name" or token.text.casefold() not in spelt:
            if token.kind != "name":
                raise self._error(
                    f"the name of a {what} is missing", token.place, f"as in {next(iter(known))}"
                )
            raise self._unknown(what, token, known)
        self.position += 1
        return spelt[token.text.casefold()]

    def _colour(self, token: Token) -> Node:
        """``colour(g, i)`` is g_r + r_i."""
        bands = {band: band for band in BANDS}
        blue = self._one_of(bands, "band")
        self._expect(",")
        place = self.next.place
        red = self._one_of(bands, "band")
        path = BANDS[BANDS.index(blue) : BANDS.index(red) + 1]
        if len(path) < 2:
            raise self._error("a colour needs two bands, the bluer one first", place, "as in colour(g, r)")
        steps = [self._column(f"{a}_{b}", token) for a, b in pairwise(path)]
        return reduce(lambda a, b: self._node("+", NUMBER, token, "", a, b), steps)


def columns_of(tree: Node) -> set[str]:
    """Names of the columns that an expression looks at."""
    own: set = {tree.value} if tree.kind == "column" else set()
    return own.union(*(columns_of(part) for part in tree.parts))


def evaluate(tree: Node, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Values of an expression on arrays that broadcast against each other.

    Returns
    -------
    float array
        Of a statement 1 for true, 0 for false, NaN for unknown. A ratio whose denominator is measured and
        not positive (a flux lost in noise) is NaN: it would have the wrong sign, or none.

    Examples
    --------
    >>> from pix2spec.ranking.expression import evaluate, parse
    >>> tree = parse("z > 0.2 or mag_r < 17", ["z", "mag_r"])
    >>> evaluate(tree, {"z": [0.1, 0.3, np.nan], "mag_r": [16, 18, 18]})
    array([ 1.,  1., nan])
    """
    with np.errstate(all="ignore"):
        return np.asarray(_evaluate(tree, columns), float)


def _evaluate(tree: Node, columns):
    if tree.kind in ("number", "text"):
        return float(tree.value)
    if tree.kind == "column":
        return np.asarray(columns[tree.value], float)
    parts = [_evaluate(part, columns) for part in tree.parts]
    if tree.kind in COMPARISONS:
        unknown = np.isnan(parts[0]) | np.isnan(parts[1])
        return np.where(unknown, np.nan, COMPARISONS[tree.kind](*parts))
    if tree.kind == "/":
        left, right = parts
        meant = right != 0 if not columns_of(tree.parts[1]) else right > 0
        return left / np.where(meant, right, np.nan)
    if tree.kind in OF_NUMBERS:
        value = OF_NUMBERS[tree.kind](parts[0])
        return np.where(np.isfinite(value), value, np.nan)
    return _OPERATIONS[tree.kind](*parts)


_OPERATIONS: dict = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "negate": operator.neg,
    "not": lambda a: 1 - a,
    "and": lambda a, b: np.where((a == 0) | (b == 0), 0.0, a * b),
    "or": lambda a, b: np.where((a == 1) | (b == 1), 1.0, np.maximum(a, b)),
}
