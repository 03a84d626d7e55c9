"""Try an installed package: train, predict, save and load, with the data that it contains.

    python .ci/smoke.py

The script needs nothing but the package and its dependencies: no network, no extra. A wheel must
pass it before it is released (`nox -s wheel`).
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

import sklearn_meta
from sklearn_meta import FewShotTasks, HierarchicalRegressor, ProtoNetClassifier
from sklearn_meta.datasets import load_characters, load_gapminder
from sklearn_meta.nn import Conv4

print("sklearn_meta", sklearn_meta.__version__, "from", Path(sklearn_meta.__file__).parent)
folder = Path(tempfile.mkdtemp())

# Characters: a network that learns from some alphabets recognises the characters of others.
old, new = load_characters(subset="background"), load_characters(subset="evaluation")
train = FewShotTasks(old.images, old.target, n_way=5, n_query=5)
tests = FewShotTasks(new.images, new.target, n_way=5, n_query=5).sample(20, random_state=0)
steps = {"meta_lr": 0.003, "meta_batch_size": 1, "max_meta_iter": 60, "random_state": 0}
network = partial(Conv4, channels=16)
clf = ProtoNetClassifier(backbone=network, scaling=None, **steps).meta_fit(train)
accuracy = clf.score_tasks(tests).mean()
print(f"5-way 1-shot accuracy on other alphabets: {accuracy:.2f}")
assert accuracy > 0.4, "guessing has 0.2"
task = tests[0]
y_pred = clf.fit(task.X_support, task.y_support).predict(task.X_query)
clf.save(folder / "clf.skops")
same = sklearn_meta.load(folder / "clf.skops", backbone=network)
np.testing.assert_array_equal(same.predict(task.X_query), y_pred)

# Life expectancy: a model of other countries predicts Peru, before and after its first rows.
table = load_gapminder()
X, y = table.data[:, :1], table.target
is_new = table.country == "Peru"
reg = HierarchicalRegressor(basis="spline")
reg.meta_fit(X[~is_new], y[~is_new], table.country[~is_new])
X, y = X[is_new], y[is_new]
errors = []
for n_rows in (0, 5):
    reg.fit(X[:n_rows], y[:n_rows])
    errors.append(float(np.abs(reg.predict(X) - y).mean()))
print(f"mean error for Peru: {errors[0]:.1f} years, {errors[1]:.1f} after five rows")
assert errors[1] < errors[0]
reg.save(folder / "reg.skops")
same = sklearn_meta.load(folder / "reg.skops")
np.testing.assert_allclose(same.predict(X), reg.predict(X))
