"""Expressions of a query: columns, literals, comparisons, boolean operators and a list of functions, nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workbench.errors import DataError

LONGEST = 50_000_000  # of an expression; the explorer names rows by their ids
DEEPEST = 200


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATORS = _words("and or not in between is null like ilike true false case when then else end as distinct from cast")
FUNCTIONS = _words(
    "abs array_contains array_length array_mean array_sum cast ceil coalesce cos date day "
    "ends_with exp floor greatest hour if ifnull least length ln log log10 log2 lower mod month nullif pow "
    "power round sign sin sqrt starts_with strpos substr trim upper year"
)
TYPES = _words("int integer bigint smallint float double real varchar text string boolean date timestamp")
_TOKEN = re.compile(
    r"""\s+
    | '(?:[^']|'')*'
    | "(?P<quoted>(?:[^"]|"")*)"
    | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
    | (?P<word>[^\W\d]\w*)
    | <> | != | <= | >= | \|\| | [-+*/%=<>(),]""",
    re.VERBOSE,
)


def check_expression(expression: str, columns: Sequence[str]) -> None:
    """Raise `DataError` unless an SQL expression is built of columns, literals, operators and `FUNCTIONS` alone.

    Polars' SQL could otherwise open files and ask the network (``read_parquet('http://...')``), or ask for more memory
    than there is (``LPAD``). Columns of any name may be quoted: ``"my column" > 3``.
    """
    if len(expression) > LONGEST:
        raise DataError(f"expression: expected at most {LONGEST:,} characters, not {len(expression):,}")
    known = {name.lower() for name in columns}
    place, depth = 0, 0
    while place < len(expression):
        token = _TOKEN.match(expression, place)
        if token is None:
            raise _refused(expression, expression[place], "columns, literals, comparisons, AND, OR, NOT and IN")
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth > DEEPEST:
            raise DataError(f"expression: expected at most {DEEPEST} levels of parentheses: write it flatter")
        place = token.end()
        if token["word"] is not None:
            _check_word(expression, token["word"], known, called=_TOKEN_CALL.match(expression, place) is not None)
        elif token["quoted"] is not None and _TOKEN_CALL.match(expression, place):
            raise _refused(expression, token["quoted"], "an operator behind a column")


_TOKEN_CALL = re.compile(r"\s*\(")


def names_in(expression: str) -> frozenset[str]:
    """The names in an expression that may be columns: its words, in small letters, and whatever is quoted as a name."""
    tokens = list(_TOKEN.finditer(expression))
    words = {token["word"].lower() for token in tokens if token["word"] is not None}
    quoted = {token["quoted"].replace('""', '"') for token in tokens if token["quoted"] is not None}
    return frozenset((words - OPERATORS) | quoted)


def _check_word(expression: str, word: str, columns: set[str], *, called: bool) -> None:
    lower = word.lower()
    if called and lower not in OPERATORS and lower not in FUNCTIONS:
        raise _refused(expression, f"{word}(...)", f"one of the functions {', '.join(sorted(FUNCTIONS))}")
    if not called and lower not in OPERATORS and lower not in TYPES and lower not in columns:
        raise _refused(expression, word, f"one of the columns {', '.join(sorted(columns)[:40])}")


def _refused(expression: str, found: str, expected: str) -> DataError:
    shown = expression if len(expression) <= 200 else f"{expression[:200]} ..."
    return DataError(f"expression {shown!r} is not understood: expected {expected}, not {found!r}")
