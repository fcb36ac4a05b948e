"""A network as arrays: where its numbers lie, how it begins, what it says of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from dbml_kernels.network import BIASES, DELTA, IN, INPUT, N_IN, N_OUT, OUT, STEP, TILE, TURNED, WEIGHTS, Layout
from dbml_kernels.network_activation import IDENTITY, LOGISTIC, RELU, TANH
from dbml_kernels.network_update import network_rows
from dbml_sql.features import Encoding
from numpy.typing import NDArray

from dbml.estimators.design import flat
from dbml.estimators.networks.coordinates import Coordinates
from dbml.passes.block import Block, Floats

ACTIVATIONS = {"identity": IDENTITY, "logistic": LOGISTIC, "tanh": TANH, "relu": RELU}
MANY_LEVELS = 32  # a category of more is embedded
_FIRST_EMBEDDING = 0.05  # largest number that one begins with: an unseen level, at 0, is then like the average


def embedding_widths(encoding: Encoding, embedding: str | int | None) -> NDArray[np.int64]:
    """Return the width of the embedding of each feature, 0 for none, shape (n_features,)."""
    widths = []
    for feature in encoding.features:
        levels = len(feature.sparse_terms) if feature.kind == "category" else 0
        wanted = 4 * math.ceil(levels**0.25 / 2) if embedding == "auto" else int(embedding or 0)
        widths.append(wanted if levels > MANY_LEVELS and wanted < levels else 0)
    return np.array(widths, dtype=np.int64)


def _padded(n: int) -> int:
    return -(-n // STEP) * STEP


@dataclass(frozen=True)
class Network:
    """Parameters and where they lie. Weights come first, then biases, then the rows of tables of sparse terms.

    Attributes
    ----------
    sizes : ndarray of shape (n_layers,), int64
        Units of the hidden layers, then outputs.
    embedded : ndarray of shape (n_features,), int64
        Width of the embedding of each feature.
    coordinates : Coordinates
        How terms and target enter.
    activation : str
        Of the hidden layers.
    params : ndarray of shape (n_params,), float32 or float64
    encoding : Encoding
    """

    sizes: NDArray[np.int64]
    embedded: NDArray[np.int64]
    coordinates: Coordinates
    activation: str
    encoding: Encoding
    params: NDArray

    @classmethod
    def begun(
        cls,
        encoding: Encoding,
        coordinates: Coordinates,
        sizes: Sequence[int],
        activation: str,
        embedding: str | int | None,
        dtype: type,
        seed: int,
    ) -> Network:
        """Return a network with the weights that training begins with (Glorot & Bengio 2010)."""
        embedded = embedding_widths(encoding, embedding)
        empty = cls(np.array(sizes, np.int64), embedded, coordinates, activation, encoding, np.empty(0, dtype))
        made = replace(empty, params=np.zeros(empty.n_params, dtype))
        generator = np.random.default_rng(seed)
        factor = 2.0 if activation == "logistic" else 6.0
        for k, (weights, biases) in enumerate(zip(made.weights, made.biases, strict=True)):
            inputs = weights.shape[0] + (made.n_direct if k == 0 else 0)
            bound = math.sqrt(factor / (inputs + weights.shape[1]))
            weights[:] = generator.uniform(-bound, bound, weights.shape)
            biases[:] = generator.uniform(-bound, bound, biases.shape)
            if k == 0:
                made._begin_tables(bound, generator)
        return made

    def _begin_tables(self, bound: float, generator: np.random.Generator) -> None:
        layout = self.layout
        if not len(layout.table):
            return
        most = np.where(layout.into >= 0, _FIRST_EMBEDDING, bound)
        values = generator.uniform(-1.0, 1.0, int(layout.width.sum())) * np.repeat(most, layout.width)
        column = np.arange(len(values)) - np.repeat(layout.table - self.n_layered, layout.width)
        padding = (column >= self.sizes[0]) & np.repeat(layout.into < 0, layout.width)
        self.params[self.n_layered :] = np.where(padding, 0.0, values)

    def moved(self, params: NDArray) -> Network:
        """Return the network with other parameters."""
        made = replace(self, params=params)
        vars(made)["layout"] = self.layout
        return made

    def __getstate__(self) -> dict[str, object]:
        """Return the fields: what follows from them is not copied."""
        return {own.name: getattr(self, own.name) for own in fields(self)}

    # layout ----------------------------------------------------------------------------------------------------

    @property
    def n_direct(self) -> int:
        """Features whose sparse terms have weights of their own in the first layer."""
        sparse = [bool(feature.sparse_terms) for feature in self.encoding.features]
        return sum(has and not width for has, width in zip(sparse, self.embedded, strict=True))

    @cached_property
    def _inputs(self) -> int:
        """Columns of the input tile: dense terms, padded, then embeddings, padded each."""
        inputs = _padded(self.encoding.n_dense)
        return inputs + sum(_padded(int(width)) for width in self.embedded)

    @cached_property
    def layout(self) -> Layout:
        """Where everything lies, for the kernels."""
        n_in = [self._inputs, *self.sizes[:-1].tolist()]
        if not self.embedded.any():
            n_in[0] = self.encoding.n_dense
        n_out = self.sizes.tolist()
        n_layers = len(n_out)
        layers = np.zeros((n_layers + 1, 9), np.int64)
        layers[:-1, N_IN], layers[:-1, N_OUT] = n_in, n_out
        layers[:-1, IN], layers[:-1, OUT] = [_padded(n) for n in n_in], [_padded(n) for n in n_out]
        layers[n_layers - 1, OUT] = 1 if n_out[-1] == 1 else layers[n_layers - 1, OUT]
        layers[:-1, WEIGHTS] = _starts(layers[:-1, IN] * layers[:-1, OUT])
        weights = int((layers[:-1, IN] * layers[:-1, OUT]).sum())
        layers[:-1, BIASES] = weights + _starts(layers[:-1, OUT])
        end = weights + int(layers[:-1, OUT].sum())
        tables = self._tables(end, int(layers[0, OUT]))

        tiles = TILE * np.append(layers[:-1, IN], layers[-2, OUT])
        layers[:, INPUT] = _starts(tiles)
        extra = self._inputs - _padded(self.encoding.n_dense)
        deltas = TILE * np.append(layers[:-1, OUT], extra)
        layers[:, DELTA] = tiles.sum() + _starts(deltas)
        layers[:, TURNED] = tiles.sum() + deltas.sum() + _starts(np.append(layers[:-1, IN] * layers[:-1, OUT], 0))
        of = self.coordinates
        offset, inverse, factor = fixed(of.offset), fixed(of.inverse), fixed(of.factor)
        table, width, into = (fixed(array) for array in tables)
        return Layout(fixed(layers), offset, inverse, table, width, into, factor, ACTIVATIONS[self.activation])

    def _tables(self, end: int, direct: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return where the row of each sparse term begins, its width, and the input column that it is added to."""
        widths: list[int] = []
        into: list[int] = []
        column = _padded(self.encoding.n_dense)
        for feature, width in zip(self.encoding.features, self.embedded.tolist(), strict=True):
            n = len(feature.sparse_terms)
            widths += [width or direct] * n
            into += [column if width else -1] * n
            column += _padded(width)
        sizes = np.array(widths, np.int64)
        return end + _starts(sizes), sizes, np.array(into, np.int64)

    @property
    def n_weights(self) -> int:
        """Parameters of the layers that are no biases: the first ones, padding included."""
        return int(self.layout.layers[0, BIASES])

    @property
    def n_layered(self) -> int:
        """Parameters of the layers."""
        return self.n_weights + int(self.layout.layers[:-1, OUT].sum())

    @property
    def n_params(self) -> int:
        """All parameters, padding included."""
        return self.n_layered + int(self.layout.width.sum())

    @property
    def n_work(self) -> int:
        """Numbers of room that training needs; scoring needs those before the derivatives."""
        layers = self.layout.layers
        return int(layers[-1, TURNED])

    @property
    def weights(self) -> list[NDArray]:
        """Weights of each layer, views of shape (inputs, outputs)."""
        found = []
        for row in self.layout.layers[:-1]:
            whole = self.params[row[WEIGHTS] : row[WEIGHTS] + row[IN] * row[OUT]].reshape(row[IN], row[OUT])
            found.append(whole[: row[N_IN], : row[N_OUT]])
        return found

    @property
    def biases(self) -> list[NDArray]:
        """Biases of each layer, views."""
        return [self.params[row[BIASES] : row[BIASES] + row[N_OUT]] for row in self.layout.layers[:-1]]

    # what it says ----------------------------------------------------------------------------------------------

    @cached_property
    def _exact(self) -> NDArray[np.float64]:
        return self.params.astype(np.float64)

    def outputs(self, block: Block) -> Floats:
        """Return the outputs of the rows of a block, in the units of the target or as logits, shape (n, n_outputs)."""
        n, out = block.n_rows, np.empty((block.n_rows, int(self.sizes[-1])))
        work = np.zeros(int(self.layout.layers[0, DELTA]))
        network_rows(
            self.layout, fixed(flat(block.X)), n, sparse_arrays(block), fixed(np.arange(n)), self._exact, work, out
        )  # fmt: skip
        mean, scale = self.coordinates.target
        return out * scale + mean

    def coefs(self) -> list[Floats]:
        """Return the weights of each layer over the terms, in the units of the columns and of the target."""
        layout, of = self.layout, self.coordinates
        coefs = [weights.astype(np.float64) for weights in self.weights]
        n_dense, n_out = self.encoding.n_dense, int(self.sizes[0])
        first = np.zeros((self.encoding.n_terms, n_out))
        first[:n_dense] = coefs[0][:n_dense] * of.inverse[:, None]
        for t, (start, width, into) in enumerate(zip(layout.table, layout.width, layout.into, strict=True)):
            row = self.params[start : start + width].astype(np.float64)
            first[n_dense + t] = of.factor[t] * (row @ coefs[0][into : into + width] if into >= 0 else row[:n_out])
        coefs[0] = first
        coefs[-1] = coefs[-1] * of.target[1]
        return coefs

    def intercepts(self) -> list[Floats]:
        """Return the intercepts of each layer, in the units of the columns and of the target."""
        of, n_dense = self.coordinates, self.encoding.n_dense
        biases = [bias.astype(np.float64) for bias in self.biases]
        centre = np.array(self.encoding.centre())[:n_dense]
        biases[0] = biases[0] + ((of.offset - centre) * of.inverse) @ self.weights[0][:n_dense].astype(np.float64)
        biases[-1] = biases[-1] * of.target[1] + of.target[0]
        return biases


def fixed(array: NDArray) -> NDArray:
    """Return a read-only view: kernels are then compiled once, for the blocks of all sources."""
    view = array.view()
    view.flags.writeable = False
    return view


def sparse_arrays(block: Block) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats]:
    """Return the sparse rows of a block; of a design without sparse terms, empty ones."""
    if block.sparse is None:
        return fixed(np.zeros(1, np.int64)), fixed(np.zeros(0, np.int32)), fixed(np.zeros(0))
    return fixed(block.sparse.indptr), fixed(block.sparse.indices), fixed(block.sparse.values)


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each of some neighbours begins."""
    return np.cumsum(sizes) - sizes
