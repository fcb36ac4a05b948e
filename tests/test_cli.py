"""The command line as a person and as a script meet it: output, errors on one line, exit codes."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import duckdb
import pytest

import dbml
from dbml.cli import INTERRUPTED, OK, USAGE_ERROR, USER_ERROR, cli, run


def stand_in(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DBML_DB", raising=False)


def write_houses(folder):
    """Write houses.csv: a number to predict, text, a NULL now and then, a row number."""
    with duckdb.connect() as con:
        con.execute(f"""
            COPY (SELECT i AS house, 40 + i % 97 AS area, CASE WHEN i % 7 <> 0 THEN 1900 + i % 101 END AS built,
                         ['north', 'south', 'west'][1 + i % 3] AS district, 'note ' || hash(i) AS remark,
                         3000.0 * area + 20000 * (i % 3) + 500 * (i % 11) AS price, price > 300000 AS dear
                  FROM range(1, 2001) t(i)) TO '{folder / "houses.csv"}'""")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to stand in, with houses.csv."""
    write_houses(tmp_path)
    stand_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """The folder after a training, to be copied."""
    made = tmp_path_factory.mktemp("trained")
    write_houses(made)
    with pytest.MonkeyPatch.context() as monkeypatch:
        stand_in(made, monkeypatch)
        assert run(["train", "houses.csv", "--target", "price", "-x", "dear"]) == OK
    return made


@pytest.fixture
def trained(once, tmp_path, monkeypatch):
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    stand_in(tmp_path, monkeypatch)
    return tmp_path


def said(capsys):
    out = capsys.readouterr()
    return out.out, out.err


def test_every_command_has_a_help_with_examples(capsys):
    for name, command in cli.commands.items():
        assert run([name, "--help"]) == OK
        out, _ = said(capsys)
        assert "Examples:" in out, name
        assert f"dbml {name}" in out, name
        assert command.get_short_help_str()


def test_wrong_usage_is_one_line_and_exit_code_2(folder, capsys):
    for arguments in (["train", "houses.csv"], ["nonsense"], ["train", "houses.csv", "--taget", "price"], ["models"]):
        assert run(arguments) == USAGE_ERROR
        out, err = said(capsys)
        assert out == ""
        assert err.startswith("dbml")
        assert len(err.splitlines()) == 1


def test_train_says_what_it_chose_and_what_it_left_out(folder, capsys):
    assert run(["train", "houses.csv", "--target", "price"]) == OK
    out, err = said(capsys)
    assert "linear_reg, because price is a number (DOUBLE)" in err
    assert "without house: another whole number in (almost) every row" in err
    assert "without remark: another text in (almost) every row" in err
    assert "saved price version 1 in houses.duckdb" in out
    assert "on rows it has not seen: " in out
    assert "r2_score" in out
    assert (folder / "houses.duckdb").exists()


def test_train_chooses_a_classifier_for_classes(folder, capsys):
    assert run(["train", "houses.csv", "-y", "dear", "--name", "Dear Houses", "-x", "price"]) == OK
    _, err = said(capsys)
    assert "logistic_reg, because dear is a class (BOOLEAN" in err
    assert run(["models", "--json"]) == OK
    (model,) = json.loads(said(capsys)[0])
    assert (model["name"], model["type"], model["target"]) == ("Dear Houses", "LogisticRegression", "dear")


def test_train_quotes_what_to_run_next(folder, capsys):
    command = ["train", "houses.csv", "-y", "price", "--name", "my fl'ag", "--db", "two words.duckdb"]
    assert run(command) == OK
    lines = [line.removeprefix("next:").strip() for line in said(capsys)[0].splitlines()[-2:]]
    assert [shlex.split(line)[2:] for line in lines] == [
        ["my fl'ag", "DATA", "--db", "two words.duckdb"],
        ["my fl'ag", "--db", "two words.duckdb"],
    ]


def test_train_prints_json_for_a_script(folder, capsys):
    assert run(["train", "houses.csv", "-y", "price", "--json", "--db", "m.duckdb"]) == OK
    out, err = said(capsys)
    model = json.loads(out)
    assert err == ""
    assert model["version"] == 1
    assert set(model["excluded"]) == {"house", "remark"}
    assert model["database"] == "m.duckdb"


def test_train_keeps_a_column_on_request(folder, capsys):
    assert run(["train", "houses.csv", "-y", "price", "--include", "house", "--json"]) == OK
    model = json.loads(said(capsys)[0])
    assert "house" in model["features"]
    assert set(model["excluded"]) == {"remark"}


def test_train_passes_options_on(folder, capsys):
    assert run(["train", "houses.csv", "-y", "price", "--model-type", "linear_reg", "-o", "l2_reg=10", "--json"]) == OK
    assert 10 in json.loads(said(capsys)[0])["params"].values()
    assert run(["train", "houses.csv", "-y", "price", "-o", "fit_intercpt=false"]) == USER_ERROR
    _, err = said(capsys)
    assert "fit_intercpt" in err.splitlines()[-1]
    assert "did you mean" in err.splitlines()[-1]
    assert run(["train", "houses.csv", "-y", "price", "-o", "l2_reg"]) == USAGE_ERROR


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "houses.csv", "-y", "prise"], "no column 'prise'; did you mean 'price'? (columns: house, area"),
        (["train", "houses.csv", "-y", "price", "-x", "aria"], "no column 'aria'; did you mean 'area'?"),
        (["train", "houses.csv", "-y", "price", "--model-type", "linear_rek"], "linear_rek"),
        (["train", "absent.csv", "-y", "price"], "no such file: absent.csv"),
        (["train", "somewhere", "-y", "price", "--db", "x.duckdb"], "somewhere"),
        (["train", "SELECT 1 AS a, 2 AS b", "-y", "b"], "--db"),
    ],
)
def test_errors_of_train_name_what_is_wrong(folder, capsys, arguments, words):
    assert run(arguments) in (USER_ERROR, USAGE_ERROR)
    _, err = said(capsys)
    assert words in err.splitlines()[-1]
    assert not list(folder.glob("*.duckdb")), "a database that is of no use is left behind"


def test_train_on_a_table_and_on_a_query(folder, capsys):
    with duckdb.connect("town.duckdb") as con:
        con.execute("CREATE TABLE \"my houses\" AS FROM 'houses.csv'")
    assert run(["train", "my houses", "-y", "price", "--db", "town.duckdb", "-x", "dear"]) == OK
    query = "SELECT area, price AS cost FROM \"my houses\" WHERE district = 'west'"
    assert run(["train", query, "-y", "cost", "--db", "town.duckdb"]) == OK
    calling = "SELECT area, predict('cost', h) AS cost FROM \"my houses\" h"
    assert run(["train", calling, "-y", "cost", "-i", "area", "--name", "again", "--db", "town.duckdb"]) == OK
    capsys.readouterr()
    assert run(["evaluate", "again", f"{calling} LIMIT 9", "--json", "--db", "town.duckdb"]) == OK
    assert json.loads(said(capsys)[0])["r2_score"] > 0.9
    assert run(["predict", "again", calling.replace("predict('cost'", "predict('gone'"), "--db", "town.duckdb"]) > 0
    assert "no model 'gone'" in said(capsys)[1]
    assert run(["models", "--json", "--db", "town.duckdb"]) == OK
    found = {model["name"]: model for model in json.loads(said(capsys)[0])}
    assert found["cost"]["features"] == ["area"]
    assert found["price"]["features"] == ["area", "built", "district"]


def test_predict_writes_parquet_and_csv(trained, capsys):
    for name in ("scored.parquet", "scored.csv"):
        assert run(["predict", "price", "houses.csv", "-o", name]) == OK
        with duckdb.connect() as con:
            ((n, error, mean),) = con.sql(
                f"SELECT count(*), avg(abs(predicted_price - price)), avg(price) FROM '{name}'"
            ).fetchall()
        assert n == 2000
        assert error < 0.02 * mean
    assert run(["predict", "price", "houses.csv", "-o", "scored.xlsx"]) == USAGE_ERROR


def test_predict_prints_csv_into_a_pipe(trained):
    command = [sys.executable, "-m", "dbml", "predict", "price", "houses.csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].split(",")[-1].startswith("predicted_price")
    assert len(lines) == 2001


def test_csv_holds_the_probability_of_each_class_in_a_column(folder, capsys):
    assert run(["train", "houses.csv", "-y", "dear", "-x", "price"]) == OK
    assert run(["predict", "dear", "houses.csv", "-o", "scored.csv"]) == OK
    with duckdb.connect() as con:
        scored = con.sql("FROM 'scored.csv'")
        assert scored.columns[-3:] == ["predicted_dear", "predicted_dear_prob_false", "predicted_dear_prob_true"]
        same = "abs(predicted_dear_prob_true + predicted_dear_prob_false - 1) < 1e-9"
        assert con.sql(f"SELECT bool_and({same}), count(*) FROM scored").fetchall() == [(True, 2000)]
    assert run(["show", "dear"]) == OK
    assert "deprecated" not in said(capsys)[0]


def test_predict_prints_json(trained, capsys):
    assert run(["predict", "price", "SELECT 100 AS area, NULL AS built, 'east' AS district", "--json"]) == OK
    (row,) = json.loads(said(capsys)[0])
    assert row["area"] == 100
    assert row["predicted_price"] > 0


def test_a_missing_column_is_named(trained, capsys):
    assert run(["predict", "price", "SELECT 100 AS area, 'east' AS district", "--json"]) == USER_ERROR
    _, err = said(capsys)
    assert (
        "model 'price' needs a column 'built', which the rows do not have (columns of the rows: area, district)" in err
    )
    assert len(err.splitlines()) == 1


def test_an_unknown_model_is_named_with_the_nearest(trained, capsys):
    for arguments in (["predict", "prize", "houses.csv"], ["show", "prize"], ["export", "prize"]):
        assert run(arguments) == USER_ERROR
        _, err = said(capsys)
        assert "prize" in err
        assert "did you mean 'price'?" in err


def test_models_lists_versions(trained, capsys):
    assert run(["train", "houses.csv", "--target", "price"]) == OK
    capsys.readouterr()
    assert run(["models"]) == OK
    out, _ = said(capsys)
    assert "LinearRegression" in out
    assert run(["models", "--json"]) == OK
    (model,) = json.loads(said(capsys)[0])
    assert (model["version"], model["versions"]) == (2, 2)


def test_show_tells_features_and_weights(trained, capsys):
    assert run(["show", "price"]) == OK
    out, _ = said(capsys)
    assert "district" in out
    assert "district = north" in out
    assert run(["show", "price@1", "--json"]) == OK
    shown = json.loads(said(capsys)[0])
    assert {"area", "built", "district"} <= {feature["input"] for feature in shown["features"]}
    assert shown["weights"] and shown["plan"]["passes"]
    assert run(["show", "price@7"]) == USER_ERROR


def test_export_prints_sql_for_another_database(trained, capsys):
    for dialect in ("postgres", "duckdb"):
        assert run(["export", "price", "--dialect", dialect, "--table", "new town.houses"]) == OK
        out, _ = said(capsys)
        assert "area" in out
        assert '"new town"."houses"' in out
    assert "ml." not in out
    assert run(["export", "price", "--dialect", "klingon"]) in (USER_ERROR, USAGE_ERROR)
    assert "klingon" in said(capsys)[1]


def test_a_file_of_rows_is_no_database(trained, capsys):
    for command in (["models"], ["show", "price"], ["predict", "price", "houses.csv"], ["export", "price"]):
        assert run([*command, "--db", "houses.csv"]) == USAGE_ERROR
        assert "'houses.csv' is no database, but a file of rows" in said(capsys)[1]
    (trained / "houses.duckdb").rename("houses.csv")
    assert run(["models", "--db", "houses.csv"]) == OK  # a database may have any name


def test_the_database_may_come_from_the_environment(trained, capsys, monkeypatch):
    other = trained / "elsewhere"
    other.mkdir()
    monkeypatch.chdir(other)
    assert run(["models"]) == USAGE_ERROR
    assert "--db" in said(capsys)[1]
    monkeypatch.setenv("DBML_DB", str(trained / "houses.duckdb"))
    assert run(["models"]) == OK
    assert "price" in said(capsys)[0]


def test_doctor_finds_this_machine_well(trained, capsys):
    assert run(["doctor", "--db", "houses.duckdb", "--json"]) == OK
    checks = {check["name"]: check for check in json.loads(said(capsys)[0])}
    assert checks["training"]["state"] == "ok"
    assert checks["model price@1"]["state"] == "ok"
    assert {"duckdb", "numba", "threads", "blas", "kernel cache", "temporary files", "memory"} <= set(checks)


def test_doctor_finds_a_damaged_model_and_says_what_to_do(trained, capsys):
    damage = "UPDATE ml.arrays SET data = '\\x00'::BLOB WHERE name = 'coef_' AND version = "
    with dbml.connect("houses.duckdb") as con:
        price = con.load_model("price")
        for _ in range(2):
            con.save_model("price", price)
        con.save_model("o'clock", price)
        con.execute(f"{damage} 1 OR version = 3")
    for number in range(3):
        assert run(["doctor", "--db", "houses.duckdb", "--json"]) == USER_ERROR
        checks = {check["name"]: check for check in json.loads(said(capsys)[0]) if check["name"].startswith("model ")}
        wrong = sorted(name for name, check in checks.items() if check["state"] == "wrong")
        assert wrong == ["model o'clock@1", "model price@1", "model price@3"][: 3 - number], number
        command = shlex.split(checks[wrong[-1]]["remedy"].partition(" and train")[0].partition(", or")[0])
        assert command[:3] == ["dbml", "sql", "houses.duckdb"]
        assert run(command[1:]) == OK
        said(capsys)
    assert run(["doctor", "--db", "houses.duckdb"]) == OK
    assert "model price@2" in said(capsys)[0]


def test_errors_of_duckdb_are_one_line(folder, capsys):
    assert run(["sql", "-c", "SELECT nothing FROM nowhere"]) == USER_ERROR
    _, err = said(capsys)
    assert "nowhere" in err
    assert len(err.splitlines()) == 1


def test_an_interrupt_has_its_exit_code(folder, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.commands["doctor"], "callback", interrupted)
    assert run(["doctor"]) == INTERRUPTED
    assert said(capsys)[1].strip() == "dbml: interrupted"


def test_a_closed_pipe_is_no_error(trained):
    shell = f"{sys.executable} -m dbml predict price houses.csv | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.startswith("house,")
    assert "Traceback" not in done.stderr
