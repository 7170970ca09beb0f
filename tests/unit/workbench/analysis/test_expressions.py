"""Expressions of a query open nothing and ask nothing."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.factories import predictions
from workbench.analysis.expressions import DEEPEST, FUNCTIONS, check_expression, names_in
from workbench.analysis.index import select
from workbench.core.records import Query
from workbench.errors import DataError


@pytest.fixture
def listening() -> Iterator[tuple[int, list[str]]]:
    asked: list[str] = []

    class Listen(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Listen)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()


@pytest.mark.parametrize(
    "where",
    [
        "(SELECT count(*) FROM read_csv('{secret}')) > 0",
        "index IN (SELECT index FROM read_csv('{secret}'))",
        "(SELECT count(*) FROM read_parquet('http://127.0.0.1:{port}/leak.parquet')) > 0",
        "index IN (SELECT index FROM \"read_csv\" ('{secret}'))",
        "index IN (SELECT index FROM read_csv/**/('{secret}'))",
        "read_ndjson('{secret}') IS NULL",
    ],
)
def test_files_and_the_network_are_out_of_reach(where: str, tmp_path: Path, listening: tuple[int, list[str]]) -> None:
    (tmp_path / "secret.csv").write_text("user,pass\nbob,x\n")
    port, asked = listening
    with pytest.raises(DataError, match="is not understood") as told:
        select(predictions(60), Query(where=where.format(secret=tmp_path / "secret.csv", port=port)))
    assert "bob" not in str(told.value)
    assert "'user'" not in str(told.value)
    assert asked == []


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("lpad(true_class, 1000000000, 'x') = ''", r"'lpad\(...\)'"),
        ("repeat(true_class, 1000000000) = ''", r"'repeat\(...\)'"),
        ("confidence > 0.5; DROP TABLE x", "';'"),
        ("confidnce > 0.5", "not 'confidnce'"),
        ("[1, 2] = index", "not '\\['"),
        ("(" * (DEEPEST + 1) + "1" + ")" * (DEEPEST + 1) + " > 0", "levels of parentheses"),
    ],
)
def test_what_is_not_allowed_is_named(where: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        select(predictions(), Query(where=where))


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("index IN (3, 5)", {3, 5}),
        ("index BETWEEN 3 AND 5 AND index <> 4", {3, 5}),
        ("(index = 3 OR index = 5) AND NOT index IS NULL", {3, 5}),
        ("CASE WHEN index = 3 THEN TRUE ELSE FALSE END", {3}),
        ("CAST(index AS DOUBLE) / 2 = 1.5", {3}),
        ("\"two words\" LIKE 'it''s%'", {3}),
        ("starts_with(\"two words\", 'it')", {3}),
        ("length(\"two words\") >= 4 AND upper(\"two words\") = 'IT''S A (TEST)'", {3}),
        ("abs(index - 4) = 1", {3, 5}),
        ("index = 3.0e0", {3}),
        ("größe = 2", {5}),
    ],
)
def test_what_people_write_is_run(where: str, rows: set[int]) -> None:
    own = pl.DataFrame({"index": [3, 5], "two words": ["it's a (test)", "no"], "größe": [1, 2]})
    assert set(select(predictions(60).join(own), Query(where=where))["index"]) == rows


def test_every_function_of_the_list_is_one_of_polars() -> None:
    frame = pl.LazyFrame({"x": [1.5]})
    calls = {name: f"{name}(x)" for name in FUNCTIONS}
    calls |= {"cast": "cast(x AS int)", "log": "log(x, 2)", "if": "if(x > 1, 1, 0)", "substr": "substr('abc', 1)"}
    calls["array_contains"] = "array_contains(x, 1)"
    for two in ["greatest", "least", "coalesce", "ifnull", "nullif", "mod", "pow", "power"]:
        calls[two] = f"{two}(x, x)"
    for text in ["length", "lower", "upper", "trim"]:
        calls[text] = f"{text}('abc')"
    for two in ["starts_with", "ends_with", "strpos"]:
        calls[two] = f"{two}('abc', 'a')"
    for call in calls.values():
        check_expression(call, ["x"])
        pl.sql_expr(call)
    assert len(frame.select(pl.sql_expr(calls["pow"])).collect()) == 1


def test_names_in_an_expression_are_words_and_quoted_names_but_no_literals() -> None:
    where = 'skin_colour = \'a brightness\' AND "my ""x""" > 3 AND Sharpness < 1e3'
    assert names_in(where) == {"skin_colour", 'my "x"', "sharpness"}


def test_expressions_of_a_selection_of_many_rows_are_allowed() -> None:
    check_expression(f"index IN ({', '.join(map(str, range(100_000)))})", ["index"])
