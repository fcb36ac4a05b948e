"""Statements about models: what they say, and the words and the place of what is wrong."""

import pytest
from dbml_sql.errors import SqlError
from dbml_sql.statements import ModelReference, parse_reference, parse_statement
from dbml_sql.tokens import split_statements
from sql_pairs import pairs


@pytest.mark.parametrize(("statement", "expected"), pairs("statements"))
def test_pairs(statement, expected):
    if expected.startswith("error: "):
        with pytest.raises(SqlError) as raised:
            parse_statement(statement)
        assert expected.removeprefix("error: ") in raised.value.reason
    else:
        assert repr(parse_statement(statement)) == expected


def test_the_query_is_kept_byte_for_byte():
    query = "SELECT  'a''b' -- c\n , \"é\" /* ; */\tFROM\r\n t WHERE x = $$;$$"
    script = f"CREATE MODEL m OPTIONS(a=1) AS\n\n{query}\n-- done\n;\nSELECT 1"
    statement, rest = split_statements(script)
    assert parse_statement(statement).query == query
    assert rest == "\nSELECT 1"


def test_an_error_shows_its_place():
    with pytest.raises(SqlError) as raised:
        parse_statement("CREATE MODEL m\n  OPTIONS (l2_reg = 0.1,\n\t l1_reg == 2)\nAS SELECT 1")
    assert (raised.value.line, raised.value.column) == (3, 11)
    assert str(raised.value).split("\n") == [
        "expected a literal: a number, a string, TRUE, FALSE, NULL, […], {…} or STRUCT(…); got =",
        "line 3, column 11:",
        "  \t l1_reg == 2)",
        "  \t         ^",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("late", ModelReference("late")),
        ("late@3", ModelReference("late", version=3)),
        ("my model@champion", ModelReference("my model", alias="champion")),
    ],
)
def test_references(text, expected):
    assert parse_reference(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["", "@3", "late@"])
def test_bad_references(text):
    with pytest.raises(SqlError, match="expected the name of a model"):
        parse_reference(text)


def test_scripts():
    script = "/* a; */ SELECT ';' ;; -- b;\nSELECT $x$;$x$, \"a;b\", E'\\';';\n -- end"
    assert split_statements(script) == ["/* a; */ SELECT ';' ;;", " -- b;\nSELECT $x$;$x$, \"a;b\", E'\\';';\n -- end"]
    assert split_statements("") == []
    assert split_statements(" ; ") == [" ; "]
