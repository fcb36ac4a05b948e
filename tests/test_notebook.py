"""The notebook in examples/, executed by a real kernel: %%sql cells of JupySQL train and score."""

import re
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="notebooks are run by the test extra")
nbformat = pytest.importorskip("nbformat", reason="notebooks are run by the test extra")
pytest.importorskip("sql", reason="JupySQL is in the test extra")

NOTEBOOK = Path(__file__).parent.parent / "examples/flights.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook after a kernel ran all of its cells, in an empty folder; no cell may fail."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PLOOMBER_STATS_ENABLED", "false")
    patch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute()
    patch.undo()
    return notebook


def text_of(cell):
    """What a cell shows, as plain text."""
    texts = [
        output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])
    ]
    return "\n".join(texts)


def cell_with(notebook, words):
    return next(cell for cell in notebook.cells if words in cell.source)


def test_a_cell_trains_once(executed):
    """JupySQL with autopandas runs a statement twice: the registry must hold one version all the same."""
    shown = text_of(cell_with(executed, "SELECT name, version, versions"))
    assert re.search(r"late\W+1\W+1\W+LogisticRegression", shown), shown


def test_cells_score(executed):
    shown = text_of(cell_with(executed, "predict_proba('late', f)"))
    assert "Estrella" in shown
    assert "Aurora" in shown


def test_cells_evaluate(executed):
    assert "roc_auc" in text_of(cell_with(executed, "ML.EVALUATE"))


def test_a_temporary_table_of_a_cell_is_seen(executed):
    assert "roc_auc" in text_of(cell_with(executed, "MODEL late, TABLE december"))


def test_the_notebook_is_kept_without_results():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
