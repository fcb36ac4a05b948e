"""What is trained on a table that nobody described, and why."""

import duckdb
import pytest
from dbml_sql.statements import parse_statement

from dbml.choice import choose, create_model
from dbml.errors import InvalidData, UnknownName


@pytest.fixture
def con():
    with duckdb.connect() as opened:
        opened.execute("""
            CREATE TABLE t AS
            SELECT i AS row_number, i + 7 AS "odd "" name", uuid() AS id, 'text ' || hash(i) AS note, 1 AS one,
                   NULL::INTEGER AS nothing, 'x'::BLOB AS bytes, TIMESTAMP '2025-01-01' + to_hours(i) AS at,
                   i % 5 AS kind,
                   ['no', 'yes'][1 + i % 2] AS answer, (i % 2)::BOOLEAN AS same, i % 2 AS digit, random() AS noise,
                   [i, i + 1]::DOUBLE[2] AS pair
            FROM range(2000) numbers(i)""")
        yield opened


def test_each_column_left_out_has_its_reason(con):
    choice = choose(con, "t", "answer", exclude=("noise",))
    assert choice.excluded["noise"] == "left out as asked"
    assert "numbers the rows" in choice.excluded["row_number"]
    assert "UUID" in choice.excluded["id"]
    assert "BLOB" in choice.excluded["bytes"]
    assert "another text" in choice.excluded["note"]
    assert choice.excluded["one"] == "one value in every row"
    assert choice.excluded["nothing"] == "no values, only NULL"
    assert "settles answer by itself" in choice.excluded["same"]
    assert choice.features == ("at", "kind", "pair")
    assert choice.n_rows == 2000


@pytest.mark.parametrize(
    ("target", "model_type"),
    [("answer", "logistic_reg"), ("same", "logistic_reg"), ("digit", "logistic_reg"), ("kind", "linear_reg")],
)
def test_the_model_follows_from_the_target(con, target, model_type):
    choice = choose(con, "t", target)
    assert choice.model_type == model_type
    assert target in choice.reason
    assert target not in choice.features


def test_a_query_and_a_file_are_looked_at_in_the_same_way(con, tmp_path):
    con.execute(f"COPY (SELECT kind, noise, answer FROM t) TO '{tmp_path}/it''s.csv'")
    of_file = choose(con, f"read_csv('{tmp_path}/it''s.csv')", "answer")
    assert (
        of_file.features == choose(con, "(SELECT kind, noise, answer FROM t)", "answer").features == ("kind", "noise")
    )


def test_what_cannot_be_learned_is_said(con):
    with pytest.raises(UnknownName, match=r"no column 'anser'; did you mean 'answer'\? \(columns: row_number, "):
        choose(con, "t", "anser")
    with pytest.raises(InvalidData, match="no rows"):
        choose(con, "(SELECT * FROM t WHERE false)", "answer")
    with pytest.raises(InvalidData, match="the target 'nothing' is NULL in every row"):
        choose(con, "t", "nothing")
    with pytest.raises(InvalidData, match="no column besides the target 'answer'"):
        choose(con, "(SELECT answer FROM t)", "answer")
    with pytest.raises(InvalidData, match=r"no column is left to learn 'answer' from \(one: one value in every row\)"):
        choose(con, "(SELECT one, answer FROM t)", "answer")


def test_the_statement_reads_back_as_it_was_meant():
    statement = create_model(
        'odd "m"', {"model_type": "linear_reg", "l2_reg": 0.5, "tags": ["it's", 1]}, ("a b",), "y", "t"
    )
    read = parse_statement(statement)
    assert read.name == 'odd "m"'
    assert read.or_replace
    assert read.options == {
        "model_type": "linear_reg",
        "input_label_cols": ["y"],
        "l2_reg": 0.5,
        "tags": ["it's", 1],
    }
    assert read.query.split() == ["SELECT", '"a', 'b",', '"y"', "FROM", "t"]
