"""Metrics, logistic regressions and a probe by scikit-learn and h5py (pip install scikit-learn h5py): writes metrics.json,
logistic.json and, for the probe, probe.h5, probe.tsv and probe.json."""
import json
import pathlib

import h5py
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, matthews_corrcoef, roc_auc_score
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


def probe():
    """Embeddings in another order than the labels; the penalty is the best of half decades on the valid part."""
    n, d = 240, 8
    truth = rng.integers(0, 3, n)
    x = (rng.normal(size=(3, d))[truth] * 0.6 + rng.normal(size=(n, d))) * 10.0 ** rng.integers(-2, 3, d)
    x[:, 4] = 2.5
    x = x.astype(np.float32).astype(np.float64)
    z_of = lambda rows: (x[rows] - x[train].mean(axis=0)) / np.where(x[train].std(axis=0) > 0, x[train].std(axis=0), np.inf)
    part = np.array(["train"] * 130 + ["valid"] * 40 + ["test"] * 70)
    train, valid, test = (np.flatnonzero(part == p) for p in ("train", "valid", "test"))
    classes = np.array(["b cell", "ape", "<c>"])
    order = np.argsort(classes)
    fits = []
    for l2 in 10.0 ** np.arange(1, -5.1, -0.5):
        model = LogisticRegression(C=1 / (l2 * len(train)), tol=1e-12, max_iter=1000000).fit(z_of(train), truth[train])
        fits.append((log_loss(truth[valid], model.predict_proba(z_of(valid))), l2, model))
    _, l2, model = min(fits, key=lambda fit: fit[0])
    p = model.predict_proba(z_of(test))
    predicted = p.argmax(axis=1)
    shuffled = rng.permutation(n)
    with h5py.File(here / "probe.h5", "w", track_order=False) as file:
        file.create_dataset("embedding", data=x[shuffled], track_times=False)
        file.create_dataset("name", data=[f"s{i}" for i in shuffled], dtype=h5py.string_dtype(), track_times=False)
    rows = "".join(f"s{i}\t{classes[truth[i]]}\t{part[i]}\tg{i // 3 if part[i] == 'train' else i}\n" for i in range(n))
    (here / "probe.tsv").write_text("name\tlabel\tsplit\tfamily\n" + rows)
    (here / "probe.json").write_text(json.dumps({
        "accuracy": accuracy_score(truth[test], predicted), "mcc": matthews_corrcoef(truth[test], predicted),
        "auroc": roc_auc_score(truth[test], p, multi_class="ovr"),
        "macro_f1": f1_score(truth[test], predicted, average="macro"), "l2": [l2], "test": len(test), "classes": 3,
        "majority": float(np.mean(truth[test] == np.bincount(truth[train]).argmax())),
        "labels": classes[order].tolist(),
        "confusion": confusion_matrix(truth[test], predicted, labels=order).tolist()}) + "\n")


probe()
