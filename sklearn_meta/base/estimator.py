"""What every meta-learner is as a scikit-learn estimator."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from inspect import isclass, isfunction
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_meta._archive import loading, save_object, saving
from sklearn_meta._devices import check_dtype, resolve_device, torch_dtype
from sklearn_meta._warnings import warn
from sklearn_meta.base.module import FeatureModule, RowModule, module_dtype
from sklearn_meta.base.predict_tasks import (
    PredictedStack,
    Prediction,
    Prior,
    TaskPredictor,
    fixed_support,
    read_stacks,
    score_stacks,
)
from sklearn_meta.base.scoring import QueryScorer, metric_of, score_one_by_one
from sklearn_meta.base.state import (
    Adapted,
    check_adapted,
    check_meta_state,
    check_network_size,
    history_from_plain,
    meta_state_from_plain,
    plain_attributes,
)
from sklearn_meta.base.validation import (
    check_adds_rows,
    not_adapted,
    validate_like_prior,
    validate_rows,
    validate_support,
)
from sklearn_meta.exceptions import NotMetaFittedError, StaleMetaStateWarning, TaskError
from sklearn_meta.functional import LOSSES
from sklearn_meta.inner.algorithm import Algorithm, Criterion, Examples, draw_theta
from sklearn_meta.nn.backbone import RowNetwork
from sklearn_meta.outer.class_weights import ClassWeights
from sklearn_meta.outer.failures import (
    SUPPORT,
    Reason,
    check_converged,
    check_error_score,
    warn_of_cold_fit,
)
from sklearn_meta.outer.labels import WHY_ROWS, LabelSpace
from sklearn_meta.outer.memory import MemoryEstimate
from sklearn_meta.outer.outer_loop import OuterLoop
from sklearn_meta.outer.ranks import Ranks
from sklearn_meta.outer.state import (
    Arrays,
    MetaState,
    scaling_for,
    tensors_of,
    to_numpy,
    to_torch,
)
from sklearn_meta.outer.temperature import Temperature
from sklearn_meta.parameters import check_parameter, describe, option, parameters_of
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import Table, UsableTasks, usable_tasks

__all__ = ["BaseMetaLearner"]

A = TypeVar("A", bound=Algorithm)


@describe
@dataclass(eq=False, repr=False, kw_only=True)
class BaseMetaLearner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OuterLoop, ABC):
    """Base class of estimators with an outer loop, `meta_fit`, and an inner loop, `fit`.

    A subclass names the algorithm. This class ensures that `clone` keeps the learned prior, that
    an error leaves the estimator as it was, and that `predict` uses what was fitted.
    """

    _meta_state = cast("MetaState | None", None)

    # ---- hooks ---------------------------------------------------------------------------------

    @abstractmethod
    def make_scratch_algorithm(self) -> Algorithm:
        """Make the baseline for an estimator that was never meta-fitted.

        Returns
        -------
        Algorithm
            Which trains from scratch.
        """

    @abstractmethod
    def encode_targets(self, y: Any) -> Any:
        """Encode labels or targets as the numbers that the algorithm sees.

        Parameters
        ----------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            Labels or targets of a task.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
            One-hot labels, or targets.
        """

    def make_loss(self) -> Criterion:
        """Return the loss that the parameter `loss` names.

        Returns
        -------
        callable
            Maps outputs, targets and weights of rows to the losses of tasks.
        """
        loss: str | Criterion = self.loss  # which each kind of estimator declares
        return LOSSES[self.target_type][loss] if isinstance(loss, str) else loss

    def build(self, algorithm: type[A], **values: Any) -> A:
        """Make an algorithm whose fields have the names of parameters.

        Parameters
        ----------
        algorithm : type
            A dataclass. Its field `criterion` is the result of `make_loss`, and `head` that of
            `make_head`.
        **values : dict
            Fields that are no parameters, or have other values.

        Returns
        -------
        Algorithm
            With the hyper-parameters of this estimator, and the defaults of all other fields.
        """
        parameters = parameters_of(type(self))
        for name in [field.name for field in fields(algorithm) if field.init]:
            if name in values:
                continue
            if name == "criterion":
                values[name] = self.make_loss()
            elif name == "head":
                values[name] = self.make_head()
            elif name in parameters:
                value = getattr(self, name)
                values[name] = value.item() if isinstance(value, np.generic) else value
        return algorithm(**values)

    def remedy(self) -> str:
        """Name the parameters to change where adaptation diverges.

        Returns
        -------
        str
            A sentence for errors and warnings.
        """
        names = set(parameters_of(type(self))) - set(self.fingerprints("training"))
        lower = [name for name in ("inner_lr", "inner_steps") if name in names]
        scale = "bring the task to the scale of those of meta-training."
        return f"Lower {' or '.join(lower)}, or {scale}" if lower else scale.capitalize()

    # ---- meta-training and many tasks ------------------------------------------------------------

    def meta_fit(
        self,
        tasks: Any,
        y: Any = None,
        groups: Any = None,
        *,
        sample_weight: Any = None,
        validation_tasks: Any = None,
    ) -> BaseMetaLearner:
        """Outer loop: learn from many tasks how to learn from a few rows of a new one.

        Parameters
        ----------
        tasks : sequence of tasks, TaskDistribution, or table of shape (n_rows, ...)
            A sequence of :class:`~sklearn_meta.tasks.Task`, of `(X, y)`, or of
            `(X_support, y_support, X_query, y_query)`; a task distribution; or, with `y` and
            `groups`, the rows of all tasks. A sequence that is neither a list nor a tuple is read
            item by item (:class:`~sklearn_meta.tasks.LazyTasks` reads ahead).
        y : array-like of shape (n_rows,) or (n_rows, n_outputs), or column name(s), default=None
            Targets of a table, or the name of its target column, or a list of names.
        groups : array-like of shape (n_rows,) or column name(s), default=None
            The task of each row of a table, or the name of that column, or a list of names.
        sample_weight : array-like of shape (n_rows,) or column name, default=None
            The weight of each row of a table, or the name of that column. Tasks that are objects
            have their own: ``Task(X, y, sample_weight=...)``.
        validation_tasks : sequence of tasks, TaskDistribution or table, default=None
            Tasks to choose the best iterate by; needed for `early_stopping`. A table is a tuple
            (X, y, groups), or a DataFrame with the columns that `y`, `groups` and `sample_weight`
            name.

        Returns
        -------
        self : object
            With a learned prior, and without an earlier adaptation.

        Raises
        ------
        TaskError
            If a task cannot be used; the message names it. With ``unusable="skip"``, if none can.
        ValueError
            If a parameter is out of range.
        FloatingPointError
            If meta-training diverges.
        MemoryError
            If a single task of a meta-batch needs more memory than is free, or memory runs out.
        RankError
            If several processes train together, and another one fails.
        KeyboardInterrupt
            If interrupted before the first iteration; the estimator is then as it was.

        Warns
        -----
        OneTaskWarning
            If there is only one task, and no prior that ``warm_start=True`` continues from.

        Notes
        -----
        Interrupted later (Ctrl-C, or a callback that raises KeyboardInterrupt), it keeps the state
        reached (the best one, if there are validation tasks) and warns.

        In a process group of `torch.distributed`, or in processes that ``torchrun`` has started,
        all processes train one prior together (see docs/guide/scaling.md).
        """
        with self._unchanged_on_error(), Ranks.joined() as ranks:
            self.check_parameters()
            table = Table(tasks, y, groups, sample_weight)
            state, history, skipped = self._learn_prior(table, validation_tasks, ranks)
            self._clear_fit()
            self._meta_state = state
            self.history_ = history
            self.skipped_tasks_ = [task.entry for task in skipped]
        return self

    def estimate_memory(
        self,
        tasks: Any,
        y: Any = None,
        groups: Any = None,
        *,
        sample_weight: Any = None,
        validation_tasks: Any = None,
    ) -> MemoryEstimate:
        """Estimate the memory that `meta_fit` would need, by a trial on one and two of the tasks.

        Parameters
        ----------
        tasks : sequence of tasks, TaskDistribution, or table of shape (n_rows, ...)
            As for `meta_fit`.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs), or column name(s), default=None
            As for `meta_fit`.
        groups : array-like of shape (n_rows,) or column name(s), default=None
            As for `meta_fit`.
        sample_weight : array-like of shape (n_rows,) or column name, default=None
            As for `meta_fit`.
        validation_tasks : sequence of tasks, TaskDistribution or table, default=None
            As for `meta_fit`.

        Returns
        -------
        estimate : MemoryEstimate
            Bytes in all, of rows, of theta and its optimiser and of a chunk of a meta-batch, and
            how many tasks the chunk has; it prints as a sentence. Python, torch and the tasks that
            you hold are not in it.

        Raises
        ------
        TaskError
            If a task cannot be used.
        ValueError
            If a parameter is out of range.

        Notes
        -----
        The peak of one and of two tasks is measured, with two and three inner steps where there
        are more, and extended by straight lines. Nothing is learned: this estimator stays as it is.

        Examples
        --------
        >>> from sklearn_meta import MAMLRegressor
        >>> from sklearn_meta.datasets import make_sinusoid_tasks
        >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
        >>> estimate = MAMLRegressor(hidden_layer_sizes=16).estimate_memory(tasks)
        >>> estimate.total == estimate.rows + estimate.training + estimate.chunk
        True
        """
        self.check_parameters()
        with torch.inference_mode(False), torch.enable_grad():
            table = Table(tasks, y, groups, sample_weight)
            return self._estimate_memory(table, validation_tasks)

    def predict_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> list[NDArray[Any]]:
        """Adapt to the support of each task and predict its query, many tasks at a time.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support. Their `y` has an entry for each query row too, of any label of
            the support or any number; it is not looked at. Any sequence that is no list or tuple
            is read item by item, and never held as a whole.
        error_score : "raise" or float, default=np.nan
            What to do about a task that cannot be used (NaN, other features than in meta-training,
            no fixed support, unknown labels) or on which adapting diverges. With a number, its
            predictions are missing, and a warning names it; the other tasks are predicted.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            Predicted labels or targets, in the order of the tasks. Missing ones are NaN for
            targets, and None for labels.

        Raises
        ------
        TaskError
            If `tasks` is no sequence of tasks, or none of them can be used; with "raise", if one
            of them cannot.
        FloatingPointError
            If adapting diverges, and `error_score` is "raise".
        """
        check_error_score(error_score, "predict_tasks")
        stacks = self._predictor(error_score).predict(tasks)
        return read_stacks(stacks, lambda stack: stack.predictions(), error_score)

    def predict_tasks_with_proba(self, tasks: Any) -> list[Prediction]:
        """Predict many tasks as `predict_tasks` does, and return probabilities, too.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support.

        Returns
        -------
        predictions : list of (ndarray, ndarray or None, ndarray or None)
            Predicted labels, their probabilities, and the labels of the columns of these, in sorted
            order. Where adapting failed, probabilities are NaN. Of a regressor, targets, None and
            None.
        """

        def read(stack: PredictedStack) -> Iterator[Prediction]:
            parts = stack.predictions(), stack.probabilities(), stack.classes()
            return map(Prediction, *parts)

        return read_stacks(self._predictor(np.nan).predict(tasks), read, np.nan)

    def score_tasks(
        self, tasks: Any, *, scoring: Any = None, error_score: Any = np.nan
    ) -> NDArray[np.float64]:
        """Adapt to the support of each task and score its query, many tasks at a time.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support; for R^2, at least two query rows. Rows of the query count by
            their weights, if a task has any. Any sequence that is no list or tuple is read item by
            item, and never held as a whole.
        scoring : str, callable or None, default=None
            None: accuracy, or R^2 of a regressor. A name of one of scikit-learn's scorers, such as
            "roc_auc", or a callable ``(estimator, X, y) -> float``. A callable gets a copy that is
            adapted to one task after the other, and no weights of rows; all tasks are then held.
        error_score : "raise" or float, default=np.nan
            The score of a task that cannot be used (as in `predict_tasks`; for R^2, also with a
            single query row), on which adapting diverges, or whose query has no score, such as a
            ROC AUC of rows with one label; a warning names it. "raise" makes it an error.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Of each task.

        Raises
        ------
        TaskError
            If `tasks` is no sequence of tasks, or none of them can be used; with "raise", if one
            of them cannot. Also if the scorer fails on all tasks.
        FloatingPointError
            If adapting diverges, and `error_score` is "raise".
        """
        check_error_score(error_score, "score_tasks")
        metric = metric_of(scoring, self.target_type == "class")
        if not metric.is_named:
            usable = self._usable_tasks(tasks, error_score)
            return score_one_by_one(self, usable, [metric], error_score)[:, 0]
        min_query = 2 if metric.name == "r2" else 1
        stacks = self._predictor(error_score, min_query).predict(tasks)
        scorer = QueryScorer(metric, error_score)
        scores = score_stacks(
            stacks,
            lambda stack: stack.scores() if metric.is_default else scorer.score_stack(stack),
            error_score,
        )
        scorer.report(len(scores))
        return scores

    def predict_stacks(self, tasks: Any) -> Iterator[PredictedStack]:
        """Predict many tasks in stacks, with their logits or means.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support, as for `predict_tasks`.

        Returns
        -------
        iterator of PredictedStack
            All tasks, in any order.

        Raises
        ------
        TaskError
            If a task cannot be used, or has no fixed support.
        """
        return self._predictor("raise").predict(tasks)

    def _usable_tasks(self, tasks: Any, error_score: Any) -> UsableTasks:
        """Return tasks that are adapted to one by one; with a number as `error_score`, some."""
        skip = error_score != "raise"
        unusable = "skip" if skip else "raise"
        usable = usable_tasks(tasks, target_type=self.target_type, unusable=unusable)

        def check(task: Task, i: int) -> None:
            if self._meta_state is not None:
                self._meta_state.check_task(task, i, type(self).__name__)
            fixed_support(task, i)

        usable.keep(check, skip=skip)
        return usable

    def _predictor(self, error_score: Any, min_query: int = 1) -> TaskPredictor:
        """Return what predicts many tasks; with a number as `error_score`, it skips some."""
        self.check_state()
        labels = self.label_space
        return TaskPredictor(
            make_prior=self.make_prior,
            state=self._meta_state,
            target_type=self.target_type,
            device=resolve_device(self.device),
            max_tasks=self.task_chunk_size,
            label_space=labels,
            class_weights=self._class_weights,
            encode_targets=self.encode_targets,
            owner=type(self).__name__,
            remedy=self.remedy,
            skip=error_score != "raise",
            min_query=min_query,
        )

    def transform(self, X: Any) -> NDArray[Any]:
        """Embed rows by the backbone, adapted to the support of the last `fit`.

        Without a `fit`, the learned prior embeds them. So a meta-fitted estimator is a transformer
        in a :class:`sklearn.pipeline.Pipeline`, whose `fit` adapts it.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features), or (n_rows, ...)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_rows, n_features_out)
            The features that the output layer or the prototypes see, or a DataFrame after
            `set_output`.

        Raises
        ------
        NotFittedError
            If the estimator is neither meta-fitted nor fitted, or only meta-fitted with
            ``scaling="task"``, which standardises rows by a support.
        """
        est = self if self.__sklearn_is_fitted__() else self._unadapted()
        return est._adapted.features(*est._validate_query(X))

    def to_module(self, method: str = "predict", *, dtype: str = "float32") -> RowModule:
        """Return a torch module that computes the predictions or features of rows.

        All its numbers are buffers, so that :func:`torch.export.export` takes it.
        :func:`sklearn_meta.export.to_onnx` writes it to a file.

        Parameters
        ----------
        method : {"predict", "transform"}, default="predict"
            What to compute: the predictions of the adapted model, or the features of `transform`.
        dtype : {"float32", "float64"}, default="float32"
            The type of rows, weights and outputs. Gaussian processes compute in float64 inside.

        Returns
        -------
        module : torch.nn.Module
            Maps rows of shape (n_rows, ...) to a tuple of tensors, whose names are
            `module.output_names`. "predict" of a classifier computes "index", the position of the
            predicted label in `classes_`, and "probabilities". That of a regressor computes
            "prediction", and "std" if it has a predictive distribution. "transform" computes
            "features".

        Raises
        ------
        NotFittedError
            If the estimator is not fitted. "transform" does with `meta_fit`, as the method.

        Examples
        --------
        >>> import torch
        >>> from sklearn_meta import ProtoNetClassifier
        >>> from sklearn_meta.datasets import make_blob_tasks
        >>> tasks = make_blob_tasks(12, n_shot=2, random_state=0)
        >>> clf = ProtoNetClassifier(hidden_layer_sizes=8, max_meta_iter=10, random_state=0)
        >>> module = clf.meta_fit(tasks[:10]).to_module("transform")
        >>> (features,) = module(torch.tensor(tasks[10].X_query, dtype=torch.float32))
        >>> module.output_names, features.shape
        (('features',), torch.Size([54, 8]))
        """
        check_parameter("method", method, option("predict", "transform"), "to_module")
        if method == "transform":
            est = self if self.__sklearn_is_fitted__() else self._unadapted()
            return FeatureModule(est._adapted, module_dtype(dtype))
        check_is_fitted(self, msg=not_adapted(self.meta_state is not None))
        return self._prediction_module(module_dtype(dtype))

    @abstractmethod
    def _prediction_module(self, dtype: torch.dtype) -> RowModule:
        """Return the module of the adapted model."""

    @property
    def _n_features_out(self) -> int:  # which ClassNamePrefixFeaturesOutMixin asks for
        est = self if self.__sklearn_is_fitted__() else self._unadapted()
        n_features_out: int = est._adapted.backbone.n_features_out
        return n_features_out

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, learned prior and last adaptation to a file.

        :func:`sklearn_meta.load` reads it on any machine, and predicts the same to the last bit.
        The file holds no code, and is written whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike
            The file; it is replaced if it exists.

        Raises
        ------
        SaveError
            If something cannot be saved: an attribute that a class of your own has learned and
            that is not plain data, a parameter for another network than that of the prior, or a
            network for rows of more than 2**22 values that is no MLP.

        Notes
        -----
        Parameters that are code, such as a network as `backbone`, are not in the file: `load` asks
        for them. The numbers of the network are in the file, those of frozen layers as well.
        Callbacks, `checkpoint_dir` and a generator as `random_state` are left out with a warning,
        and are None in the loaded estimator.
        """
        save_object(self, path)

    def share_prior(self, path: str | os.PathLike[str]) -> BaseMetaLearner:
        """Write the learned prior to a file that worker processes read, instead of receiving it.

        A search sends its estimator to a worker with each candidate. After this call, pickles of
        the estimator and of its clones name the file instead of containing the prior. Each process
        reads the file once and maps it into memory. This pays for a prior of many megabytes.

        Parameters
        ----------
        path : str or os.PathLike
            The file, which is replaced if it exists. All workers must see it under this path, and
            it must stay as long as they, or pickles of this estimator, are used. To keep a prior,
            use `save`.

        Returns
        -------
        self : object
            This estimator.

        Raises
        ------
        NotMetaFittedError
            If the estimator is not meta-fitted.

        Examples
        --------
        >>> import pickle, tempfile
        >>> from pathlib import Path
        >>> from sklearn_meta import ProtoNetClassifier
        >>> from sklearn_meta.datasets import make_blob_tasks
        >>> clf = ProtoNetClassifier(hidden_layer_sizes=200, max_meta_iter=2, random_state=0)
        >>> clf = clf.meta_fit(make_blob_tasks(12, n_shot=2, random_state=0))
        >>> size = len(pickle.dumps(clf))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf = clf.share_prior(Path(folder) / "prior.joblib")
        ...     len(pickle.dumps(clf)) < size / 10
        True
        """
        self._meta_state = self._learned_state().shared(path)
        return self

    @property
    def meta_state(self) -> MetaState | None:
        """The learned prior; None before `meta_fit`."""
        return self._meta_state

    @property
    def label_space(self) -> LabelSpace:
        """The labels that a new task may have; any before `meta_fit`."""
        state = self._meta_state
        if state is None:
            return LabelSpace()
        return self._labels_of(state)

    @property
    def theta_(self) -> Mapping[str, NDArray[Any]]:
        """Learned meta-parameters by name, read-only arrays; raises without a `meta_fit`."""
        return self._learned_state().theta

    def _learned_state(self) -> MetaState:
        if self._meta_state is None:
            raise NotMetaFittedError(
                f"This {type(self).__name__} is not meta-fitted yet. Call meta_fit(tasks) first."
            )
        return self._meta_state

    @property
    def phi_(self) -> Mapping[str, NDArray[Any]]:
        """What the last `fit` adapted, by name, read-only arrays; raises without a `fit`."""
        check_is_fitted(self, msg=not_adapted(self.meta_state is not None))
        return Arrays(self._adapted.parameters())

    def reset_meta(self) -> BaseMetaLearner:
        """Forget the learned prior, and the adaptation with it.

        Returns
        -------
        self : object
            As if newly made with the same parameters.
        """
        self._clear_fit()
        if self._meta_state is not None:
            del self._meta_state  # of the object: the class has None
        return self

    def check_state(self) -> None:
        """Check all parameters, and that those of the learned prior are unchanged.

        Raises
        ------
        ValueError
            If a parameter is out of range, or a structural one was changed since `meta_fit`.

        Warns
        -----
        StaleMetaStateWarning
            If a parameter of meta-training was changed since.
        """
        self.check_parameters()
        state = self._meta_state
        if state is None:
            return
        self.check_structure(state)
        values = self.fingerprints("training")
        changed = [
            name for name, value in values.items() if value != state.training.get(name, value)
        ]
        if changed:
            warn(
                f"{', '.join(map(repr, changed))} changed since meta_fit and has no effect on fit; "
                "call meta_fit again.",
                StaleMetaStateWarning,
            )

    def make_prior(
        self, row_shape: tuple[int, ...], n_outputs: int, *, new_labels: bool = False
    ) -> Prior:
        """Make the algorithm and the network, with the learned theta or a cold start.

        Parameters
        ----------
        row_shape : tuple of int
            Shape of a row of X.
        n_outputs : int
            Number of outputs of a cold start.
        new_labels : bool, default=False
            Whether the task has other labels than those that tasks share.

        Returns
        -------
        Prior
            The algorithm, the network and theta.
        """
        state = self._meta_state
        if state is not None:
            backbone, key = self.backbone, None
            if isinstance(backbone, str) or isfunction(backbone) or isclass(backbone):
                key = type(self), row_shape, backbone  # `check_state` compares what is structural
            f = state.network(
                key, lambda: self._make_network(row_shape, state.theta, state.constants)
            )
            algorithm = self._algorithm_for(state.shared_labels, new_labels=new_labels)
            return Prior(algorithm, f, state.theta)
        seed = self.draw_seed()
        f = self.make_backbone(row_shape, seed)
        scratch = self.make_scratch_algorithm()
        theta = draw_theta(scratch, f, n_outputs, seed)
        return Prior(scratch, f, Arrays(to_numpy(theta)))

    def __sklearn_clone__(self) -> BaseMetaLearner:
        twin: BaseMetaLearner = super().__sklearn_clone__()
        if self._meta_state is not None:
            twin._meta_state = self._meta_state
        return twin

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_adapted")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = self._allow_nd()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # ---- the steps of fit and predict ------------------------------------------------------

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        before = dict(vars(self))
        try:  # the caller may have gradients off; both loops need them
            with torch.inference_mode(False), torch.enable_grad():
                yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _validate_support(
        self, X: Any, y: Any, *, reset: bool = True
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Validate parameters and support, and compare both with the learned prior.

        With `reset`, X sets the features of the estimator; otherwise it must have the same.
        """
        self.check_state()
        state, kind = self._meta_state, self.target_type
        # without rows, the prediction is that of the prior, if it has one
        has_prediction = state is not None and (kind == "real" or state.shared_labels)
        least = 1 if state is None else 0
        X, y = validate_support(
            self, X, y, allow_nd=self._allow_nd(), kind=kind, least=least, reset=reset
        )
        if len(y) == 0 and not has_prediction:
            raise TaskError(f"X of shape {X.shape} {WHY_ROWS}")
        return validate_like_prior(self, X, state), y

    def _has_update(self) -> bool:
        """Return whether there is a `partial_fit`; raise an error before `meta_fit`."""
        has_prior = self.theta_ is not None
        self.check_parameters(device=False)
        return has_prior and type(self.make_algorithm()).update is not Algorithm.update

    def _validate_more(self, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any], Adapted | None]:
        """Validate rows that are added to a support, and return the fit of the earlier ones."""
        earlier: Adapted | None = vars(self).get("_adapted")
        X, y = self._validate_support(X, y, reset=earlier is None)
        return X if earlier is None else X.astype(earlier.dtype, copy=False), y, earlier

    def _adapt(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        class_weights: ClassWeights | None = None,
        *,
        new_labels: bool = False,  # other labels than those that tasks share
        earlier: Mapping[str, NDArray[Any]] | None = None,
    ) -> Adapted:
        """Run the inner loop on validated arrays; y of shape (n_rows, n_outputs).

        `earlier` is None in `fit`, and the phi of earlier rows, if there are any, in `partial_fit`.
        """
        state, device = self._meta_state, resolve_device(self.device)
        if state is None:
            warn_of_cold_fit(type(self).__name__, len(X))
        check_dtype(device, X.dtype)
        if not weight.all():
            X, y, weight = (values[weight > 0] for values in (X, y, weight))
        if len(X) == 0:  # a row of padding, which has no weight
            X = np.zeros((1, *X.shape[1:]), X.dtype)
            y, weight = np.zeros((1, y.shape[1]), y.dtype), np.zeros(1)
        dtype = torch_dtype(X.dtype)
        targets = y if self.target_type == "real" else None
        scaling = scaling_for(state, X, targets, weight)
        algorithm, f, theta = self.make_prior(X.shape[1:], y.shape[1], new_labels=new_labels)
        if earlier is not None:
            balanced = class_weights is not None and class_weights.of_column is None
            by_task = state is not None and state.by_task
            check_adds_rows(by_task=by_task, transductive=f.transductive, balanced=balanced)
        if f.transductive and not weight.any():
            raise ValueError(
                "Batch statistics (norm='batch', or BatchNorm in a backbone of your own) are those "
                "of the rows of a support, which has none."
            )
        support = Examples(
            torch.tensor(scaling.inputs(X), device=device),
            torch.tensor(y if targets is None else scaling.targets(y), device=device, dtype=dtype),
            torch.tensor(weight, device=device, dtype=dtype),
        )
        if class_weights is not None:
            support = class_weights(support)
        start = tensors_of(theta, device, dtype)
        if earlier:
            phi = algorithm.update(f, start, to_torch(earlier, device, dtype), support)
        else:
            phi = algorithm.adapt(f, start, support)
        stacked = None if targets is None else targets[None]
        far = {} if state is None else state.scale_departures(X[None], stacked, weight[None])
        off_scale = {i: Reason(SUPPORT, why) for i, why in far.items()}
        check_converged(algorithm, f, start, phi, support, [SUPPORT], self.remedy, off_scale)
        temperature = self._temperature(new_labels)
        params = self._params()
        return Adapted(algorithm, f, theta, to_numpy(phi), scaling, X.dtype, params, temperature)

    def _temperature(self, new_labels: bool) -> Temperature | None:
        """Return the temperature of class probabilities, which holds for known labels only."""
        return None if self._meta_state is None or new_labels else self._meta_state.temperature

    def _class_weights(
        self, labels: Sequence[NDArray[Any]], new_labels: bool
    ) -> ClassWeights | None:
        """Return the weights of classes in tasks with these labels; a regression has none."""
        return None

    def _predict_outputs(self, X: Any) -> NDArray[np.float64]:
        """Return logits, or means in the units of the network, of shape (n_rows, n_outputs)."""
        check_is_fitted(self, msg=not_adapted(self.meta_state is not None))
        return self._adapted.outputs(*self._validate_query(X))

    def _validate_query(self, X: Any) -> tuple[Any, torch.device]:
        """Return query rows in the dtype of the support, and where to compute."""
        row_shape, dtype = self._adapted.backbone.row_shape, self._adapted.dtype
        X = validate_rows(self, X, dtype, allow_nd=len(row_shape) > 1)
        if X.shape[1:] != row_shape:
            raise ValueError(
                f"X has rows of shape {X.shape[1:]}, but {type(self).__name__} was fitted with "
                f"rows of shape {row_shape}."
            )
        device = resolve_device(self.device)
        check_dtype(device, dtype)
        return X, device

    def _unadapted(self) -> BaseMetaLearner:
        """Return a copy that has the learned prior in place of an adaptation."""
        state = self._meta_state
        if state is None:
            raise NotFittedError(
                f"This {type(self).__name__} is neither meta-fitted nor fitted yet. Call "
                "meta_fit(tasks) or fit(X, y) first."
            )
        if state.by_task:
            raise NotFittedError(
                f"This {type(self).__name__} is not fitted yet, and with scaling='task' rows are "
                "standardised by a support. Call fit(X, y) first."
            )
        self.check_state()
        twin = copy.copy(self)
        algorithm, f, theta = self.make_prior(state.row_shape, state.n_targets)
        dtype = next(iter(theta.values())).dtype
        twin._adapted = Adapted(algorithm, f, theta, {}, state.scaling, dtype, self._params())
        twin.n_features_in_ = state.row_shape[0]
        if state.feature_names is not None:
            twin.feature_names_in_ = np.array(state.feature_names, dtype=object)
        return twin

    def _make_network(
        self,
        row_shape: tuple[int, ...],
        theta: Mapping[str, NDArray[Any]],
        constants: Mapping[str, NDArray[Any]],
    ) -> RowNetwork:
        f = self.make_backbone(row_shape, 0)  # the seed only matters to weights that are replaced
        self.check_backbone(f, theta)
        f.set_constants(to_torch(constants, torch.device("cpu")))
        return f

    def _allow_nd(self) -> bool:
        return not (isinstance(self.backbone, str) and self.backbone == "mlp")

    def _params(self) -> dict[str, Any]:  # `get_params` takes a tenth of the time of a fit
        return {name: getattr(self, name) for name in parameters_of(type(self))}

    def _clear_fit(self) -> None:
        for name in [name for name in vars(self) if name.endswith("_") or name == "_adapted"]:
            delattr(self, name)

    # ---- pickles and files: plain data, from which parameters make the network again ------------

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "_adapted" in state:
            state["_adapted"] = self._adapted.to_plain(self._params(), self._meta_state)
        session = saving()
        if session is None:
            return state
        self.check_parameters(device=False)
        if self._meta_state is not None:
            self._check_network_of(self._meta_state)  # as `load` does
        return session.without_code(type(self), plain_attributes(state))

    def __setstate__(self, state: dict[str, Any]) -> None:
        session, params = loading(), dict[str, Any]()
        if session is not None:
            state, params = session.with_code(type(self), state)
        super().__setstate__(state)
        if session is not None:  # else it is a pickle, which is trusted
            self._check_loaded(state)
        if "_adapted" in state:
            self._adapted = self._adapted_from_plain(state["_adapted"])
            if session is not None:
                check_adapted(self._adapted, vars(self), self.target_type)
        self.set_params(**params)

    def _check_loaded(self, state: dict[str, Any]) -> None:
        """Check the parameters, history and prior of a file, and set the latter two."""
        self.check_parameters(device=False)
        if self.device != "auto":
            torch.device(self.device)  # it need not be on this machine
        if "history_" in state:
            self.history_ = history_from_plain(state["history_"])
        prior = state.get("_meta_state")
        if prior is None:
            return
        if not isinstance(prior, MetaState):
            defaults = self.fingerprints("structural"), self.fingerprints("training")
            prior = meta_state_from_plain(prior, *defaults)
        self._check_network_of(prior)
        f = self._make_network(prior.row_shape, prior.theta, prior.constants)
        algorithm = self._algorithm_for(prior.shared_labels)
        check_meta_state(prior, self.target_type, algorithm, f)
        self._meta_state = prior

    def _adapted_from_plain(self, plain: Mapping[str, Any]) -> Adapted:
        """Make the algorithm and the network of a fit again, from the parameters of that fit."""
        prior, row_shape = self._meta_state, plain["row_shape"]
        theta = Arrays(plain["theta"]) if prior is None else prior.theta
        twin = type(self)(**{**self._params(), **plain["params"]})
        if loading() is not None:
            twin.check_parameters(device=False)
            check_network_size(twin._structural(), row_shape, theta)
        temperature = None
        if prior is not None:
            twin._meta_state = prior
            classes = vars(self).get("classes_")  # of a classifier
            are_new = classes is not None and self.label_space.are_new(classes)
            algorithm, f, _ = twin.make_prior(row_shape, 0, new_labels=are_new)
            temperature = twin._temperature(are_new)
        else:
            f = twin._make_network(row_shape, theta, plain.get("constants") or {})
            algorithm = twin.make_scratch_algorithm()
        return Adapted.from_plain(plain, algorithm, f, theta, prior, twin._params(), temperature)

    def _check_network_of(self, prior: MetaState) -> None:
        """Check that the parameters describe the network of a prior."""
        self.check_structure(prior)
        check_network_size(self._structural(), prior.row_shape, prior.theta)

    def _structural(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.fingerprints("structural")}
