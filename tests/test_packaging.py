"""One wheel ships all three packages, the catalogue and the type marks."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Names in a wheel that is built here, without network."""
    pytest.importorskip("hatchling", reason="the build backend is in the test extra")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_every_source_file_is_in_the_wheel(shipped):
    for folder, prefix in (("dbml", ""), ("sql/dbml_sql", "sql/"), ("kernels/dbml_kernels", "kernels/")):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".sql", ".typed"):
                assert path.relative_to(ROOT).as_posix().removeprefix(prefix) in shipped


def test_the_wheel_holds_the_packages_and_nothing_else(shipped):
    tops = {name.partition("/")[0] for name in shipped}
    assert tops == {"dbml", "dbml_sql", "dbml_kernels"} | {t for t in tops if t.endswith(".dist-info")}
    assert not any("__pycache__" in name or name.endswith((".nbi", ".nbc")) for name in shipped)


@pytest.mark.parametrize("package", ["dbml", "dbml_sql", "dbml_kernels"])
def test_types_are_marked(shipped, package):
    assert f"{package}/py.typed" in shipped


def test_a_command_is_installed(shipped):
    (entry,) = (name for name in shipped if name.endswith("entry_points.txt"))
    assert entry.startswith("dbml-")


def test_every_make_target_has_an_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {
        line.split(".ready-")[1].split()[0]
        for line in (ROOT / "Makefile").read_text().splitlines()
        if ": $(VENV)/.ready-" in line
    }
    assert wanted | {"plot"} == set(extras)  # plot: for people, pictures of trees
