"""Reads the pairs of tests/sql/*.txt: what goes in, a line of ``---``, what must come out; blank lines between."""

from pathlib import Path

FOLDER = Path(__file__).parent / "sql"


def pairs(name):
    """Return the (statement, expected) pairs of a file; comment lines at the start of a pair are left out."""
    found = []
    for chunk in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").split("\n\n"):
        lines = chunk.strip("\n").split("\n")
        while lines and lines[0].startswith("--") and "---" not in lines[0][:3]:
            lines.pop(0)
        if lines:
            middle = lines.index("---")
            found.append(("\n".join(lines[:middle]), "\n".join(lines[middle + 1 :])))
    return found
