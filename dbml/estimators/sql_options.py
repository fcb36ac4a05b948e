"""From the options of a model statement to a configured estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from dbml.errors import InvalidParameter, UnknownOption, listing
from dbml.estimators.bigquery_options import INSTEAD
from dbml.params import Rule, check_params


class SqlOptions:
    """The names of an estimator and of its hyperparameters in ``OPTIONS (…)``."""

    rules: ClassVar[Mapping[str, Rule]] = {}
    model_types: ClassVar[tuple[str, ...]] = ()
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {}
    choosing_options: ClassVar[tuple[str, ...]] = ()  # those that `from_options` of a subclass takes out itself

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Return BigQuery's names and the hyperparameters as they are spelled, in alphabetical order."""
        hyperparameters = cls._parameter_names()  # type: ignore[attr-defined]
        return tuple(sorted({*cls.sql_options, *cls.choosing_options, *hyperparameters}, key=str.lower))

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return an estimator with the hyperparameters that `options` ask for.

        A subclass overrides it where several options decide together, or choose another class.

        Parameters
        ----------
        options : mapping
            Names in lower case: BigQuery's (`sql_options`) or the hyperparameters' own; values as Python values.

        Raises
        ------
        UnknownOption
            No such option; the nearest known one is named.
        InvalidParameter
            A value its rule does not allow, or two options that set the same hyperparameter.
        """
        names = {name.lower(): name for name in cls._parameter_names()}  # type: ignore[attr-defined]
        params: dict[str, Any] = {}
        for option, value in options.items():
            if option in cls.sql_options:
                more = cls._hyperparameters(option, value)
            elif option in names:
                more = {names[option]: value}
            else:
                raise UnknownOption(cls.__name__, option, cls.option_names(), INSTEAD.get(option))
            twice = set(params) & set(more)
            if twice:
                raise InvalidParameter(
                    f"{cls.__name__}: option {option!r} sets {listing(sorted(twice))}, which another option sets too"
                )
            params.update(more)
        made = cls(**params)
        check_params(cls.__name__, cls.rules, made.get_params())  # type: ignore[attr-defined]
        return made

    @classmethod
    def _hyperparameters(cls, option: str, value: Any) -> dict[str, Any]:
        try:
            return cls.sql_options[option](value)
        except InvalidParameter as error:
            raise InvalidParameter(f"{cls.__name__}: {str(error).removeprefix(f'{cls.__name__}: ')}") from error
