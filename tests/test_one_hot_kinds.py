"""Categories of the one-hot encoder by the kind of their column: what is told apart, and what they are called."""

import numpy as np
import pytest

import dbml
from dbml import OneHotEncoder
from dbml.errors import InvalidData

LARGE = 2**53


@pytest.fixture(scope="module")
def con():
    with dbml.connect() as con:
        yield con


@pytest.mark.parametrize(
    "value", ["i + 9007199254740992", "(i - 9007199254740994)::HUGEINT", "(i + 9e14)::DECIMAL(38, 2)"]
)
def test_numbers_that_doubles_do_not_tell_apart_are_refused(con, value):
    with pytest.raises(InvalidData, match=r"OneHotEncoder: numbers must be within 2\^53 .*'k' of the query, "):
        OneHotEncoder().fit(con.sql(f"SELECT {value} AS k FROM range(3) r(i)"))
    as_text = con.sql(f"SELECT ({value})::VARCHAR AS k FROM range(3) r(i)")
    assert len(OneHotEncoder().fit(as_text).categories_[0]) == 3


def test_large_numbers_of_an_array():
    with pytest.raises(InvalidData, match="'x0' of array of 3 x 1"):
        OneHotEncoder().fit(LARGE + np.arange(3)[:, None])
    just = LARGE - 3 + np.arange(3)[:, None]
    np.testing.assert_array_equal(OneHotEncoder(sparse_output=False).fit_transform(just), np.eye(3))
