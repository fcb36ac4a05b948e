"""Texts: words of a column as terms, the same in training, in the scoring function and in plain SQL."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dbml_kernels.word_counts import words_count
from dbml_sql.features import Feature
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.naive_bayes import MultinomialNB as Peer

import dbml
from dbml import ComplementNB, LinearSVC, LogisticRegression, MultinomialNB, SGDClassifier
from dbml.data import word_learning
from dbml.data.word_counts import WordCounts
from dbml.data.words import WordCutter
from dbml.errors import InvalidParameter, UnknownName, UnsupportedColumn
from dbml.passes.dispatch import as_data

SPAM = Path(__file__).parent.parent.parent / "shared" / "data" / "sms_spam.parquet"

BODIES = [
    "Free prize! Call NOW, free.",
    "see you at lunch",
    "Größe und ÄRGER: naïve café, 東京 मुंबई",
    "it's 20_20 'quoted' \"twice\" x y",
    "",
    None,
    "prize prize prize lunch",
    "  \t\n;--' call\\now | free,café",
]


@pytest.fixture
def con():
    with dbml.connect(":memory:") as connection:
        yield connection


@pytest.fixture
def notes(con):
    con.execute("CREATE TABLE notes (body VARCHAR, n DOUBLE, label VARCHAR)")
    rows = [(BODIES[i % 8], float(i % 5), "spam" if i % 8 in (0, 6, 7) or i % 7 == 0 else "ham") for i in range(400)]
    con.executemany("INSERT INTO notes VALUES (?, ?, ?)", rows)
    return con


def test_words_are_counted_in_each_row():
    rng = np.random.default_rng(0)
    lengths = [0, 1, 2, 3, 700, 0, 40]
    bounds, codes = np.cumsum([0, *lengths]), rng.integers(-1, 60, size=sum(lengths))
    scale = rng.random(60)
    for array in (bounds, codes, scale):
        array.flags.writeable = False
    for weighting, name in enumerate(("count", "binary", "tfidf")):
        offsets, terms, values = np.empty(8, np.int32), np.empty(codes.size, np.int64), np.empty(codes.size)
        words_count(bounds[:-1], bounds[1:], codes, np.int64(weighting), scale, offsets, terms, values)
        for row, (start, stop) in enumerate(pairwise(bounds)):
            counted = np.bincount(codes[start:stop][codes[start:stop] >= 0], minlength=60).astype(float)
            expected = {"count": counted, "binary": np.minimum(counted, 1.0), "tfidf": counted * scale}[name]
            if name == "tfidf" and expected.any():
                expected = expected / np.linalg.norm(expected)
            found = slice(offsets[row], offsets[row + 1])
            assert terms[found].tolist() == np.flatnonzero(counted).tolist()
            np.testing.assert_allclose(values[found], expected[counted > 0], rtol=1e-12)


def test_texts_are_cut_as_duckdb_cuts_them():
    signs = [chr(code) for code in range(1, 0x2100)]
    texts = pa.array([f"{sign}ab{sign}{sign}CD_{sign}e{sign}9{sign} x" for sign in signs] + ["", None, "Z" * 300])
    lists = WordCutter().cut(texts)
    levels = tuple(sorted({word for words in lists.to_pylist() for word in words or ()}))
    counts = WordCounts(Feature("t", "VARCHAR", "text", levels=levels, width=len(levels)))
    codes = counts.pairs(texts)[0].to_pylist()
    number = {word: i for i, word in enumerate(levels)}
    expected = [sorted({number[word] for word in words or ()}) for words in lists.to_pylist()]
    assert codes == expected
    learner = word_learning.WordLearner()
    learner.add(texts)
    counted = dict(learner.counts())
    assert counted == Counter(word for words in lists.to_pylist() for word in set(words or ()))


def design(con, query, **options):
    """The encoding, and the rows that a training sees, all terms side by side."""
    with as_data(con.sql(query), "label", task="classification", options={"text": "body", **options}) as data:
        block = data.sample(10_000, 0)
        dense = np.zeros((block.n_rows, data.schema.encoding.n_terms))
        dense[:, : block.X.shape[1]] = block.X
        rows = np.repeat(np.arange(block.n_rows), np.diff(block.sparse.indptr))
        assert np.all(np.diff(block.sparse.indices)[np.diff(rows) == 0] > 0)  # ascending in a row, each once
        dense[rows, block.sparse.indices] = block.sparse.values
        return data.schema.encoding, dense, data.plan


VECTORIZERS = {
    "count": CountVectorizer(),
    "binary": CountVectorizer(binary=True),
    "tfidf": TfidfVectorizer(),
}


@pytest.mark.parametrize("weights", VECTORIZERS)
def test_terms_are_those_of_scikit_learn(notes, weights):
    texts = "SELECT coalesce(body, '') AS body, label FROM notes WHERE body IS NULL OR body NOT LIKE '%मुंबई%'"
    encoding, X, _ = design(notes, texts, text_weights=weights)
    vectorizer = VECTORIZERS[weights]
    expected = vectorizer.fit_transform([body for body, _ in notes.sql(texts).fetchall()]).toarray()
    words = [term.removeprefix("body[").removesuffix("]") for term in encoding.terms]
    assert sorted(words) == vectorizer.get_feature_names_out().tolist()
    places = [words.index(word) for word in vectorizer.get_feature_names_out()]
    np.testing.assert_allclose(X[:, places], expected, rtol=1e-12)


def test_marks_belong_to_their_letters(notes):
    encoding, _, _ = design(notes, "SELECT body, label FROM notes")
    assert {"body[मुंबई]", "body[東京]", "body[größe]", "body[naïve]", "body[20_20]"} <= set(encoding.terms)


def test_words_are_pruned_by_their_rows(notes):
    notes.execute("INSERT INTO notes VALUES ('once upon a time lunch', 1, 'ham')")
    encoding, _, plan = design(notes, "SELECT body, label FROM notes")
    assert "body[upon]" not in encoding.terms
    assert "words of body" in str(plan)
    every, _, _ = design(notes, "SELECT body, label FROM notes", text_min_rows=1)
    assert "body[upon]" in every.terms
    few, _, plan = design(notes, "SELECT body, label FROM notes", text_max_terms=3)
    assert few.terms == ("body[lunch]", "body[café]", "body[call]")  # 101 rows, then 100, by the alphabet
    assert "3 words of" in str(plan)


def test_words_that_outgrow_memory_are_counted_by_duckdb(notes, monkeypatch):
    notes.execute("""
        INSERT INTO notes SELECT 'word' || i % 1500 || CASE WHEN i % 5 = 0 THEN ' wörd' || i % 7 ELSE '' END, 1, 'ham'
        FROM range(4500) r(i)""")
    query = "SELECT body, label FROM notes"
    whole, _, _ = design(notes, query)
    assert whole.n_terms > 1500
    monkeypatch.setattr(word_learning, "_WORDS", 16)
    monkeypatch.setattr(word_learning, "_BYTES", 64)
    grown, _, _ = design(notes, query)
    assert grown == whole
    monkeypatch.setattr(word_learning, "_MOST_OTHERS", 5)
    spilled, _, _ = design(notes, query)
    assert spilled == whole


def test_hashed_words_share_buckets(notes):
    encoding, X, _ = design(notes, "SELECT body, label FROM notes", text_features="hashed", text_max_terms=8)
    assert encoding.n_terms == 8
    _, counted, _ = design(notes, "SELECT body, label FROM notes")
    np.testing.assert_array_equal(X.sum(axis=1), counted.sum(axis=1))
    ((bucket,),) = notes.sql("SELECT md5_number_lower('free') % 8").fetchall()
    row = np.flatnonzero(notes.sql("SELECT body FROM notes").fetchnumpy()["body"] == BODIES[0])[0]
    assert X[row, int(bucket)] >= 2


MODELS = {
    "MultinomialNB": ("count", "tfidf"),
    "ComplementNB": ("count",),
    "BernoulliNB": ("binary",),
    "logistic_reg": ("count", "tfidf"),
    "LinearSVC": ("binary",),
}
NASTY = [
    "",
    "FREE free fReE",
    "ünseen wörds",
    "x'); DROP TABLE notes; --",
    "café | 東京",
    "lunch" * 3,
    "prize\x1fcall\tnow",
]


@pytest.mark.parametrize(("kind", "weights"), [(kind, w) for kind, several in MODELS.items() for w in several])
@pytest.mark.parametrize("features", ["counted", "hashed"])
def test_three_ways_to_score_agree(notes, kind, weights, features):
    notes.execute(
        f"CREATE MODEL m OPTIONS (model_type = '{kind}', input_label_cols = ['label'], text = ['body'], "
        f"text_features = '{features}', text_weights = '{weights}', text_max_terms = 40) AS FROM notes"
    )
    notes.executemany("INSERT INTO notes VALUES (?, 2, NULL)", [(text,) for text in NASTY])
    model, rows = notes.load_model("m"), notes.sql("SELECT body, n FROM notes")
    labels = model.predict(rows.to_arrow_table())
    assert [row[0] for row in notes.sql("SELECT predict('m', t) FROM notes t").fetchall()] == labels.tolist()
    if model.form() is not None:
        native = notes.sql("SELECT ml.predict_m(body, n) FROM notes").fetchall()
        assert [row[0] for row in native] == labels.tolist()
    if kind != "LinearSVC":
        expected = model.predict_proba(rows.to_arrow_table())
        found = notes.sql("SELECT p.ham, p.spam FROM (SELECT predict_proba('m', t) AS p FROM notes t)").fetchall()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
        streamed = model.predict_proba(rows).fetchall()
        np.testing.assert_allclose([[p["prob"] for p in row[-1]] for row in streamed], expected, rtol=1e-9, atol=1e-12)


def test_many_words_are_looked_up_by_hash(con):
    words = [f"word{i}" for i in range(3000)]
    con.execute("CREATE TABLE t (body VARCHAR, label VARCHAR)")
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, 12)) for _ in range(900)]
    con.executemany("INSERT INTO t VALUES (?, ?)", [(text, "abc"[i % 3]) for i, text in enumerate(texts)])
    con.execute("CREATE MODEL m OPTIONS (model_type = 'MultinomialNB', text = ['body'], text_min_rows = 1) AS FROM t")
    model = con.load_model("m")
    assert model.schema_.encoding.n_terms > 2500
    expected = model.predict(con.sql("SELECT body FROM t").to_arrow_table()).tolist()
    assert [row[0] for row in con.sql("SELECT ml.predict_m(body) FROM t").fetchall()] == expected
    peer = CountVectorizer()
    assert (
        expected
        == Peer()
        .fit(peer.fit_transform(texts), model.classes_[np.arange(900) % 3])
        .predict(peer.transform(texts))
        .tolist()
    )


def test_weights_and_features_are_shown(notes):
    options = "model_type = 'MultinomialNB', input_label_cols = ['label'], text = ['body']"
    notes.execute(f"CREATE MODEL m OPTIONS ({options}) AS SELECT body, label FROM notes")
    words = notes.sql(
        "SELECT unnest(category_weights) AS w FROM ML.WEIGHTS(MODEL m) WHERE category_weights IS NOT NULL"
    )
    found = {row[0]["category"]: row[0]["weight"] for row in words.fetchall()}
    assert found["prize"] > 0 > found["see"]
    info = notes.sql("FROM ML.FEATURE_INFO(MODEL m)").fetchall()
    assert info[0][:4] == ("body", None, "VARCHAR", "text")
    assert len(found) in info[0]
    plan = str(notes.sql(f"EXPLAIN CREATE MODEL q OPTIONS ({options}) AS SELECT body, label FROM notes").fetchall())
    assert "words of body" in plan
    notes.execute("DROP MODEL m")
    assert notes.sql("SELECT count(*) FROM ml.text_features").fetchall() == [(0,)]


def test_a_model_of_texts_is_stored_whole(tmp_path):
    path = str(tmp_path / "m.duckdb")
    with dbml.connect(path) as con:
        con.execute(
            "CREATE TABLE notes AS SELECT unnest(?::VARCHAR[]) AS body, unnest(range(8)) % 2 AS label", [BODIES]
        )
        options = "model_type = 'logistic_reg', text = ['body'], text_weights = 'tfidf'"
        con.execute(f"CREATE MODEL m OPTIONS ({options}) AS FROM notes")
        expected = con.sql("SELECT predict_proba('m', body) FROM notes").fetchall()
        encoding = con.load_model("m").schema_.encoding
        (feature,) = encoding.features
        assert len(feature.scale) == feature.width == encoding.n_terms
    with dbml.connect(path, read_only=True) as con:
        assert con.load_model("m").schema_.encoding == encoding
        assert con.sql("SELECT predict_proba('m', body) FROM notes").fetchall() == expected


def test_free_text_is_refused_with_what_to_do(con):
    con.execute("CREATE TABLE t AS SELECT 'text number ' || i AS body, i % 2 AS label FROM range(200) r(i)")
    with pytest.raises(
        UnsupportedColumn, match=r"options=\{'text': \['body'\]\}, in SQL OPTIONS \(text = \['body'\]\)"
    ):
        LogisticRegression().fit(con.table("t"))


def test_bad_options(notes):
    rows = notes.sql("SELECT body, n, label FROM notes")
    cases = [
        ({"text": ["boddy"]}, UnknownName, "text column 'boddy'.*did you mean 'body'"),
        ({"text": ["n"]}, UnsupportedColumn, "text column 'n' must be VARCHAR; it is DOUBLE"),
        ({"text": 3}, InvalidParameter, "encoding option text must be a list of column names; got 3"),
        (
            {"text": ["body"], "text_weights": "idf"},
            InvalidParameter,
            "must be one of 'count', 'binary', 'tfidf'; got 'idf'",
        ),
        ({"text": ["body"], "text_features": 1}, InvalidParameter, "must be one of 'counted', 'hashed'; got 1"),
        ({"text": ["body"], "text_max_terms": 70_000}, InvalidParameter, "at most 65,536 for counted words"),
        ({"text": ["body"], "text_min_rows": 0}, InvalidParameter, "text_min_rows must be an integer >= 1; got 0"),
        ({"text_weights": "tfidf"}, InvalidParameter, "text_weights needs text: the columns"),
    ]
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            MultinomialNB().fit(rows, y="label", options=options)


def test_texts_in_portions_and_frames(notes):
    frame = notes.sql("SELECT body, label FROM notes").df()
    whole = ComplementNB().fit(frame, y="label", options={"text": "body"})
    parts = ComplementNB().partial_fit(frame, y="label", options={"text": "body"})
    parts.partial_fit(frame[:100], y="label").forget(frame[:100], y="label")
    np.testing.assert_array_equal(parts.feature_count_, whole.feature_count_)
    assert SGDClassifier().fit(frame, y="label", options={"text": "body"}).score(frame, y="label") > 0.8


@pytest.mark.skipif(not SPAM.exists(), reason="the shared tables are not here")
def test_spam_from_the_raw_column(con):
    con.execute(f"CREATE TABLE sms AS SELECT *, (row_number() OVER ()) % 5 AS part FROM '{SPAM}'")
    truth = [row[0] for row in con.sql("SELECT label FROM sms WHERE part = 0").fetchall()]
    for kind, weights in (("MultinomialNB", "count"), ("MultinomialNB", "binary"), ("logistic_reg", "tfidf")):
        extra = ", C = 100" if kind == "logistic_reg" else ""
        con.execute(
            f"CREATE OR REPLACE MODEL spam OPTIONS (model_type = '{kind}', input_label_cols = ['label'], "
            f"text = ['text'], text_weights = '{weights}'{extra}) AS SELECT label, text FROM sms WHERE part <> 0"
        )
        found = [row[0] for row in con.sql("SELECT predict('spam', text) FROM sms WHERE part = 0").fetchall()]
        assert f1_score(truth, found, pos_label="spam") >= (0.9 if kind == "logistic_reg" else 0.93)
    rows = con.sql("SELECT label, text FROM sms")
    assert LinearSVC().fit(rows, y="label", options={"text": "text"}).score(rows, y="label") > 0.99
