"""Every parameter of every estimator: checked at the door, and of one kind."""

import pytest

from sklearn_meta.core.shared_params import SharedParams
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.testing import all_estimators

EVERY = dict(all_estimators())
SHARED = set(SharedParams.__dataclass_fields__)
OWN = [
    pytest.param(cls, name, id=f"{cls.__name__}-{name}")
    for cls in EVERY.values()
    for name in cls().get_params()
    if name not in SHARED
]
BLOBS = make_blob_tasks(4, n_rows=10, n_features=4, random_state=0)
LINES = make_linear_tasks(4, n_features=4, random_state=0).tasks


class Nonsense:
    """What no parameter may be."""

    def __repr__(self):
        return "nonsense"


@pytest.mark.parametrize(("cls", "name"), OWN)
def test_nonsense_is_refused_by_name_and_nothing_changes(cls, name):
    est = cls(**{name: Nonsense()})
    before = dict(vars(est))
    tasks = BLOBS if est._target_type == "class" else LINES
    for call in (lambda: est.meta_fit(tasks), lambda: est.fit(tasks[0].X, tasks[0].y)):
        with pytest.raises(ValueError, match=f"{name!r} parameter of {cls.__name__} must be"):
            call()
    assert vars(est) == before


@pytest.mark.parametrize("cls", EVERY.values())
def test_parameters_are_structural_or_of_training_or_free(cls):
    names, structural, training = set(cls().get_params()), cls._structural, cls._training
    assert set(structural) | set(training) <= names
    assert not set(structural) & set(training)
    assert len(structural) == len(set(structural))
    assert len(training) == len(set(training))


@pytest.mark.parametrize("cls", EVERY.values())
def test_parameters_of_ones_own_may_be_given_by_place_the_shared_by_name(cls):
    with pytest.raises(TypeError, match="positional argument"):
        cls(*range(len(cls().get_params())))
