"""Trees that were trained elsewhere. No `__init__`: nothing here can be trained, so discovery does not find them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from dbml_sql.forms import TreeForm

from dbml.errors import InvalidParameter
from dbml.estimators.trees.ensemble import Trees
from dbml.estimators.trees.model import TreeClassifier, TreeModel, TreeRegressor
from dbml.passes.block import Floats
from dbml.passes.plan import Plan
from dbml.passes.schema import Schema

ImportedLink = Literal["identity", "log", "logistic", "softmax", "one_vs_rest"]


class ImportedTrees(TreeModel):
    """What both imported models share.

    Attributes
    ----------
    imported_from_ : dict
        Library, version of the format, objective, file.
    """

    instead: ClassVar[str]
    imported_from_: dict[str, str]

    @classmethod
    def of(
        cls, trees: Trees, baseline: Floats, link: ImportedLink, schema: Schema, origin: dict[str, str], plan: Plan
    ) -> Self:
        """Return the model of trees that were read from a file."""
        model = cls()
        model.trees_, model.baseline_, model.link_ = trees, baseline, link  # type: ignore[assignment]
        model.schema_, model.plan_, model.imported_from_ = schema, plan, origin
        model.n_features_in_ = schema.n_features
        model.training_ = []
        model._name_features(schema)
        return model

    def check_scorable(self) -> None:
        """Raise `InvalidData` for trees that prediction cannot hold: too many columns, or thresholds of one."""
        self._raw_block(self._no_rows())

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, con: Any = None, options: Any = None) -> Self:
        """Refuse: the model was trained elsewhere.

        Raises
        ------
        InvalidParameter
            Always, with what to train instead.
        """
        raise InvalidParameter(
            f"{type(self).__name__} holds trees that another library trained and cannot be trained; "
            f"train {self.instead} instead"
        )

    @property
    def _has_form(self) -> bool:
        raise NotImplementedError

    def form(self) -> TreeForm | None:
        """Return the trees as a form for native SQL where that pays and its links allow it, else None."""
        return super().form() if self._has_form else None

    def query_form(self) -> TreeForm | None:
        """Return the trees as a form, None where the link has none."""
        return super().query_form() if self._has_form else None


class ImportedTreesRegressor(ImportedTrees, TreeRegressor):
    """Trees of a number, trained elsewhere; made by importing a model file, never by `fit`.

    Notes
    -----
    ``link_`` may be ``logistic`` too: objectives such as LightGBM's ``cross_entropy`` predict a number between 0 and 1.
    """

    instead = "HistGradientBoostingRegressor"

    @property
    def _has_form(self) -> bool:
        return self.link_ in ("identity", "log")

    def _numbers(self, raw: Floats) -> Floats:
        if self.link_ != "logistic":
            return super()._numbers(raw)
        from scipy.special import expit

        return expit(raw[:, 0])


class ImportedTreesClassifier(ImportedTrees, TreeClassifier):
    """Trees of a class, trained elsewhere; made by importing a model file, never by `fit`.

    Notes
    -----
    ``link_`` may be ``one_vs_rest`` too: each class has a probability of its own and they need not sum to 1, as the
    library that trained them has it (LightGBM's ``multiclassova``).
    """

    instead = "HistGradientBoostingClassifier"

    @property
    def _has_form(self) -> bool:
        return self.link_ in ("logistic", "softmax")

    def _probabilities(self, raw: Floats) -> Floats:
        if str(self.link_) != "one_vs_rest":
            return super()._probabilities(raw)
        from scipy.special import expit

        return np.asarray(expit(raw))
