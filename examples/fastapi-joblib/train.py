"""Trains two versions of the model `wine` and publishes them."""

import json
import sys
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
from signalbox_registry import publish
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 20
VERSIONS = {
    "1.0.0": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "1.1.0": RandomForestClassifier(n_estimators=40, random_state=SEED),
}
# A pickle can be loaded by the minor releases that wrote it.
REQUIRES = {
    "python": f"~={sys.version_info.major}.{sys.version_info.minor}.0",
    "packages": {name: f"~={installed(name)}" for name in ("scikit-learn", "joblib")},
}


def main():
    wine = load_wine()
    x_train, x_test, y_train, y_test = train_test_split(wine.data, wine.target, stratify=wine.target, random_state=SEED)
    for version, model in VERSIONS.items():
        model.fit(x_train, y_train)
        rows = x_test[:5]
        golden = {"requests": [{"input": rows.tolist(), "output": model.predict_proba(rows).tolist()}]}
        with TemporaryDirectory() as folder:
            joblib.dump(model, Path(folder, "model.joblib"))
            Path(folder, "golden.json").write_text(json.dumps(golden))
            metrics = {"accuracy": float(model.score(x_test, y_test))}
            publish(folder, model="wine", version=version, flavor="sklearn", requires=REQUIRES, metrics=metrics)
        print(f"wine {version} is published: accuracy {metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main()
