"""A linear form taken apart by feature: the weights of each, by what they multiply."""

from __future__ import annotations

from dataclasses import dataclass

from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import LinearForm


@dataclass(frozen=True, slots=True)
class FeatureWeights:
    """Weights of one feature in one output.

    Attributes
    ----------
    feature : Feature
        The feature.
    position : int
        Its position in the encoding.
    values : tuple of float
        Number: one weight. Vector, lists, text: one a term. Category, map: one a level.
    missing : float
        Number, vector: weight of the flag. Category: of the NULL level. 0 where there is none.
    other : float
        Category: weight of the shared level of rare and unseen values, 0 where there is none.
    """

    feature: Feature
    position: int
    values: tuple[float, ...]
    missing: float = 0.0
    other: float = 0.0

    @property
    def is_zero(self) -> bool:
        """Whether the feature adds nothing."""
        return not self.missing and not self.other and not any(self.values)


@dataclass(frozen=True, slots=True)
class Output:
    """One linear predictor: intercept of the centred terms, and the weights of the features that add something."""

    intercept: float
    features: tuple[FeatureWeights, ...]

    @property
    def n_weights(self) -> int:
        """Number of weights that are not zero."""
        return sum(sum(map(bool, (*f.values, f.missing, f.other))) for f in self.features)


def outputs(form: LinearForm, encoding: Encoding) -> list[Output]:
    """Take a form apart, one `Output` a row of its coefficients."""
    return [
        Output(intercept, _nonzero(coef, encoding)) for coef, intercept in zip(form.coef, form.intercept, strict=True)
    ]


def _nonzero(coef: tuple[float, ...], encoding: Encoding) -> tuple[FeatureWeights, ...]:
    found = []
    for position, (feature, (dense, sparse)) in enumerate(zip(encoding.features, encoding.offsets(), strict=True)):
        weights = _feature_weights(feature, position, coef, dense, sparse)
        if not weights.is_zero:
            found.append(weights)
    return tuple(found)


def _feature_weights(
    feature: Feature, position: int, coef: tuple[float, ...], dense: int, sparse: int
) -> FeatureWeights:
    if feature.kind in ("number", "vector"):
        end = dense + (1 if feature.kind == "number" else feature.width)
        return FeatureWeights(feature, position, tuple(coef[dense:end]), coef[end] if feature.flag else 0.0)
    end = sparse + (feature.width if feature.kind in ("lists", "text") else len(feature.levels))
    values = tuple(coef[sparse:end])
    missing = coef[end] if feature.null_level else 0.0
    other = coef[end + feature.null_level] if feature.other_level else 0.0
    return FeatureWeights(feature, position, values, missing, other)
