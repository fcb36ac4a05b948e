"""The rows, by family: who runs on which table, and what must hold."""

from __future__ import annotations

from benchmarks.contenders import Row
from benchmarks.rows import (
    bayes,
    clusters,
    components,
    factors,
    kernels,
    linear,
    neighbors,
    networks,
    scoring,
    startup,
    tree_scoring,
    trees,
)

ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        linear.LEAST_SQUARES,
        linear.LOGISTIC,
        linear.LASSO,
        linear.LINEAR_SVM,
        linear.WIDE_SCAN,
        linear.MEMORY,
        linear.SGD_SORTED,
        linear.LASSO_GRANTS,
        linear.LASSO_A9A,
        scoring.NATIVE,
        scoring.UDF,
        linear.RIDGE_PATH,
        linear.LASSO_CV,
        trees.BOOSTING,
        trees.QUALITY,
        trees.SPILLED,
        trees.FOREST,
        trees.GROWTH,
        trees.SHORT_GROWTH,
        clusters.KMEANS,
        clusters.MINI_BATCH,
        clusters.MIXTURE,
        clusters.MEMORY,
        tree_scoring.SCORING,
        tree_scoring.TREESHAP,
        factors.DICTIONARIES,
        factors.NONNEGATIVE,
        factors.RATINGS_EXPLICIT,
        factors.RATINGS_IMPLICIT,
        networks.MLP,
        networks.MLP_2M,
        kernels.EXACT,
        kernels.LARGE,
        components.PCA,
        components.PCA_WIDE,
        components.PCA_MEMORY,
        bayes.GAUSSIAN,
        bayes.TEXTS,
        neighbors.NEIGHBORS,
        startup.FIRST_FIT,
        startup.IMPORT_TIME,
    )
}
