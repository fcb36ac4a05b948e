"""Look-ups of constant texts against a Python dict, in a real DuckDB."""

import duckdb
import pytest
from dbml_sql.text_table import hashed, listed, text_hash
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@pytest.fixture(scope="module")
def con():
    with duckdb.connect() as connection:
        yield connection


def found(con, expression, texts):
    con.execute("CREATE OR REPLACE TABLE t (id INTEGER, k VARCHAR)")
    con.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(texts)))
    return [row[0] for row in con.execute(f"SELECT {expression} FROM t ORDER BY id").fetchall()]


@settings(max_examples=40)
@given(keys=st.lists(TEXTS, min_size=1, max_size=40, unique=True), others=st.lists(TEXTS | st.none(), min_size=1))
def test_texts_find_their_values_and_others_nothing(con, keys, others):
    values = [0.1 * i - 1 for i in range(len(keys))]
    texts = [*keys, *others]
    expected = [dict(zip(keys, values, strict=True)).get(text) for text in texts]
    assert found(con, hashed("k", keys, list(map(repr, values)), "DOUBLE"), texts) == expected
    assert found(con, listed("k", keys, [f"{value!r}::DOUBLE" for value in values]), texts) == expected


@pytest.mark.parametrize("n", [1, 101, 1000, 5000])
def test_tables_of_any_size(con, n):
    keys = [f"it's {i}" * (1 + i % 3) for i in range(n)]
    texts = [*keys[:: max(n // 300, 1)], *(f"unseen {i}" for i in range(300)), "", None]
    places = {key: i for i, key in enumerate(keys)}
    written = hashed("k", keys, [str(i) for i in range(n)], "INTEGER")
    assert found(con, written, texts) == [places.get(text) for text in texts]


@pytest.mark.parametrize("separators", ["|", "|,;\t\n\x1f\x1e"])
def test_keys_that_hold_the_separators(con, separators):
    keys = ["a|b", "|", "", "a", *(f"x{sign}y" for sign in separators)]
    expected = [*range(len(keys)), None]
    assert found(con, hashed("k", keys, [str(i) for i in range(len(keys))], "INTEGER"), [*keys, "b"]) == expected


def test_another_hash_function_than_the_known_one_is_not_relied_on(con):
    keys = [f"level {i}" for i in range(200)]
    written = hashed("k", keys, [str(i) for i in range(200)], "INTEGER")
    other = written.replace("hash('", "hash('!")
    assert other != written
    plan = "EXPLAIN SELECT {} FROM t"
    texts = [*keys, "unseen", None]
    assert found(con, other, texts) == [*range(200), None, None]
    assert "list_position" in con.execute(plan.format(other)).fetchall()[0][1]
    assert "list_position" not in con.execute(plan.format(written)).fetchall()[0][1]


@settings(max_examples=300)
@given(TEXTS)
def test_the_hash_is_that_of_this_duckdb(text):
    assert duckdb.execute("SELECT hash(?::VARCHAR)", [text]).fetchall()[0][0] == text_hash(text)


def test_texts_of_one_hash(con):
    keys = ["it's 772it's 772", "it's 775it's 775", "a"]
    assert text_hash(keys[0]) == text_hash(keys[1])
    expected = [0, 1, 2, None, None]
    assert found(con, hashed("k", keys, ["0", "1", "2"], "INTEGER"), [*keys, "unseen", None]) == expected
