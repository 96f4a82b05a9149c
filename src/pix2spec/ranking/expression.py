"""A small language for statements about spectra, such as ``ew(Halpha) > 50 and z < 0.1``.

This module splits the text into tokens. Python's parser (`ast`) then finds the structure of the expression,
and a whitelist says which of its nodes are allowed. The parser receives only the operators and brackets of
the text, with a placeholder for each name, number and class: no text runs as Python code. An expression is
evaluated on numpy arrays, for all candidates at once.

A quantity that was not measured is NaN, and a comparison with it is unknown. Statements follow Kleene's
logic: ``unknown and false`` is false, ``unknown or true`` is true, and any other combination with an unknown
part is unknown.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial, reduce
from itertools import pairwise
from typing import Any

import numpy as np

from pix2spec.errors import InputError
from pix2spec.measure.quantities import BPT_CLASSES

__all__ = ["FUNCTIONS", "LINE_NAMES", "NUMBER", "TRUTH", "Node", "columns_of", "evaluate", "parse"]

# Limits in characters, parts and nested brackets, which keep the parser from using up memory or stack.
MAX_LENGTH, MAX_NODES, MAX_DEPTH = 1000, 200, 30
NUMBER, TRUTH, CLASS = "a number", "a statement", "a class"

# Names of lines in the language, and their names in `pix2spec.measure.quantities`.
LINE_NAMES = {
    **{"Halpha": "halpha", "Ha": "halpha", "Hbeta": "hbeta", "Hb": "hbeta"},
    **{name: "oii" for name in ("OII", "OII3727")},
    **{name: "oiii" for name in ("OIII", "OIII5007")},
    **{name: "nii" for name in ("NII", "NII6583", "NII6584", "NII6585")},
    **{name: "sii" for name in ("SII", "SII6716", "SII6717")},
}
LINES = {name.casefold(): line for name, line in LINE_NAMES.items()}
CLASSES = {name.casefold(): index for index, name in enumerate(BPT_CLASSES)}
BANDS = ["g", "r", "i"]  # bands that the spectra cover; the quantities have the colours g - r and r - i
# Functions of names, and the columns that each call reads. ``sn`` is the ratio of its two columns, and a
# colour is the sum of its columns.
OF_LINES = {"ew": ["ew_{}"], "flux": ["flux_{}"], "sn": ["flux_{}", "flux_{}_error"]}
CALLS: dict[tuple[str, ...], list[str]] = {
    (name, key): [form.format(line) for form in forms]
    for name, forms in OF_LINES.items()
    for key, line in LINES.items()
}
CALLS |= {("colour", "g", "r"): ["g_r"], ("colour", "r", "i"): ["r_i"], ("colour", "g", "i"): ["g_r", "r_i"]}
OF_NUMBERS = {"log10": np.log10, "abs": np.abs, "sqrt": np.sqrt}
FUNCTIONS = (*OF_LINES, "colour", *OF_NUMBERS)

TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>(?:and|or|not)\b)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<text>\"[^\"]*\"|'[^']*')|(?P<sign><=|>=|==|!=|[-+*/()<>,])|(?P<end>\Z)|.",
    re.ASCII | re.DOTALL,
)
OPERANDS = ("number", "name", "text")
# Words that are not names of columns: what they are, and how to write them.
_NO_NAMES = (("line", LINES, "flux({})"), ("class", CLASSES, '"{}"'), ("function", FUNCTIONS, "{}(...)"))
INSTEAD = {"=": "to compare, write ==", "&": "write and", "|": "write or", "!": "write not"}
WIDTH = 4  # characters per token in the text for `ast`; the columns in its tree give the tokens' numbers


def _all(*parts):
    return reduce(lambda a, b: np.where((a == 0) | (b == 0), 0.0, a * b), parts)


def _any(*parts):
    return reduce(lambda a, b: np.where((a == 1) | (b == 1), 1.0, np.maximum(a, b)), parts)


def _sum(*parts):
    return sum(parts)


def _compare(function: Callable, left, right):
    return np.where(np.isnan(left) | np.isnan(right), np.nan, function(left, right))


def _divide(measured: bool, left, right):
    return left / np.where(right > 0 if measured else right != 0, right, np.nan)


def _finite(function: Callable, value):
    return np.where(np.isfinite(result := function(value)), result, np.nan)


# The allowed nodes besides names, calls and comparisons: sign, type of operands and result, function.
OPERATIONS: dict[type, tuple[str, str, Callable]] = {
    ast.And: ("and", TRUTH, _all),
    ast.Or: ("or", TRUTH, _any),
    ast.Not: ("not", TRUTH, lambda a: 1 - a),
    ast.Add: ("+", NUMBER, operator.add),
    ast.Sub: ("-", NUMBER, operator.sub),
    ast.Mult: ("*", NUMBER, operator.mul),
    ast.Div: ("/", NUMBER, _divide),
    ast.USub: ("-", NUMBER, operator.neg),
    ast.UAdd: ("+", NUMBER, operator.pos),
}
COMPARISONS: dict[type, tuple[str, Callable]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}


@dataclass(frozen=True)
class Node:
    """A part of a parsed expression."""

    gives: str  # type of the result: NUMBER, TRUTH or CLASS
    place: int  # position in the text, from 0
    columns: frozenset[str]  # columns that it reads
    value: Callable[[Mapping[str, Any]], Any]  # function from columns to the result


def parse(text: str, names: Iterable[str], wanted: str = TRUTH, where: str = "expression") -> Node:
    """Parse a statement, or with ``wanted=NUMBER`` an arithmetic expression.

    Parameters
    ----------
    text : str
        The expression.
    names : iterable of str
        Columns that the expression may use, with their spelling in `evaluate`. The text may use other case.
        ``bpt`` is a class; all other columns are numbers.
    wanted : {TRUTH, NUMBER}
        Type of the result.
    where : str
        Name of the text in error messages.

    Raises
    ------
    InputError
        If the text is not a valid expression. The error gives the column of the fault, and suggests the
        nearest name for an unknown one.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(where, f"the text has {len(text)} characters", f"use {MAX_LENGTH} at most")
    return _Parser(text, names, where).parse(wanted)


def columns_of(tree: Node) -> set[str]:
    """Names of the columns that an expression reads."""
    return set(tree.columns)


def evaluate(tree: Node, columns: Mapping[str, Any]) -> np.ndarray:
    """Evaluate an expression.

    Parameters
    ----------
    tree : Node
        The parsed expression.
    columns : mapping of str to array
        Values of its columns, whose shapes broadcast against each other.

    Returns
    -------
    float array
        Numbers, or for a statement 1 for true, 0 for false and NaN for unknown. A ratio is NaN if its
        denominator is a measured quantity that is not positive, such as a flux lost in noise.

    Examples
    --------
    >>> from pix2spec.ranking.expression import evaluate, parse
    >>> tree = parse("z > 0.2 or mag_r < 17", ["z", "mag_r"])
    >>> evaluate(tree, {"z": [0.1, 0.3, np.nan], "mag_r": [16, 18, 18]})
    array([ 1.,  1., nan])
    """
    with np.errstate(all="ignore"):
        return np.asarray(tree.value(columns), float)


class _Parser:
    """Parser from text to tokens, from tokens to Python's syntax tree, and from the tree to a `Node`."""

    def __init__(self, text: str, names: Iterable[str], where: str):
        self.text, self.where, self.nodes = text, where, 0
        self.names = {name.casefold(): name for name in names}
        self.tokens = [match for match in TOKEN.finditer(text) if match.lastgroup != "space"]

    def parse(self, wanted: str) -> Node:
        example = "for example ew(Halpha) > 50" if wanted == TRUTH else ""
        if len(self.tokens) == 1:
            raise self._error("there is nothing to parse", 0, example)
        self._check_order()
        words = [token[0] if token.lastgroup in ("sign", "word") else "_" for token in self.tokens[:-1]]
        try:
            tree = ast.parse("".join(word.ljust(WIDTH) for word in words), mode="eval")
        except SyntaxError:
            raise self._error("the order of the words has no meaning", self.tokens[0]) from None
        node = self._node(tree.body)
        if node.gives != wanted:
            raise self._error(f"{wanted} is needed, but this is {node.gives}", node.place, example)
        return node

    def _error(self, what: str, at: int | re.Match, hint: str = "") -> InputError:
        place = at if isinstance(at, int) else at.start()
        shown = "".join(c if c.isprintable() else " " for c in self.text)
        return InputError(self.where, f"{what}, at column {place + 1}", hint, f"  {shown}\n  {' ' * place}^")

    def _unknown(self, what: str, token: re.Match, known: Iterable[str]) -> InputError:
        spelt = {name.casefold(): name for name in known}
        near = get_close_matches(token[0].strip("'\"").casefold(), spelt, 1, 0.5)
        hint = f"did you mean {spelt[near[0]]}?" if near else f"known are {', '.join(spelt.values())}"
        return self._error(f"{what} {token[0]} is unknown", token, hint)

    def _check_order(self) -> None:
        """Find syntax errors before Python's parser does, to describe them in terms of this language.

        Raise `InputError` also for brackets that are nested too deep.
        """
        opened: list[bool] = []  # for each open bracket, whether it follows a function's name
        after_operand, after_name, before = False, False, "("
        for token in self.tokens:
            word, operand = token[0], token.lastgroup in OPERANDS
            if token.lastgroup is None:
                raise self._error(f"{word!r} has no meaning here", token, INSTEAD.get(word, ""))
            begins = word in ("(", "-", "+") or (word == "not" and before in ("(", ",", "and", "or", "not"))
            if not after_operand and not operand and not begins:
                raise self._error("a quantity or a number is missing", token)
            stray = after_operand and (operand or word == "not" or (word == "(" and not after_name))
            if stray or (word == ")" and not opened) or (word == "," and not any(opened[-1:])):
                raise self._error(f"{word!r} is not expected", token)
            if word == "(":
                opened.append(after_name)
            elif word == ")":
                opened.pop()
            if len(opened) > MAX_DEPTH:
                raise self._error(f"brackets are nested more than {MAX_DEPTH} deep", token)
            after_operand, after_name, before = operand or word == ")", token.lastgroup == "name", word
        if opened:
            raise self._error("')' is missing before the end", self.tokens[-1])

    def _token(self, tree: ast.expr) -> re.Match:
        return self.tokens[tree.col_offset // WIDTH]

    def _node(self, tree: ast.expr) -> Node:
        token = self._token(tree)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._error(f"the expression has more than {MAX_NODES} parts", token)
        match tree:
            case ast.Name():
                return self._operand(token)
            case ast.Call(func=ast.Name(), args=arguments):
                return self._function(token, arguments)
            case ast.Compare():
                return self._comparison(tree)
            case ast.BoolOp(op=op, values=parts) if type(op) in OPERATIONS:
                nodes = [self._node(part) for part in parts]
            case ast.UnaryOp(op=op, operand=part) if type(op) in OPERATIONS:
                nodes = [self._node(part)]
            case ast.BinOp(op=op) if type(op) in OPERATIONS:
                nodes = [self._node(tree.left), self._node(tree.right)]
            case _:
                raise self._error(f"{token[0]!r} is not expected", token)
        sign, kind, function = OPERATIONS[type(op)]
        if function is _divide:
            function = partial(_divide, bool(nodes[1].columns))
        return self._apply(sign, function, kind, kind, nodes, token)

    def _apply(self, sign, function: Callable, needs: str, gives: str, nodes, token: re.Match) -> Node:
        """Apply a function to nodes. Raise `InputError` if one of them has the wrong type."""
        for node in nodes:
            if node.gives != needs:
                raise self._error(f"{sign} needs {needs}, but this is {node.gives}", node.place)
        columns = frozenset().union(*(node.columns for node in nodes))
        return Node(gives, token.start(), columns, lambda c: function(*[node.value(c) for node in nodes]))

    def _comparison(self, tree: ast.Compare) -> Node:
        """Parse a comparison, or a chain as in ``0.1 < z < 0.2``."""
        nodes, found = [self._node(side) for side in (tree.left, *tree.comparators)], []
        for op, right, pair in zip(tree.ops, tree.comparators, pairwise(nodes)):
            sign, function = COMPARISONS[type(op)]
            needs = CLASS if CLASS in (pair[0].gives, pair[1].gives) else NUMBER
            if needs == CLASS and sign not in ("==", "!="):
                before = reversed(self.tokens[: right.col_offset // WIDTH])
                at = next(token for token in before if token[0] == sign)
                raise self._error("compare classes with == and != only", at)
            token = self._token(tree)
            found.append(self._apply(sign, partial(_compare, function), needs, TRUTH, pair, token))
        return self._apply("and", _all, TRUTH, TRUTH, found, self._token(tree))

    def _operand(self, token: re.Match) -> Node:
        word = token[0].strip("'\"").casefold()
        if token.lastgroup == "name":
            if word in self.names:
                return self._column(self.names[word], token)
            for what, known, form in _NO_NAMES:
                if word in known:
                    raise self._error(f"{token[0]} is a {what}", token, f"write {form.format(token[0])}")
            raise self._unknown("name", token, [*self.names.values(), *FUNCTIONS])
        if token.lastgroup == "text" and word not in CLASSES:
            raise self._unknown("class", token, BPT_CLASSES)
        kind, number = (NUMBER, float(word)) if token.lastgroup == "number" else (CLASS, float(CLASSES[word]))
        if not np.isfinite(number):
            raise self._error(f"{word} is too large", token)
        return Node(kind, token.start(), frozenset(), lambda c: number)

    def _column(self, name: str, token: re.Match) -> Node:
        if name not in self.names.values():
            raise self._error(f"{token[0]} needs {name}, which is not known here", token)
        kind = CLASS if name == "bpt" else NUMBER
        return Node(kind, token.start(), frozenset({name}), lambda c: np.asarray(c[name], float))

    def _function(self, token: re.Match, arguments: Sequence[ast.expr]) -> Node:
        name = token[0].casefold().replace("color", "colour")
        if name not in FUNCTIONS:
            raise self._unknown("function", token, FUNCTIONS)
        if name in OF_NUMBERS:
            if len(arguments) > 1:
                raise self._error(f"{name} takes only one number", self._token(arguments[1]))
            nodes = [self._node(arguments[0])]
            return self._apply(name, partial(_finite, OF_NUMBERS[name]), NUMBER, NUMBER, nodes, token)
        what, known = ("band", BANDS) if name == "colour" else ("line", list(LINE_NAMES))
        words = [self._one_of(what, known, argument) for argument in arguments]
        if (name, *words) not in CALLS:
            needs = "two bands, the bluer one first" if what == "band" else "one line"
            raise self._error(f"{name} needs {needs}", self._token(arguments[-1]))
        nodes = [self._column(column, token) for column in CALLS[name, *words]]
        operation = partial(_divide, True) if name == "sn" else _sum
        return self._apply(name, operation, NUMBER, NUMBER, nodes, token)

    def _one_of(self, what: str, known: list[str], tree: ast.expr) -> str:
        token = self._token(tree)
        if not isinstance(tree, ast.Name) or token.lastgroup != "name":
            raise self._error(f"the name of a {what} is missing", token, f"as in {known[0]}")
        if token[0].casefold() not in map(str.casefold, known):
            raise self._unknown(what, token, known)
        return token[0].casefold()
