"""Multi-layer perceptrons: MLPClassifier and MLPRegressor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from dbml_kernels.exponential import logistic_rows
from dbml_kernels.softmax import softmax_rows

from dbml.estimators.batches import check_batches, schema_of_batches
from dbml.estimators.class_weight import CLASS_WEIGHT_OPTIONS, CLASS_WEIGHT_RULE, class_weights
from dbml.estimators.classifier import ProbabilisticClassifier
from dbml.estimators.networks.model import NetworkModel
from dbml.estimators.networks.rules import RULES, SQL_OPTIONS
from dbml.estimators.regressor import Regressor
from dbml.estimators.solvers.loss_step import RowReading
from dbml.params import Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.dispatch import readable_again


class MLPClassifier(NetworkModel, ProbabilisticClassifier):
    """Classifier by a feed-forward network that minimises the log loss.

    Minimises ``mean log loss + alpha / 2 |W|^2 / batch`` over weights W and free intercepts, scikit-learn's objective.
    Terms are standardised inside, so that columns of any unit can be learned; categories of many levels are embedded.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default=(100,)
        Units of each hidden layer; ``()`` for none, which is logistic regression.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Of the hidden layers.
    solver : {"adam", "sgd"}, default="adam"
        Adam, or gradient descent with momentum.
    alpha : float, default=0.0001
        Strength of the penalty on the (standardised) weights.
    batch_size : int or "auto", default="auto"
        Rows of a step; "auto" is 200. More than there are: all rows.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Of "sgd": stays, falls as ``learning_rate_init / rows ** power_t`` after each epoch, or is divided by 5 where
        the loss no longer falls.
    learning_rate_init : float, default=0.001
        Learning rate.
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Most epochs.
    shuffle : bool, default=True
        Rows in another random order every epoch; in the order of the table where its rows are not clustered.
    random_state : int, RandomState or None, default=None
        Seed of first weights, order and held out rows; None is 0.
    tol : float or None, default=1e-4
        Stops where the loss was not lower (early stopping: the score not higher) by this much for more than
        `n_iter_no_change` epochs; None: never.
    warm_start : bool, default=False
        `fit` goes on from the last one, by its encoding.
    momentum : float in [0, 1], default=0.9
        Of "sgd".
    nesterovs_momentum : bool, default=True
        Whether "sgd" looks ahead.
    early_stopping : bool, default=False
        Judge by the accuracy on held out rows, and keep the weights of the best epoch; a pass more per epoch.
    validation_fraction : float, default=0.1
        Share of the rows held out for it, chosen by a hash of their values.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Decay of the moments of "adam", and what keeps its steps finite.
    n_iter_no_change : int, default=10
        See `tol`.
    class_weight : dict or "balanced", optional
        Factor on the weight of each class.
    dropout : float in [0, 1), default=0.0
        Share of the hidden units that is left out of each row in training, others each time.
    embedding : "auto", int or None, default="auto"
        Width of the vector that each level of a category of more than 32 levels is given, and that is learned; "auto"
        is 8 to 256 levels, 12 to some 1,300 and so on, None gives every level weights to all units instead. A category
        has 1,000 levels at most, unless ``options={"max_levels": …}`` says otherwise.
    precision : {"auto", "float32", "float64"}, default="auto"
        What training computes in; "auto" is float64 up to 10,000 rows.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    coefs_ : list of ndarray
        Weights of each layer, shape (inputs, outputs), in the units of the columns; the first has a row a term.
    intercepts_ : list of ndarray
        Intercepts of each layer.
    loss_, best_loss_ : float
        Mean loss of the last epoch, penalty included, and the lowest of all (None with early stopping).
    loss_curve_ : list of float
        That of every epoch, each row judged before the step it causes.
    validation_scores_, best_validation_score_ : list of float, float
        Accuracy on the held out rows after each epoch; None without early stopping.
    n_iter_, t_ : int
        Epochs, and rows seen.
    n_layers_, n_outputs_, out_activation_
        Layers with those of inputs and outputs, outputs, and what makes them probabilities.

    Notes
    -----
    A pass per epoch, over blocks kept in memory or spilled, and one more with early stopping; each batch is one step.
    Cost of a row: 6 operations a weight that it meets; a level of a category costs a row of a table, however many
    there are. Rows of that table move only with the batches that have their level. Memory does not grow with the rows.
    A missing value takes the mean of its column, and a flag term marks it.

    References
    ----------
    Rumelhart, Hinton & Williams 1986, learning representations by back-propagating errors. Glorot & Bengio 2010,
    understanding the difficulty of training deep feedforward neural networks. Kingma & Ba 2015, Adam. Srivastava
    et al. 2014, dropout. Guo & Berkhahn 2016, entity embeddings of categorical variables.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import MLPClassifier
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> y = X[:, 0] * X[:, 1] > 0.0
    >>> MLPClassifier((16,), max_iter=400, learning_rate_init=0.01).fit(X, y).predict([[2.0, 1.0], [-2.0, 1.0]])
    array([ True, False])
    """

    model_types = ("dnn_classifier",)
    rules: ClassVar[Mapping[str, Rule]] = {**RULES, "class_weight": CLASS_WEIGHT_RULE}
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        **SQL_OPTIONS,
        **CLASS_WEIGHT_OPTIONS,
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float | None = 1e-4,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        class_weight: dict[Any, float] | str | None = None,
        dropout: float = 0.0,
        embedding: str | int | None = "auto",
        precision: str = "auto",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.dropout = dropout
        self.embedding = embedding
        self.precision = precision

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: Any = None,
        sample_weight: Any = None,
        *,
        con: Any = None,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """Go through the rows of X once and learn from them, a step for every batch.

        Parameters
        ----------
        X, y, sample_weight, con, options
            As in `fit`. Encoding and spreads of the terms are those of the first call.
        classes : array, optional
            All labels there will be; needed in the first call where its rows may not have them all.
        """
        check_batches(self)
        X = readable_again(X)
        schema = schema_of_batches(self, X, y, classes, sample_weight, con, options)
        return self._train_on(X, y, sample_weight, con, None, schema, self._partial)

    def _reading(self, data: Data) -> RowReading:
        name = type(self).__name__
        weighted = data.sample(1, 0).weight is not None if self.class_weight == "balanced" else False
        return RowReading(None, class_weights(name, self.class_weight, data, weighted))

    def _decision_block(self, block: Block) -> Floats:
        outputs = self._outputs_block(block)
        return np.ascontiguousarray(outputs[:, 0]) if outputs.shape[1] == 1 else outputs

    def _proba_block(self, block: Block) -> Floats:
        eta = self._decision_block(block)
        if eta.ndim == 1:
            proba = np.empty((2, len(eta)))
            logistic_rows(-eta, proba[0])
            logistic_rows(eta, proba[1])
        else:
            proba = np.ascontiguousarray(eta.T)
            softmax_rows(proba, proba)
        return np.ascontiguousarray(proba.T)


class MLPRegressor(NetworkModel, Regressor):
    """Regressor by a feed-forward network that minimises the squared error.

    Minimises ``mean (y - f(x))^2 / 2 + alpha / 2 |W|^2 / batch`` as in `MLPClassifier`; the target is standardised
    inside too, and the losses that are reported are those of the standardised target.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
shuffle, random_state, tol, warm_start, momentum, nesterovs_momentum, validation_fraction, beta_1, beta_2, epsilon, \
n_iter_no_change, dropout, embedding, precision
        As in `MLPClassifier`.
    early_stopping : bool, default=False
        Judge by R² on held out rows, and keep the weights of the best epoch; a pass more per epoch.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        As in `MLPClassifier`; the last ones give the target in its own unit.
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, n_iter_, t_, n_layers_, n_outputs_, \
out_activation_
        As in `MLPClassifier`; scores are R².

    Notes
    -----
    As in `MLPClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import MLPRegressor
    >>> X = np.linspace(-3.0, 3.0, 1000)[:, None]
    >>> model = MLPRegressor((32,), max_iter=300, learning_rate_init=0.01).fit(X, 1000.0 * np.abs(X[:, 0]))
    >>> model.predict([[-2.0], [2.0]]).round(-2)
    array([2000., 2000.])
    """

    model_types = ("dnn_regressor",)

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float | None = 1e-4,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        dropout: float = 0.0,
        embedding: str | int | None = "auto",
        precision: str = "auto",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.dropout = dropout
        self.embedding = embedding
        self.precision = precision

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        con: Any = None,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """Go through the rows of X once and learn from them; see `MLPClassifier.partial_fit`."""
        check_batches(self)
        return self._train_on(X, y, sample_weight, con, options, vars(self).get("schema_"), self._partial)

    def _predict_block(self, block: Block) -> Floats:
        return np.ascontiguousarray(self._outputs_block(block)[:, 0])
