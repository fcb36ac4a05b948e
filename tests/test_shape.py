"""The shape of the code: one subject a file, one thing a function; no notes to self."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [path for folder in ("dbml", "sql", "kernels") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_are_small(path):
    text = path.read_text()
    assert text.count("\n") <= 400, "a file has one subject: split it"
    assert path.stem not in {"utils", "common", "helpers", "misc"}
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno <= 80, f"{node.name} does more than one thing"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: name the class"
