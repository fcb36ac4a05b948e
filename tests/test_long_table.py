"""Long tables (row, feature, value)."""

import numpy as np
import pytest
from test_sources import whole

from dbml.data.long_table import from_long
from dbml.errors import InvalidData, UnknownName, UnsupportedColumn
from dbml.passes.dispatch import as_data


@pytest.fixture
def long(raw):
    raw.execute("CREATE TABLE long(id INTEGER, f INTEGER, v DOUBLE, word VARCHAR)")
    raw.execute(
        "INSERT INTO long VALUES (2, 3, 1.5, 'c'), (1, 1, 2, 'a'), (2, 1, 1, 'a'), (2, 3, 1, 'c'), (1, 2, NULL, 'b')"
    )
    raw.execute("CREATE TABLE samples AS SELECT unnest([3, 1, 2]) AS ID, unnest([30, 10, 20]) AS y")
    return raw


def test_joined_to_the_columns_of_the_samples(long):
    relation = from_long(long.table("long"), row="id", feature="f", value="v", rows=long.table("samples"))
    assert relation.columns == ["y", "f", "v"]
    data = as_data(relation, "y", task="regression")
    X, y = whole(data)
    assert data.schema.encoding.terms == ("f[1]", "f[2]", "f[3]")
    np.testing.assert_array_equal(X, [[2, 0, 0], [1, 0, 2.5], [0, 0, 0]])
    assert y.tolist() == [10, 20, 30]


def test_features_by_name_become_a_map(long):
    relation = from_long(long.table("long"), row="id", feature="word", value="v", keep_row=True)
    assert relation.columns == ["id", "word"]
    data = as_data(relation, options={"exclude": ["id"]})
    found = dict(zip(data.schema.encoding.terms, whole(data)[0].T.tolist(), strict=True))
    assert found == {"word[a]": [2, 1], "word[c]": [0, 2.5]}


def test_mistakes_are_named(long):
    with pytest.raises(UnknownName, match="no feature column 'g' in the long table"):
        from_long(long.table("long"), row="id", feature="g", value="v")
    with pytest.raises(UnsupportedColumn, match=r"value column 'word' .* must be a number; it is VARCHAR"):
        from_long(long.table("long"), row="id", feature="f", value="word")
    with pytest.raises(InvalidData, match="both have a column 'f'"):
        from_long(long.table("long"), row="id", feature="f", value="v", rows=long.sql("SELECT 1 AS id, 2 AS f"))
