"""Every parameter of every estimator is validated and has one role."""

import inspect
from dataclasses import dataclass

import numpy as np
import pytest

from sklearn_meta.algorithms import ProtoNet
from sklearn_meta.base import MetaClassifier
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.functional import cross_entropy, squared_euclidean
from sklearn_meta.outer.outer_loop import OuterLoop
from sklearn_meta.testing import all_estimators

EVERY = dict(all_estimators())
SHARED = set(OuterLoop.__dataclass_fields__)
BLOBS = make_blob_tasks(4, n_rows=10, n_features=4, random_state=0)
LINES = make_linear_tasks(4, n_features=4, random_state=0).tasks


class Nonsense:
    """What no parameter may be."""

    def __repr__(self):
        return "nonsense"


@pytest.mark.parametrize("cls", EVERY.values())
def test_bad_values_are_refused_by_name_and_change_nothing(cls):
    for name in cls().get_params().keys() - SHARED:
        est = cls(**{name: Nonsense()})
        before = dict(vars(est))
        tasks = BLOBS if est.target_type == "class" else LINES
        for call, arguments in ((est.meta_fit, (tasks,)), (est.fit, (tasks[0].X, tasks[0].y))):
            with pytest.raises(ValueError, match=f"{name!r} parameter of {cls.__name__} must be"):
                call(*arguments)
        assert vars(est) == before


@pytest.mark.parametrize("cls", EVERY.values())
def test_every_parameter_has_one_role_and_the_shared_ones_are_keyword_only(cls):
    roles = ("structural", "training", "adaptation", "runtime")
    names = [name for role in roles for name in cls().fingerprints(role)]
    assert sorted(names) == sorted(cls().get_params())
    signature = inspect.signature(cls)
    positional = [p.default for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert repr(cls(*positional)) == repr(cls())
    with pytest.raises(TypeError, match="positional argument"):
        cls(*positional, "mlp")


@pytest.mark.parametrize("cls", EVERY.values())
def test_numbers_and_bools_of_numpy_are_accepted(cls):
    tasks = BLOBS if cls.target_type == "class" else LINES
    for name, value in cls().get_params().items():
        if isinstance(value, (bool, int)) and name not in ("max_meta_iter", "verbose"):
            as_numpy = np.bool_(value) if isinstance(value, bool) else np.int64(value)
            cls(**{name: as_numpy}).check_parameters()
    if "chunk_size" in cls().get_params():
        small = {"hidden_layer_sizes": 2, "hidden_size": 2, "max_meta_iter": 1, "random_state": 0}
        theta = [
            cls(chunk_size=size, **small).meta_fit(tasks).theta_["head.bias"]
            for size in (7, np.int64(7))
            if cls.target_type == "real"
        ]
        assert all(np.array_equal(theta[0], other) for other in theta)


def test_a_subclass_may_redeclare_a_parameter():
    @dataclass(eq=False, repr=False)
    class Subclass(MetaClassifier):
        head: int = 3
        inner_steps: str = "many"
        learned_lr: float = 2.0

        def make_algorithm(self):
            return ProtoNet(cross_entropy, squared_euclidean)

    est = Subclass(hidden_layer_sizes=4, max_meta_iter=1, random_state=0).meta_fit(BLOBS)
    assert est.set_params(head=4).fit(BLOBS[0].X, BLOBS[0].y).score(BLOBS[0].X, BLOBS[0].y) > 1 / 3
