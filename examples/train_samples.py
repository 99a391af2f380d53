"""Trains the two sample versions under registry/versions/ and measures them on held-out data.

    python -m pip install -r examples/requirements.txt
    python examples/train_samples.py            # writes registry/versions/1.0.0 and 1.1.0
    python examples/train_samples.py --check    # loads the existing versions and measures them again

The data set comes with scikit-learn; nothing is downloaded. The output is reproducible on the same kind of machine with
the same library versions: split, folds and models are seeded, the time stamp is an argument, and numerical libraries
use one thread. The registry refuses other bytes under a published version, so a changed sample needs a new version.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import warnings
from importlib.metadata import version as installed
from pathlib import Path

# Set before numpy is imported. With several threads, the order of additions changes the last bits of a sum.
for variable in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[variable] = '1'

import joblib
import numpy as np
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 20
HELD_OUT = 0.25
FOLDS = 5
VERSIONS = Path(__file__).resolve().parent.parent / 'registry' / 'versions'
# The packages needed to load a model and predict.
NEEDED = ('joblib', 'numpy', 'scikit-learn', 'scipy')


def logistic_regression():
    params = {'C': 1.0, 'max_iter': 1000}
    return make_pipeline(StandardScaler(), LogisticRegression(**params)), params


def random_forest():
    params = {'n_estimators': 40, 'max_depth': 8, 'random_state': SEED}
    return RandomForestClassifier(**params), params


SAMPLES = {
    '1.0.0': ('Standardised logistic regression', logistic_regression),
    '1.1.0': ('Random forest of 40 trees', random_forest),
}


def split(wine):
    """Returns x_train, x_held_out, y_train and y_held_out, stratified by class."""
    return train_test_split(wine.data, wine.target, test_size=HELD_OUT, stratify=wine.target, random_state=SEED)


def measure(model, x, y):
    probabilities = model.predict_proba(x)
    predicted = model.predict(x)
    return {
        'accuracy': round(float(accuracy_score(y, predicted)), 6),
        'f1_macro': round(float(f1_score(y, predicted, average='macro')), 6),
        'log_loss': round(float(log_loss(y, probabilities)), 6),
    }


def metadata(version, description, model, params, wine, metrics, created_at):
    _, x_held_out, _, _ = split(wine)
    return {
        'name': 'wine-cultivar',
        'version': version,
        'description': f'{description}: which of three cultivars a wine was made from, by chemical analysis',
        'created_at': created_at,
        'flavor': 'sklearn',
        'python_version': platform.python_version(),
        'sklearn_version': installed('scikit-learn'),
        'joblib_version': installed('joblib'),
        'metrics': metrics,
        'params': params,
        'tags': {'task': 'classification', 'estimator': type(model_of(model)).__name__, 'purpose': 'sample'},
        'lineage': {
            'dataset': {
                'name': 'wine',
                'source': 'sklearn.datasets.load_wine',
                'rows': len(wine.data),
                'sha256': hashlib.sha256(wine.data.tobytes() + wine.target.astype('int64').tobytes()).hexdigest(),
            },
            'trained_by': 'examples/train_samples.py',
        },
        'signature': {
            'inputs': [
                {'name': 'features', 'dtype': 'float64', 'shape': [-1, len(wine.feature_names)],
                 'columns': list(wine.feature_names)},
            ],
            'outputs': [
                {'name': 'cultivar', 'dtype': 'int64', 'shape': [-1], 'classes': wine.target_names.tolist()},
            ],
        },
        'example': {'features': x_held_out[:1].tolist(), 'cultivar': model.predict(x_held_out[:1]).tolist()},
    }


def training_metadata(version, model, wine, created_at):
    """Returns how the model was trained. A loader compares `environment` with its own before it opens the model."""
    x_train, x_held_out, y_train, y_held_out = split(wine)
    folds = StratifiedKFold(n_splits=FOLDS, shuffle=True, random_state=SEED)
    scores = cross_val_score(model, x_train, y_train, cv=folds, scoring='accuracy')
    return {
        'version': version,
        'trained_at': created_at,
        'environment': {'python': platform.python_version(), **{name: installed(name) for name in NEEDED}},
        'split': {
            'method': 'stratified',
            'seed': SEED,
            'train': {'rows': len(x_train), 'per_class': np.bincount(y_train).tolist()},
            'held_out': {'rows': len(x_held_out), 'per_class': np.bincount(y_held_out).tolist()},
        },
        'cross_validation': {
            'on': 'train',
            'folds': FOLDS,
            'accuracy': [round(float(score), 6) for score in scores],
            'mean': round(float(scores.mean()), 6),
        },
    }


def model_of(estimator):
    """Returns the last step of a pipeline, or the estimator itself."""
    return estimator.steps[-1][1] if hasattr(estimator, 'steps') else estimator


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + '\n', encoding='utf-8', newline='\n')


def train(output, created_at):
    wine = load_wine()
    x_train, x_held_out, y_train, y_held_out = split(wine)
    for version, (description, make) in SAMPLES.items():
        model, params = make()
        training = training_metadata(version, model, wine, created_at)
        model.fit(x_train, y_train)
        metrics = measure(model, x_held_out, y_held_out)
        folder = output / version
        folder.mkdir(parents=True, exist_ok=True)
        joblib.dump(model, folder / 'model.joblib', compress=('zlib', 9))
        write_json(folder / 'metadata.json',
                   metadata(version, description, model, params, wine, metrics, created_at))
        write_json(folder / 'training_metadata.json', training)
        pins = ''.join(f'{name}=={installed(name)}\n' for name in NEEDED)
        (folder / 'requirements.txt').write_text(pins, encoding='utf-8', newline='\n')
        print(f'{version}  {description}: accuracy {metrics["accuracy"]} on {len(y_held_out)} held-out rows')


def check(output):
    """Measures each stored model again; returns whether all results match the metadata."""
    warnings.simplefilter('error', InconsistentVersionWarning)
    wine = load_wine()
    _, x_held_out, _, y_held_out = split(wine)
    all_match = True
    for version in SAMPLES:
        claimed = json.loads((output / version / 'metadata.json').read_text(encoding='utf-8'))
        model = joblib.load(output / version / 'model.joblib')
        measured = measure(model, x_held_out, y_held_out)
        example = claimed['example']
        holds = (all(abs(measured[name] - value) <= 1e-6 for name, value in claimed['metrics'].items())
                 and model.predict(example['features']).tolist() == example['cultivar'])
        print(f'{version}  {"matches" if holds else "DOES NOT MATCH"}: {measured}')
        all_match = all_match and holds
    return all_match


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--output', type=Path, default=VERSIONS, help='the folder for the versions')
    parser.add_argument('--created-at', default='2026-11-22T00:00:00Z', help='RFC 3339, UTC')
    parser.add_argument('--check', action='store_true', help='do not train; measure the stored models again')
    arguments = parser.parse_args()
    if arguments.check:
        sys.exit(0 if check(arguments.output) else 1)
    train(arguments.output, arguments.created_at)


if __name__ == '__main__':
    main()
