"""`dbml sql`: -c, a script on standard input, and a person at a terminal."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys

import duckdb
import pytest

import dbml
from dbml.cli import OK, USER_ERROR, run
from dbml.cli.prompt import Completer
from dbml.cli.script import is_complete, statements

SCRIPT = """
CREATE TABLE line AS SELECT i::DOUBLE AS x, 2.0 * i + 1 AS y, 'a;b' AS semi FROM range(50) t(i); -- a table;
CREATE MODEL line OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS SELECT x, y FROM line;
SELECT round(predict('line', 100.0), 3) AS y
"""


class Terminal:
    """A shell with a person in front of it."""

    def __init__(self, folder):
        self.leader, follower = pty.openpty()
        home = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "TERM": "dumb", "COLUMNS": "100"}
        command = [sys.executable, "-m", "dbml", "sql", str(folder / "shell.duckdb")]
        self.shell = subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=follower, env={**os.environ, **home}
        )
        os.close(follower)

    def read(self, until):
        """Return what the screen shows up to some words."""
        seen = ""
        while until not in seen:
            assert select.select([self.leader], [], [], 60)[0], f"the shell does not answer; so far: {seen}"
            seen += os.read(self.leader, 65536).decode()
        return seen

    def type(self, line):
        """Type a line, without waiting for an answer."""
        os.write(self.leader, f"{line}\n".encode())

    def interrupt(self):
        """Press Ctrl-C until the shell answers: a signal right before it waits for a key is seen with the next one."""
        for _ in range(60):
            self.shell.send_signal(signal.SIGINT)
            if select.select([self.leader], [], [], 1)[0]:
                return
        raise AssertionError("the shell does not answer an interrupt")

    def ask(self, line):
        """Type a line and return what the screen shows up to the next prompt."""
        self.type(line)
        return self.read("dbml > ")


@pytest.fixture
def terminal(tmp_path):
    opened = Terminal(tmp_path)
    opened.read("dbml > ")
    yield opened
    opened.shell.kill()
    opened.shell.wait()
    os.close(opened.leader)


def test_statements_end_at_semicolons_outside_quotes_and_comments():
    found = statements("SELECT ';'; -- no; end\n ; SELECT $$;$$ /* ; */ ; FROM x")
    assert [" ".join(piece.split()).rstrip("; ") for piece in found][-1] == "FROM x"
    assert len(found) == 3
    assert statements("-- nothing\n;") == []


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("SELECT 1;", True),
        ("SELECT 1", False),
        ("SELECT ';", False),
        ('SELECT ";', False),
        ("SELECT 1; -- done", True),
        ("SELECT 1 /* ;", False),
        ("SELECT $x$ ;", False),
        ("", True),
    ],
)
def test_a_statement_is_complete_at_its_semicolon(text, complete):
    assert is_complete(text) is complete


def test_command_option_trains_and_scores(capsys):
    assert run(["sql", "-c", SCRIPT]) == OK
    assert "201.0" in capsys.readouterr().out


def test_json_for_scripts(capsys):
    assert run(["sql", "--json", "-c", "SELECT 1 AS a, NULL AS b, DATE '2025-01-02' AS c"]) == OK
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "b": None, "c": "2025-01-02"}]


def test_the_first_error_ends_a_script(capsys):
    assert run(["sql", "-c", "SELECT 1 AS before; SELECT nothing; SELECT 2 AS after"]) == USER_ERROR
    out, err = capsys.readouterr()
    assert "before" in out
    assert "after" not in out
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("script", "place"),
    [
        (
            "SELECT 1;\n-- a comment\n\nSELECT 2;  SELECT 3\n + 4;\n\n/* that\none */ SELEC 5;\nSELECT 6;\n",
            "statement 4, line 8",
        ),
        ("SELECT 1;\nCREATE TABLE t AS\nSELECT nothing", "statement 2, line 2"),
        (".timer\nSELECT 1; FROM ML.PREDICT(MODEL none, TABLE t);", "statement 2, line 2"),
    ],
)
def test_an_error_of_a_script_says_where(monkeypatch, capsys, tmp_path, script, place):
    monkeypatch.setattr("sys.stdin", io.StringIO(script))
    assert run(["sql"]) == USER_ERROR
    assert capsys.readouterr().err.startswith(f"dbml: {place}: ")
    if not script.startswith("."):
        assert run(["sql", "-c", script]) == USER_ERROR
        assert capsys.readouterr().err.startswith(f"dbml: {place}: ")
        (tmp_path / "s.sql").write_text(script)
        monkeypatch.setattr("sys.stdin", io.StringIO(f".read {tmp_path / 's.sql'}\n"))
        assert run(["sql"]) == USER_ERROR
        assert capsys.readouterr().err.startswith(f"dbml: {tmp_path / 's.sql'}, {place}: ")


def test_an_error_of_one_statement_names_no_place(capsys):
    assert run(["sql", "-c", "SELEC 1"]) == USER_ERROR
    assert capsys.readouterr().err.startswith("dbml: Parser Error")


def test_read_only_keeps_the_database_as_it_is(tmp_path, capsys):
    path = str(tmp_path / "kept.duckdb")
    duckdb.connect(path).close()
    assert run(["sql", path, "--read-only", "-c", "CREATE TABLE t (a INTEGER)"]) == USER_ERROR
    assert "read-only" in capsys.readouterr().err


def test_standard_input_is_read_when_piped(tmp_path):
    command = [sys.executable, "-m", "dbml", "sql", str(tmp_path / "piped.duckdb"), "--csv"]
    lines = f"{SCRIPT};\n.timer\n.quit\nSELECT 'not run';\n"
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-3:] == ["y", "201.0", "timer on"]
    assert "Traceback" not in done.stderr
    assert "nanobind" not in done.stderr


def test_a_person_trains_and_scores_at_the_prompt(terminal):
    terminal.type("SELECT 40 +")
    terminal.read("   ... ")
    assert "42" in terminal.ask("2 AS answer;")
    terminal.ask("CREATE TABLE line AS SELECT i AS x, 3 * i AS y FROM range(9) t(i);")
    terminal.ask("CREATE MODEL triple OPTIONS (model_type='linear_reg', input_label_cols=['y']) AS FROM line;")
    assert "30" in terminal.ask("SELECT round(predict('triple', 10))::INTEGER AS y;")
    assert "triple" in terminal.ask(".models")
    assert "line" in terminal.ask(".tables")


def test_an_error_does_not_end_the_shell(terminal):
    assert "error: " in terminal.ask("FROM nowhere;")
    assert "unknown command .nonsense" in terminal.ask(".nonsense")
    assert "42" in terminal.ask("SELECT 42 AS answer;")


def test_an_interrupt_forgets_the_line_and_goes_on(terminal):
    terminal.type("SELECT 'half")
    terminal.read("   ... ")
    terminal.interrupt()
    terminal.type("SELECT 42 AS answer;")
    terminal.read("│     42 │")


def test_quit_leaves_and_keeps_the_history(terminal, tmp_path):
    terminal.ask("SELECT 'remembered' AS word;")
    terminal.type(".quit")
    assert terminal.shell.wait(timeout=60) == 0
    assert "remembered" in (tmp_path / "state/dbml/history").read_text()


def test_completion_knows_tables_columns_models_and_keywords():
    con = dbml.connect(":memory:")
    try:
        con.execute("CREATE TABLE flights AS SELECT i AS distance, 2 * i AS late FROM range(9) t(i)")
        con.execute(
            "CREATE MODEL lateness OPTIONS (model_type='linear_reg', input_label_cols=['late']) AS FROM flights"
        )
        completer = Completer(con)
        assert completer.matches("fli") == ["flights"]
        assert completer.matches("dist")[0] == "distance"
        assert set(completer.matches("late")) == {"late", "lateness"}
        assert "SELECT" in completer.matches("SEL")
        assert "select" in completer.matches("sel")
        assert completer("fli", 0) == "flights"
        assert completer("fli", 1) is None
    finally:
        con.close()
