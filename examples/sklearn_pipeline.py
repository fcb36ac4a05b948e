"""dbml's estimators are scikit-learn's: in a Pipeline, a grid search, a cross-validation.

python examples/sklearn_pipeline.py
"""

from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from dbml import Lasso, LogisticRegression

X, y = load_breast_cancer(return_X_y=True)
pipeline = make_pipeline(StandardScaler(), LogisticRegression())
accuracy = cross_val_score(pipeline, X, y, cv=5)
print(f"logistic regression, 5 folds: accuracy {accuracy.mean():.3f}")

X, y = load_diabetes(return_X_y=True)
search = GridSearchCV(
    make_pipeline(PolynomialFeatures(2, include_bias=False), StandardScaler(), Lasso()),
    {"lasso__alpha": [0.3, 1.0, 3.0]},
)
search.fit(X, y)
print(f"lasso: best alpha {search.best_params_['lasso__alpha']}, r2 {search.best_score_:.3f}")
