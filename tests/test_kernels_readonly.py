"""Kernels: compiled for read-only arrays, cached where possible, and announced when no cache spares the wait."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dbml_kernels
import numpy as np
import pytest
from dbml_kernels.jit import kernel


def _run(source, **environment):
    """Run Python source in a fresh process and return what it printed."""
    env = {**os.environ, **environment}
    env.pop("NUMBA_CACHE_DIR", None)
    return subprocess.run(
        [sys.executable, "-c", source], env={**env, **environment}, capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.fixture
def package(tmp_path):
    """A copy of the compiling machinery with one small kernel, without any cached code."""
    folder = tmp_path / "site" / "dbml_kernels"
    folder.mkdir(parents=True)
    for name in ("__init__.py", "jit.py"):
        shutil.copy(Path(dbml_kernels.__file__).parent / name, folder)
    (folder / "double.py").write_text(
        "from dbml_kernels.jit import kernel\n@kernel\ndef double_inner(x):\n    return 2.0 * x\n"
    )
    (folder / "caller.py").write_text(
        "from dbml_kernels.jit import kernel\nfrom dbml_kernels.double import double_inner\n"
        "@kernel\ndef double_outer(x):\n    return double_inner(x)\n"
    )
    return folder


CALL = """
import sys
sys.path.insert(0, {site!r})
from dbml_kernels.jit import announcing_compilations
from dbml_kernels.caller import double_outer
names = []
with announcing_compilations(names.append):
    print(double_outer(3.0), "compiled" if names else "cached")
"""


def test_a_second_process_reads_the_cache_and_stays_silent(package):
    call = CALL.format(site=str(package.parent))
    assert _run(call) == ["6.0", "compiled"]
    assert _run(call) == ["6.0", "cached"]


def test_a_read_only_package_caches_in_the_users_folder(package, tmp_path):
    # a file in the way stops root as well, whom a read-only mode would not
    (package / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.mkdir()
    where = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    call = CALL.format(site=str(package.parent))
    assert _run(call, **where) == ["6.0", "compiled"]
    assert _run(call, **where) == ["6.0", "cached"]
    assert list(home.rglob("*.nbi"))


def test_without_any_writable_folder_kernels_still_run(package, tmp_path):
    (package / "__pycache__").write_text("")
    home = tmp_path / "no-home"
    home.write_text("")
    where = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    call = CALL.format(site=str(package.parent))
    assert _run(call, **where) == ["6.0", "compiled"]
    assert _run(call, **where) == ["6.0", "compiled"]


def test_a_change_in_a_called_kernel_reaches_its_cached_callers(package):
    call = CALL.format(site=str(package.parent))
    _run(call)
    inner = package / "double.py"
    # Of another length: Python takes a file of the same length, changed within the same second, for the same.
    inner.write_text(inner.read_text().replace("2.0", "5.00"))
    assert _run(call) == ["15.0", "compiled"]


def test_nan_keeps_its_meaning():
    @kernel
    def count_nan(x):
        count = 0
        for value in x:
            if np.isnan(value):
                count += 1
        return count

    assert count_nan(np.array([1.0, np.nan, np.inf, np.nan])) == 2
