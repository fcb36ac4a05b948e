"""An import goes down, never up: the order of `docs/architecture.md`, read from the source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the ground up. A module belongs to the longest name here that it starts with.
LAYERS = (
    ("dbml_kernels",),
    ("dbml_sql",),
    ("dbml.errors",),
    ("dbml.params",),
    ("dbml.passes",),
    ("dbml.estimators",),
    ("dbml.data",),
    ("dbml.engine",),
    ("dbml.imports",),
    ("dbml.registry",),
    ("dbml.connection",),
    ("dbml.choice",),
    ("dbml.demo",),
    ("dbml.cli",),
)
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}

# What a layer may import from outside the project, besides the standard library. Where a layer is not named, anything.
ALLOWED_OUTSIDE = {
    "dbml_kernels": {"numpy", "numba"},
    "dbml_sql": {"sqlglot"},
    "dbml.errors": set(),
    "dbml.params": set(),
    "dbml.passes": {"numpy"},
    "dbml.estimators": {"numpy", "scipy", "sklearn"},
    "dbml.engine": {"numpy", "rich"},
    "dbml.imports": {"numpy"},
}
KERNELS_STANDARD = {"__future__", "math", "threading", "contextlib", "collections", "typing"}
PACKAGES = {"dbml": ROOT / "dbml", "dbml_sql": ROOT / "sql/dbml_sql", "dbml_kernels": ROOT / "kernels/dbml_kernels"}


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imports(module: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of every import, those inside functions and `TYPE_CHECKING` too."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively: write the full name"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node.lineno, inner if inner in MODULES else node.module


def layer(module: str) -> str | None:
    found = [name for name in HEIGHT if module == name or module.startswith(name + ".")]
    return max(found, key=len, default=None)


def test_every_module_belongs_to_a_layer():
    homeless = [m for m in MODULES if m not in ("dbml", "dbml.__main__") and layer(m) is None]
    assert not homeless, f"add these to LAYERS, and to docs/architecture.md: {homeless}"


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m)])
def test_imports_go_down(module):
    own = HEIGHT[layer(module)]
    for line, name in imports(module):
        if name.partition(".")[0] not in PACKAGES or layer(name) == layer(module):
            continue
        if name == "dbml":
            assert own > HEIGHT["dbml.connection"], f"{module}:{line} imports the whole package, which is above it"
            continue
        assert HEIGHT[layer(name)] < own, f"{module}:{line} imports {name}, which is not below {layer(module)}"


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) in ALLOWED_OUTSIDE])
def test_outside_imports_of_the_lower_layers(module):
    allowed = ALLOWED_OUTSIDE[layer(module)]
    for line, name in imports(module):
        top = name.partition(".")[0]
        if top in PACKAGES or top in allowed:
            continue
        standard = KERNELS_STANDARD if layer(module) == "dbml_kernels" else sys.stdlib_module_names
        assert top in standard, f"{module}:{line} imports {top}; {layer(module)} may import {sorted(allowed)}"


def uses_of_duckdb(module: str) -> set[str]:
    """Return what a module takes from the DuckDB client besides types in annotations."""
    tree = ast.parse(MODULES[module].read_text())
    annotations = [getattr(n, field, None) for n in ast.walk(tree) for field in ("annotation", "returns")]
    typed = {id(inner) for annotation in annotations if annotation is not None for inner in ast.walk(annotation)}
    taken = (n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and id(n) not in typed)
    return {n.attr for n in taken if isinstance(n.value, ast.Name) and n.value.id == "duckdb"}


def test_few_files_talk_to_the_duckdb_client():
    """Its API changed in 2.0 and will again: errors may be caught in some more places, connections opened in three."""
    users = {module: found for module in MODULES if (found := uses_of_duckdb(module))}
    assert {layer(m) for m in users} <= {"dbml.data", "dbml.registry", "dbml.connection", "dbml.cli"}
    assert len(users) <= 11, users
    assert {m for m, found in users.items() if "connect" in found} <= {
        "dbml.connection",
        "dbml.data.duck",
        "dbml.cli.doctor",
    }


@pytest.mark.parametrize("module", MODULES)
def test_scikit_learn_is_not_needed_at_run_time(module):
    """Tags (asked for by scikit-learn itself) and the demo's table may import it, inside a function."""
    for node in ast.parse(MODULES[module].read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            assert not any(name.partition(".")[0] == "sklearn" for name in names), f"{module}:{node.lineno}"
