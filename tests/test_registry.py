"""Models as rows: save, load, versions, aliases, damage, newer formats."""

import duckdb
import numpy as np
import pytest
from dbml_sql.features import Encoding, Feature

from dbml.errors import InvalidParameter, RegistryError, UnknownName
from dbml.estimators import discovery
from dbml.estimators.regressor import Regressor
from dbml.passes.plan import Plan
from dbml.passes.schema import Schema, Target
from dbml.registry import arrays, changes, plain_json, store, versions

FEATURES = (
    Feature("x", "DOUBLE", "number", fill=(1.5,), flag=True),
    Feature('o"dd name', "VARCHAR", "category", levels=("a", "é", "it's"), null_level=True, other_level=True),
    Feature("v", "FLOAT[3]", "vector", fill=(0.1, float("nan"), 1e300), width=3),
)


class Tiny(Regressor):
    """A model without a form, with one attribute of each kind that can be saved."""

    def __init__(self, alpha=1.0, shape=(3, 4)):
        self.alpha = alpha
        self.shape = shape


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(discovery.estimators(), "Tiny", Tiny)
    return make()


def make(seed=0, alpha=0.1):
    model = Tiny(alpha=alpha)
    model.schema_ = Schema(Encoding(FEATURES), Target("y", "DOUBLE"))
    model.plan_ = Plan("test")
    model.coef_ = np.random.default_rng(seed).normal(size=(2, 3))
    model.support_ = np.array([True, False])
    model.empty_ = np.zeros((0, 4), np.float32)
    model.intercept_ = 0.1 + seed
    model.path_ = [1.0, float("inf"), None, "é", (1, 2)]
    model.weights_ = {1: 2.0, "b": [3]}
    return model


def same(a, b):
    left, right = a.get_state(), b.get_state()
    assert repr(left.schema) == repr(right.schema)
    assert (left.kind, left.params, repr(left.attributes)) == (right.kind, right.params, repr(right.attributes))
    assert left.arrays.keys() == right.arrays.keys()
    for name, array in left.arrays.items():
        assert array.dtype == right.arrays[name].dtype and array.shape == right.arrays[name].shape
        assert array.tobytes() == right.arrays[name].tobytes(), name


def test_a_model_comes_back_bit_for_bit(raw, tiny):
    store.save_model(raw, "late", tiny)
    loaded = store.load_model(raw, "LATE")
    same(loaded, tiny)
    loaded.coef_[0, 0] = 7.0  # writable, a copy of its own


def test_versions_are_kept_and_the_last_one_is_current(raw, tiny):
    for seed in range(3):
        assert store.save_model(raw, "late", make(seed)).version == seed + 1
    assert store.load_model(raw, "late").intercept_ == 2.1
    assert store.load_model(raw, "late@2").intercept_ == 1.1
    assert raw.execute("SELECT name, version, versions FROM ml.models").fetchall() == [("late", 3, 3)]


def test_what_does_not_exist_is_named_with_what_does(raw, tiny):
    with pytest.raises(UnknownName, match=r"no model 'late' \(there are no models yet\)"):
        store.load_model(raw, "late")
    store.save_model(raw, "late", tiny)
    with pytest.raises(UnknownName, match=r"no model 'lat'; did you mean 'late'\? \(models: late\)"):
        store.load_model(raw, "lat")
    with pytest.raises(UnknownName, match=r"model 'late' has no version 7 \(versions: 1\)"):
        store.load_model(raw, "late@7")
    with pytest.raises(UnknownName, match=r"model 'late' has no alias 'best' \(it has no aliases\)"):
        store.load_model(raw, "late@best")


@pytest.mark.parametrize("name", ["", "  ", "a@b", None, 3])
def test_names_that_cannot_be(raw, tiny, name):
    with pytest.raises(InvalidParameter, match="a model's name must be a text that is not empty and has no '@'"):
        store.save_model(raw, name, tiny)


@pytest.mark.parametrize("name", ['x"; DROP TABLE y; --', "select", "a.b", "it's", "Größe 😀", "a b"])
def test_any_other_name_is_just_a_name(raw, tiny, name):
    raw.execute("CREATE TABLE y (i INTEGER)")
    store.save_model(raw, name, tiny)
    same(store.load_model(raw, name), tiny)
    assert raw.execute("SELECT count(*) FROM y").fetchall() == [(0,)]


def test_a_taken_name_without_replace(raw, tiny):
    store.save_model(raw, "late", tiny)
    with pytest.raises(RegistryError, match="there is a model 'late' already: CREATE OR REPLACE MODEL makes a new"):
        store.save_model(raw, "Late", tiny, replace=False)
    assert raw.execute("SELECT count(*) FROM ml.model_versions").fetchall() == [(1,)]


def test_a_model_that_is_dropped_while_it_is_loaded_is_not_damaged(raw, tiny, monkeypatch):
    store.save_model(raw, "late", tiny)

    def meanwhile(con, schema, keys, features):
        with raw.cursor() as other:
            changes.drop_model(other, "late")
        return features

    monkeypatch.setattr(store, "_with_texts", meanwhile)
    with pytest.raises(UnknownName, match="model 'late@1' was dropped by another connection"):
        store.load_model(raw, "late")


DAMAGE = {
    "bytes": ("UPDATE ml.arrays SET data = 'abc'::BLOB WHERE name = 'coef_'", "array 'coef_' is damaged: its bytes"),
    "dtype": ("UPDATE ml.arrays SET dtype = '|O' WHERE name = 'coef_'", "array 'coef_' is damaged: '|O' is not a type"),
    "no dtype": ("UPDATE ml.arrays SET dtype = 'os.system' WHERE name = 'coef_'", "'os.system' is no NumPy type"),
    "shape": ("UPDATE ml.arrays SET shape = [99, 3] WHERE name = 'coef_'", "takes 2376 bytes, there are 48"),
    "negative": ("UPDATE ml.arrays SET shape = [-2, -3] WHERE name = 'coef_'", r"\[-2, -3\] is no shape"),
    "missing": ("DELETE FROM ml.arrays WHERE name = 'coef_'", "is damaged: its rows in schema ml have the checksum"),
    "attribute": ("UPDATE ml.model_versions SET attributes = '{}'", "is damaged: its rows in schema ml"),
    "feature": ("UPDATE ml.features SET fill = [2.5] WHERE position = 0", "is damaged: its rows in schema ml"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_is_refused_and_named(raw, tiny, damage):
    store.save_model(raw, "late", tiny)
    statement, message = DAMAGE[damage]
    raw.execute(statement)
    with pytest.raises(RegistryError, match=message.replace("|", r"\|")) as error:
        store.load_model(raw, "late")
    assert "late@1" in str(error.value)


def test_damaged_json_is_refused_even_with_a_matching_checksum():
    for text in ("{", '{"a": ', '{"$tuple": 3}', '{"$float": "x"}', '{"$dict": [1]}'):
        with pytest.raises(RegistryError, match="model 'm' is damaged"):
            plain_json.load(text, "model 'm'")


def test_a_model_of_a_newer_dbml(raw, tiny):
    store.save_model(raw, "late", tiny)
    raw.execute("UPDATE ml.model_versions SET format = 99, dbml_version = '9.9'")
    with pytest.raises(RegistryError, match=r"'late@1' was saved by dbml 9.9 in format 99; .* reads up to format 1"):
        store.load_model(raw, "late")


def test_a_registry_of_a_newer_dbml(raw, tiny):
    store.save_model(raw, "late", tiny)
    raw.execute("INSERT INTO ml.migrations VALUES (99, '0099_future', '9.9', now()::TIMESTAMP)")
    with pytest.raises(RegistryError, match=r"made by dbml 9.9, number 99.*install dbml 9.9 or newer"):
        store.load_model(raw, "late")
    with pytest.raises(RegistryError, match=r"made by dbml 9\.9"):
        store.save_model(raw, "late", tiny)


def test_an_estimator_that_this_dbml_does_not_have(raw, tiny):
    store.save_model(raw, "late", tiny)
    discovery.estimators().pop("Tiny")
    with pytest.raises(RegistryError, match="'late@1' is a Tiny, which this dbml"):
        store.load_model(raw, "late")


def test_what_is_not_plain_data_cannot_be_saved(raw, tiny):
    tiny.helper_ = object()
    with pytest.raises(RegistryError, match=r"model 'late': attribute helper_ must be numbers, strings.*got object"):
        store.save_model(raw, "late", tiny)
    del tiny.helper_
    tiny.names_ = np.array(["a", None], dtype=object)
    with pytest.raises(RegistryError, match="names_ must be an array of numbers to be saved; got dtype object"):
        store.save_model(raw, "late", tiny)
    assert raw.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'ml'").fetchall() == [(0,)]


def test_the_users_own_tables_in_schema_ml_are_left_alone(raw, tiny):
    raw.execute("CREATE SCHEMA ml; CREATE TABLE ml.experiments AS SELECT 42 AS answer")
    store.save_model(raw, "late", tiny)
    assert raw.execute("FROM ml.experiments").fetchall() == [(42,)]
    same(store.load_model(raw, "late"), tiny)


def test_the_users_own_tables_in_the_way_are_named(raw, tiny):
    raw.execute("CREATE SCHEMA ml; CREATE TABLE ml.models (mine INTEGER); CREATE VIEW ml.weights AS SELECT 1 AS a")
    with pytest.raises(RegistryError, match="tables of yours have the names it needs there: models, weights"):
        store.save_model(raw, "late", tiny)
    assert raw.execute("FROM ml.models").fetchall() == []
    assert raw.execute("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'ml'").fetchall() == [(1,)]


def test_migrations_are_recorded_once(raw, tiny):
    store.save_model(raw, "late", tiny)
    store.save_model(raw, "late", tiny)
    rows = raw.execute("SELECT number, name, dbml_version FROM ml.migrations").fetchall()
    assert rows[0] == (1, "0001_registry", "0.1.0")
    assert len({number for number, _, _ in rows}) == len(rows)


def test_arrays_of_every_number_type_come_back():
    for dtype in ("?", "i1", "u1", "i4", "<i8", ">i8", "f2", "f4", "<f8", ">f8"):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        back = arrays.restore_array("m", arrays.store_array("m", "a", array))
        assert back.dtype == array.dtype.newbyteorder("=") and back.dtype.isnative
        assert np.array_equal(back, array)
    assert arrays.restore_array("m", arrays.store_array("m", "a", np.array(2.5))).shape == ()


def test_the_registry_belongs_to_the_current_database(raw, tiny):
    raw.execute("ATTACH ':memory:' AS other")
    store.save_model(raw, "late", tiny)
    raw.execute("USE other")
    with pytest.raises(UnknownName):
        store.load_model(raw, "late")
    store.save_model(raw, "other", tiny)
    assert versions.model_names(raw) == ["other"]
    raw.execute("USE memory")
    assert versions.model_names(raw) == ["late"]


def test_a_read_only_database_keeps_models_in_memory(database, tiny):
    with duckdb.connect(database) as con:
        store.save_model(con, "late", make(0))
    with duckdb.connect(database, read_only=True) as con:
        with pytest.warns(UserWarning, match="open read-only: models are kept in memory"):
            store.save_model(con, "new", make(1))
        store.save_model(con, "late", make(2))
        assert versions.model_names(con) == ["late", "new"]
        assert store.load_model(con, "late").intercept_ == 2.1
        assert store.load_model(con, "new").intercept_ == 1.1
    with duckdb.connect(database) as con:
        assert versions.model_names(con) == ["late"]
        assert store.load_model(con, "late").intercept_ == 0.1
