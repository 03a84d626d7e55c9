"""Errors and warnings of the package, each a kind of one a scikit-learn user already catches."""

from sklearn.exceptions import NotFittedError

__all__ = [
    "ColdFitWarning",
    "NewLabelsWarning",
    "NotMetaFittedError",
    "OneTaskWarning",
    "RankError",
    "SaveError",
    "ScaleWarning",
    "SkippedTaskWarning",
    "StaleMetaStateWarning",
    "TaskError",
    "TaskTypeError",
]


class ColdFitWarning(UserWarning):
    """`fit` without `meta_fit` trains a network from scratch on the support alone.

    That is a baseline, and rarely what is wanted. Where it is, ignore the warning:
    ``warnings.simplefilter("ignore", sklearn_meta.ColdFitWarning)``.
    """


class NewLabelsWarning(UserWarning):
    """A support has labels that no task of meta-training had, where tasks share their labels.

    Such a task is predicted by labels of its own, those of the support, and the prior tells nothing
    about them but the embedding. The message names the task and the labels.
    """


class NotMetaFittedError(NotFittedError):
    """Something was asked for that only `meta_fit` can provide.

    A :class:`sklearn.exceptions.NotFittedError` (so a `ValueError` and an `AttributeError`).
    """


class OneTaskWarning(UserWarning):
    """`meta_fit` has a single task, from which it cannot learn what tasks have in common.

    Parts of a collection that this package trains on by itself, such as the folds of
    :func:`~sklearn_meta.model_selection.compare`, may have one task without a warning.
    """


class RankError(RuntimeError):
    """Meta-training on several processes ended, because of what happened in another process.

    It raised an error, was killed, or did not answer. The message says which of these, and how to
    continue.
    """


class SaveError(ValueError):
    """A file that cannot be loaded, or an object that cannot be saved to one.

    The message names the file and says what is wrong with it.
    """


class TaskError(ValueError):
    """A task, or a collection of tasks, that no meta-learner can use.

    The message names the task by its position (and by its name, where it has one), the
    argument and the shapes involved.
    """


class TaskTypeError(TaskError, TypeError):
    """A :class:`TaskError` about values of a type for which scikit-learn raises `TypeError`."""


class ScaleWarning(UserWarning):
    """A support is far from the scale of the tasks of meta-training, perhaps in other units.

    The message says how far. Bring the task to the units of those of meta-training, or meta-train
    with ``scaling="task"``, which standardises each task by its own support.
    """


class SkippedTaskWarning(UserWarning):
    """Tasks that cannot be used were left out, because of ``unusable="skip"``.

    The message names the first of them with their reasons; estimators list all of them in
    `skipped_tasks_`.
    """


class StaleMetaStateWarning(UserWarning):
    """A meta-training parameter was changed after `meta_fit`, so it has no effect on `fit`.

    Call `meta_fit` again: a grid over that parameter with `fit` alone would compare identical
    learned priors.
    """
