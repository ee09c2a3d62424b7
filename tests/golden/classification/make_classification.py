"""Metrics and logistic regressions by scikit-learn (pip install scikit-learn): writes metrics.json and logistic.json."""
import json
import pathlib

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, matthews_corrcoef, roc_auc_score
from sklearn.preprocessing import StandardScaler

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(7)


def metrics_case(name, truth, probabilities):
    n_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    areas = [roc_auc_score(truth == c, probabilities[:, c]) for c in range(1 if n_classes == 2 else 0, n_classes)
             if 0 < (truth == c).sum() < len(truth)]
    if n_classes == 3 and len(areas) == 3:
        both = roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
        assert abs(np.mean(areas) - both) < 1e-12
    return {
        "name": name, "truth": truth.tolist(), "probabilities": probabilities.tolist(),
        "accuracy": accuracy_score(truth, predicted), "macro_f1": f1_score(truth, predicted, average="macro"),
        "mcc": matthews_corrcoef(truth, predicted), "auroc": float(np.mean(areas)) if areas else None,
        "confusion": confusion_matrix(truth, predicted, labels=range(n_classes)).tolist(),
    }


def probabilities_for(truth, n_classes, signal, digits):
    """In steps of 10^-digits, so that scores tie; rows sum to 1."""
    scores = rng.normal(size=(len(truth), n_classes))
    scores[np.arange(len(truth)), truth] += signal
    p = np.exp(scores)
    p = np.round(p / p.sum(axis=1, keepdims=True), digits)
    p[:, 0] = 1 - p[:, 1:].sum(axis=1)
    return np.round(p, digits)


def metrics_cases():
    cases = []
    for name, n, n_classes, signal, digits in [("two classes, many ties", 200, 2, 0.7, 1), ("three classes", 150, 3, 1, 1),
                                               ("seven classes", 300, 7, 1.5, 3), ("worse than chance", 60, 2, -1, 6)]:
        truth = rng.integers(0, n_classes, n)
        cases.append(metrics_case(name, truth, probabilities_for(truth, n_classes, signal, digits)))
    truth = rng.integers(0, 3, 80)
    cases.append(metrics_case("a fourth class without examples", truth, probabilities_for(truth, 4, 1, 2)))
    truth = np.array([0, 1, 1, 0, 1])
    cases.append(metrics_case("one class predicted", truth, np.tile([0.3, 0.7], (5, 1))))
    cases.append(metrics_case("all right", truth, np.stack([1.0 - truth, truth], axis=1)))
    cases.append(metrics_case("all wrong", truth, np.stack([truth, 1.0 - truth], axis=1)))
    cases.append(metrics_case("one class there", np.zeros(4, dtype=int), np.array([[1.0, 0], [0, 1], [1, 0], [0.6, 0.4]])))
    return cases


def logistic_case(name, n, d, n_classes, c, constant=False):
    truth = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    centres = rng.normal(size=(n_classes, d))
    x = (centres[truth] * 0.5 + rng.normal(size=(n, d))) * 10.0 ** rng.integers(-3, 3, d) + rng.integers(-5, 5, d)
    if constant:
        x[:, 1] = 0.1
    # What remains of a value in f32, with few digits.
    x = np.array([[float(np.float32(f"{v:.5g}")) for v in row] for row in x])
    train = n * 2 // 3
    scaler = StandardScaler().fit(x[:train])
    z = scaler.transform(x)
    if constant:
        z[:, 1] = 0
    model = LogisticRegression(C=c, tol=1e-13, max_iter=1000000).fit(z[:train], truth[:train])
    return {
        "name": name, "train": train, "classes": n_classes, "C": c, "x": x.tolist(), "truth": truth.tolist(),
        "coefficients": model.coef_.tolist(), "intercepts": model.intercept_.tolist(),
        "probabilities": model.predict_proba(z).tolist(),
    }


def logistic_cases():
    return [logistic_case("two classes", 90, 5, 2, 1.0), logistic_case("a constant feature", 90, 5, 2, 10.0, True),
            logistic_case("fewer examples than features", 30, 40, 2, 0.3), logistic_case("three classes", 120, 4, 3, 1.0),
            logistic_case("strong", 90, 3, 4, 1e-3), logistic_case("weak", 90, 3, 3, 1e3)]


for file, cases in (("metrics.json", metrics_cases()), ("logistic.json", logistic_cases())):
    lines = ",\n".join(json.dumps(case) for case in cases)
    (here / file).write_text(f"[\n{lines}\n]\n")
