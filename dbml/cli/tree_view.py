"""One tree of a model as a person reads it: conditions in words, rows, gains, values; printed as text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from shlex import quote
from typing import Any

from dbml_sql.features import Feature
from dbml_sql.score import label_text

from dbml.errors import InvalidData, InvalidParameter

_MOST_NAMED = 6  # categories that a condition names
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


@dataclass
class ViewNode:
    """A node of a tree.

    Attributes
    ----------
    number : int
        Number in the tree, 0 for the root; as in ``ML.TREES``.
    rows : float
        Training rows, weighted.
    value : float
        What the node adds, or the share of `label`; of inner nodes what they would.
    label : str or None
        The most frequent class, where leaves hold a share of each.
    condition : str
        What leads to `yes`, in words; empty in a leaf.
    gain : float
        Decrease of the loss by the split.
    """

    number: int
    rows: float
    value: float
    label: str | None = None
    condition: str = ""
    gain: float = 0.0
    yes: ViewNode | None = None
    no: ViewNode | None = None

    @property
    def branches(self) -> list[tuple[str, ViewNode]]:
        """The children with the answer that leads to them; none in a leaf."""
        return [(word, node) for word, node in (("yes", self.yes), ("no", self.no)) if node is not None]

    def walk(self) -> Iterator[ViewNode]:
        """Yield the node and all below it, parents first."""
        waiting = [self]
        for node in waiting:
            yield node
            waiting += [child for _, child in node.branches]

    @property
    def said(self) -> str:
        """The value as a person reads it."""
        return f"{self.value:+.3g}" if self.label is None else f"{self.label} {self.value:.0%}"

    def to_json(self) -> dict[str, Any]:
        """Return the node and all below it as plain JSON values."""
        found: dict[str, Any] = {"node": self.number, "rows": self.rows, "value": self.value}
        if self.label is not None:
            found["label"] = self.label
        if self.branches:
            found |= {"condition": self.condition, "gain": self.gain}
            found |= {word: node.to_json() for word, node in self.branches}
        return found


@dataclass(frozen=True)
class TreeView:
    """A tree with the words above it: `title`, and `meaning`, what its values are."""

    title: str
    meaning: str
    root: ViewNode


def view_tree(model: Any, name: str, tree: int) -> TreeView:
    """Return a tree of a model in words.

    Raises
    ------
    InvalidData
        The model has no trees.
    InvalidParameter
        It has no tree of that number.
    """
    from dbml.estimators.trees.model import TreeModel

    if not isinstance(model, TreeModel):
        raise InvalidData(f"model {name!r} is a {type(model).__name__}, which has no trees (dbml show {quote(name)})")
    trees = model.trees_
    if not 0 <= tree < trees.n_trees:
        raise InvalidParameter(f"model {name!r} has trees 0 to {trees.n_trees - 1}; got {tree}")
    root = trees.nodes_of(tree).start
    nodes = [_node(model, number, root) for number in trees.nodes_of(tree)]
    for node in nodes:
        left = int(trees.left[root + node.number])
        if left >= 0:
            node.yes, node.no = nodes[left - root], nodes[left - root + 1]
    title = f"{name}: tree {tree} of {trees.n_trees} ({type(model).__name__})"
    return TreeView(title, _meaning(model, int(trees.outputs[tree])), nodes[0])


def _node(model: Any, number: int, root: int) -> ViewNode:
    trees = model.trees_
    values = trees.value[number]
    label, value = None, float(values[0])
    if values.size > 1:
        place = int(values.argmax())
        label, value = label_text(model.schema_.classes[place]), float(values[place] / (values.sum() or 1.0))
    node = ViewNode(number - root, float(trees.weight[number]), value, label)
    if trees.left[number] >= 0:
        node.gain, node.condition = float(trees.gain[number]), _condition(model, number)
    return node


def _meaning(model: Any, output: int) -> str:
    target = model.schema_.target
    name = "the target" if target is None else target.name
    classes = None if target is None else target.classes
    if model.trees_.value.shape[1] > 1:
        return f"share of the most frequent {name}"
    if classes is None:
        return f"values add up to {'the logarithm of ' if model.link_ == 'log' else ''}{name}, from {_start(model, 0)}"
    label = label_text(classes[1] if len(model.baseline_) == 1 else classes[output])
    what = "the probability" if model.link_ == "probability" else "the log-odds"
    if model.link_ == "softmax":
        what = "the score"
    return f"values add up to {what} of {name} = {label}, from {_start(model, output)}"


def _start(model: Any, output: int) -> str:
    return f"{float(model.baseline_[output]):.4g}"


# conditions ---------------------------------------------------------------------------------------------------


def _condition(model: Any, number: int) -> str:
    """Return in words what leads to the left."""
    trees, encoding = model.trees_, model.schema_.encoding
    feature, term = _feature_of(encoding, int(trees.term[number]))
    if trees.category_set[number] >= 0:
        goes_left = trees.category_sets[trees.category_set[number]]
        said = _membership(term, feature, goes_left.tolist())
    else:
        said = _comparison(term, feature, float(trees.threshold[number]))
    return f"{said}, or missing" if trees.missing_left[number] else said


def _feature_of(encoding: Any, term: int) -> tuple[Feature, str]:
    names = encoding.terms
    for feature, (dense, sparse) in zip(encoding.features, encoding.offsets(), strict=True):
        starts = ((dense, len(feature.dense_terms)), (sparse, len(feature.sparse_terms)))
        if any(start <= term < start + size for start, size in starts):
            return feature, names[term]
    raise InvalidData(f"the trees test term {term}, and the model has {len(names)}: it is damaged")


def _membership(term: str, feature: Feature, goes_left: list[bool]) -> str:
    names = [*feature.levels, *["(other)"] * feature.other_level]
    inside = [name for name, left in zip(names, goes_left, strict=False) if left]
    outside = [name for name, left in zip(names, goes_left, strict=False) if not left]
    if len(inside) <= len(outside):
        word, few = ("is" if len(inside) == 1 else "in"), inside
    else:
        word, few = ("is not" if len(outside) == 1 else "not in"), outside
    shown = ", ".join(few[:_MOST_NAMED]) + (f" and {len(few) - _MOST_NAMED} more" if len(few) > _MOST_NAMED else "")
    return f"{term} {word} {shown}" if word.startswith("is") else f"{term} {word} {{{shown}}}"


def _comparison(term: str, feature: Feature, threshold: float) -> str:
    if feature.type == "BOOLEAN":
        return f"{term} is {'false' if threshold < 1.0 else 'false or true'}"
    if feature.part == "epoch" and math.isfinite(threshold):
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=threshold)
        return f"{feature.column} ≤ {moment:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    if feature.part is not None or feature.type in _INTEGERS:
        words = f"{feature.part} of {feature.column}" if feature.part else term
        return f"{words} ≤ {math.floor(threshold):,}"
    return f"{term} ≤ {threshold:,.6g}"


# text ---------------------------------------------------------------------------------------------------------


def print_tree(view: TreeView) -> None:
    """Print a tree as lines with branches."""
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    def line(node: ViewNode, answer: str) -> Text:
        text = Text(f"{answer:<5}" if answer else "", style="dim")
        rows = f"{node.rows:,.0f} rows"
        if node.branches:
            return text.append(node.condition, "bold not dim").append(f"  {rows}, gain {node.gain:,.4g}", "dim")
        return text.append(node.said, "green not dim" if node.value >= 0 else "red not dim").append(f"  {rows}", "dim")

    drawn = Tree(line(view.root, ""), guide_style="dim")
    waiting = [(view.root, drawn)]
    while waiting:
        node, branch = waiting.pop()
        waiting += [(child, branch.add(line(child, answer))) for answer, child in node.branches]
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1_000  # lines as long as they are
    console.print(Text(view.title, "bold"))
    console.print(Text(f"{view.meaning}\n", "dim"))
    console.print(drawn)
