"""The README's blocks run in order, and print what it shows."""

import re
from pathlib import Path

import duckdb
import pytest
from doc_runner import Reader, assert_same, blocks

from dbml.demo.tables import make_flights
from dbml.estimators.discovery import estimators

ROOT = Path(__file__).parent.parent


@pytest.fixture
def reader(tmp_path):
    """A folder with flights.duckdb as `dbml demo --rows 100000 --keep flights.duckdb` makes it, and houses.csv."""
    with duckdb.connect(str(tmp_path / "flights.duckdb")) as con:
        make_flights(con, 100_000)
        con.execute(
            """
            COPY (SELECT 40 + i % 97 AS area, ['north', 'south'][1 + i % 2] AS district, 3000.0 * area AS price
                  FROM range(500) t(i)) TO '{}'""".format(tmp_path / "houses.csv")
        )
    return Reader(tmp_path, "flights.duckdb")


def test_the_readme_does_what_it_says(reader):
    assert reader.follow(ROOT / "README.md") >= 6


def test_the_readme_shows_a_sentence_a_session_and_two_commands_first():
    text = (ROOT / "README.md").read_text()
    assert text.index("```sql") < text.index("$ make demo") < text.index("$ make test")
    assert text.startswith("# dbml\n\n")


def test_the_table_of_models_names_every_estimator():
    rows = (ROOT / "README.md").read_text().partition("## Models")[2].partition("##")[0]
    assert set(estimators()) == set(re.findall(r"`([A-Z]\w+)`", rows))
    for name, estimator in estimators().items():
        for model_type in estimator.model_types:
            assert f"`{name}` (`{model_type}`)" in rows


def test_every_link_leads_somewhere():
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in path.read_text().split("](")[1:]:
            link = target.partition(")")[0].partition("#")[0]
            assert "://" in link or not link or (path.parent / link).exists(), f"{path.name} links to {link}"


def test_the_runner_notices_a_wrong_number_and_a_missing_line():
    assert_same("risk 0.524\n", "risk 0.5249  \n".replace("9", ""), "here")
    with pytest.raises(AssertionError, match=r"shows 0\.524 but prints 0\.600"):
        assert_same("risk 0.524", "risk 0.600", "here")
    with pytest.raises(AssertionError, match="but prints"):
        assert_same("one\ntwo", "one", "here")


def test_the_runner_reads_blocks_with_the_output_after_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sql\nSELECT 1\n```\n```text\n1\n```\n<!-- not run: never -->\n```sql\nboom\n```\n")
    (block,) = blocks(page)
    assert (block.language, block.text, block.line, block.shown) == ("sql", "SELECT 1\n", 1, "1\n")
