"""Networks, trained from a table."""

from __future__ import annotations

from typing import Any

from benchmarks import bars
from benchmarks.contenders import Contender, Row
from benchmarks.datasets import CLASSES, CLASSES_200K
from benchmarks.rows.parts import PLENTY, SCAN

EPOCHS, UNITS = 10, 64


def settings(epochs: int) -> dict[str, Any]:
    """Return the settings of either side."""
    return {"hidden_layer_sizes": [UNITS], "max_iter": epochs, "random_state": 0}


def perceptron(label: str = "dbml", epochs: int = EPOCHS, **where: Any) -> Contender:
    """Return dbml's network."""
    params = {"estimator": "MLPClassifier", "settings": settings(epochs)}
    return Contender(label, "ours", "our_trees:fit", params, **where)


def peer(fetch: str, dtype: str, epochs: int = EPOCHS) -> Contender:
    """Return scikit-learn's network, its data fetched in one way."""
    params = {"settings": settings(epochs), "fetch": fetch, "dtype": dtype}
    imports = ("sklearn.neural_network", "sklearn.preprocessing")
    label = f"MLPClassifier {dtype}, {fetch}"
    again = 2 if epochs > 1 else 1
    return Contender(
        label, "peer", "network_peers:perceptron", params, again=again, imports=imports, memory_limit=PLENTY
    )


MLP = Row(
    "mlp",
    f"network of {UNITS} units, {EPOCHS} epochs, 200k x 28",
    CLASSES_200K,
    (
        SCAN,
        perceptron(),
        perceptron("dbml 2M", dataset=CLASSES, again=0, quality=False),
        peer("fetchnumpy", "float64"),
        peer("fetchnumpy", "float32"),
        peer("stream", "float64"),
        peer("stream", "float32"),
    ),
    (
        bars.speedup(2.0),
        bars.quality("auc", 0.001),
        bars.over("", "MiB more at 2M rows than at 200k", lambda r: r.one("dbml 2M").peak - r.ours.peak, 64.0),
    ),
    target="label",
    quality="auc",
    metric="auc",
    tolerance=0.002,
    rounds=2,
    timeout=300,
)

MLP_2M = Row(
    "mlp_2m",
    f"network of {UNITS} units, 1 epoch, 2M x 28",
    CLASSES,
    (
        SCAN,
        perceptron(epochs=1, again=1),
        peer("fetchnumpy", "float64", epochs=1),
        peer("fetchnumpy", "float32", epochs=1),
        peer("stream", "float32", epochs=1),
    ),
    (
        bars.speedup(2.0),
        bars.quality("auc", 0.001),
        bars.memory_share(),
        bars.memory_of("float64 over fetchnumpy", "MLPClassifier float64, fetchnumpy"),
    ),
    target="label",
    quality="auc",
    metric="auc",
    tolerance=0.002,
    rounds=1,
    timeout=300,
)
