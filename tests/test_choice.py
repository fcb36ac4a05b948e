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


def test_columns_that_add_up_to_the_target_are_left_out(con):
    con.execute("""
        CREATE TABLE rentals AS
        SELECT hash(i) % 100 AS casual, hash(i + 9) % 700 AS "regis""tered", (hash(i + 5) % 1000) / 10 AS warm,
               casual + "regis""tered" AS cnt, cnt - casual / 2 AS half,
               CASE WHEN i % 50 > 0 THEN (hash(i + 3) % 9000)::DECIMAL(9, 2) / 100 END AS cost, i % 24 AS hour,
               (hash(i + 4) % 9000)::DECIMAL(9, 2) / 100 AS revenue, revenue - cost AS profit
        FROM range(3000) r(i)""")
    choice = choose(con, "(SELECT * EXCLUDE (revenue, cost, profit, half) FROM rentals)", "cnt")
    reason = 'casual + regis"tered is cnt: together they say the same in other words'
    assert choice.excluded == {"casual": reason, 'regis"tered': reason}
    assert choice.features == ("warm", "hour")
    choice = choose(con, "rentals", "profit")
    assert set(choice.excluded) == {"cost", "revenue"}
    assert "revenue is profit" in choice.excluded["cost"] and "- cost" in choice.excluded["cost"]
    assert choose(con, "rentals", "cnt", include=("casual",)).excluded == {}


def test_columns_of_which_the_target_is_another_weighted_sum_stay(con):
    con.execute(
        "CREATE TABLE line AS SELECT hash(i) % 91 AS a, hash(-i) % 83 AS b, 2 * a + b AS y FROM range(2000) r(i)"
    )
    assert choose(con, "line", "y").features == ("a", "b")
    con.execute("UPDATE line SET y = a + b")
    con.execute("INSERT INTO line VALUES (1, 2, 4)")  # one row is enough
    assert choose(con, "line", "y").features == ("a", "b")


def test_leaks_of_a_target_with_several_classes(con):
    con.execute("""
        CREATE TABLE beans AS
        SELECT ['bombay', 'cali', 'sira', 'seker'][1 + i % 4] AS kind, i % 4 + 10 AS code, i % 4 = 2 AS is_sira,
               CASE WHEN i % 4 < 2 THEN 'large' END AS size, (hash(i) % 1000) / 100 AS area, hash(i) % 3 AS farm,
               CASE WHEN i % 40 = 0 THEN NULL ELSE i % 4 END AS some
        FROM range(2000) r(i)""")
    choice = choose(con, "beans", "kind")
    assert choice.excluded == {
        "code": "settles kind by itself: it says the same in other words",
        "is_sira": "follows from kind: it says a part of it in other words",
        "size": "follows from kind: it says a part of it in other words",
        "some": "settles kind by itself: it says the same in other words",
    }
    assert choice.features == ("area", "farm")


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
