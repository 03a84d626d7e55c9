"""The outer loop: the parameters that all meta-learners share, and meta-training step by step."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from torch import nn

from sklearn_meta._devices import resolve_device, torch_dtype
from sklearn_meta.exceptions import TaskError
from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import Algorithm, draw_tasks_theta, draw_theta
from sklearn_meta.inner.heads import BIAS, start_at_shares
from sklearn_meta.nn.backbone import BODY, RowNetwork, build_backbone, missing_derivative
from sklearn_meta.nn.batch_norm import warn_untrained_statistics
from sklearn_meta.nn.mlp import ACTIVATIONS, widths
from sklearn_meta.outer.batches import TrainingBatches, TuningBatches, ValidationBatches
from sklearn_meta.outer.callbacks import MetaHistory
from sklearn_meta.outer.checkpoint import FREE, Checkpoint, hash_of_run, open_folder
from sklearn_meta.outer.compiled import CompiledGradient
from sklearn_meta.outer.episodes import TASK_SAMPLING, EpisodeSize, EpisodeSource
from sklearn_meta.outer.labels import LabelPlan, LabelSpace
from sklearn_meta.outer.memory import MemoryEstimate, MemoryPlan, out_of_memory
from sklearn_meta.outer.objective import EpisodicModule, HalfNetwork
from sklearn_meta.outer.ranks import Ranks
from sklearn_meta.outer.scaling import SCALINGS
from sklearn_meta.outer.state import VERSIONS, MetaState, to_numpy, to_torch
from sklearn_meta.outer.temperature import Temperature
from sklearn_meta.outer.trainer import CALLBACKS, NET_PARAMS, SCHEDULES, Trainer
from sklearn_meta.outer.training_data import TrainingData, scale_and_pack
from sklearn_meta.outer.training_tasks import TrainingTasks, open_tasks, open_validation
from sklearn_meta.parameters import (
    Constraint,
    Role,
    anything,
    check_parameter,
    describe_change,
    fingerprint,
    integer,
    option,
    param,
    parameters_of,
    real,
)
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.validate import UNUSABLE, SkippedTask, Table, warn_of_one_task

__all__ = ["OuterLoop"]

N_HELD_OUT_EPISODES = 100  # at least, of the tasks that are held out
N_DRAWN = (
    10  # meta-batches of validation tasks from a distribution, which could be drawn without end
)


def are_widths(value: Any) -> bool:
    """Return whether the value is the width of one hidden layer, or a sequence of widths."""
    sizes = value if isinstance(value, (list, tuple)) else [value]
    return value is not None and all(integer(1).allows(size) for size in sizes)


def is_folder(value: Any) -> bool:
    """Return whether the value can be the path of a folder."""
    return value is None or (isinstance(value, (str, os.PathLike)) and not os.path.isfile(value))


@dataclass(eq=False, repr=False, kw_only=True)
class OuterLoop(BaseEstimator, ABC):
    """Parameters of the network and of the outer loop, and hooks that subclasses fill in."""

    backbone: str | nn.Module | Callable[..., nn.Module] = param(
        "mlp",
        anything('{"mlp", "conv4", "resnet12", "identity"}, nn.Module, or callable'),
        "structural",
        """The network up to its last hidden layer; "identity" takes rows as they are. A module is
        copied; a class or function is called with the shape of one row (without arguments if it
        requires none). A module of your own runs under :func:`torch.vmap` and in evaluation mode
        (no dropout), in the dtype of `X`. Frozen parameters (``requires_grad=False``) and buffers,
        such as the running statistics of BatchNorm, stay as they are; see docs/networks.md.""",
    )
    hidden_layer_sizes: int | Sequence[int] = param(
        (64, 64),
        Constraint(are_widths, "an int >= 1 or a sequence of them", "int or sequence of int"),
        "structural",
        'Widths of the hidden layers of the "mlp".',
    )
    activation: str = param(
        "relu", option(*ACTIVATIONS), "structural", 'Activation function of the "mlp".'
    )
    norm: str | None = param(
        "layer",
        option("layer", "group", "batch", None),
        "structural",
        """Normalisation layers of the networks with a name. "layer" and "group" normalise each row
        by itself: the "mlp" uses layer normalisation, the "conv4" and the "resnet12" group
        normalisation for either name. "batch" normalises by the rows of the task at hand, as the
        papers do: predictions then depend on which rows are predicted together.""",
    )
    dropout: float = param(
        0.0,
        Constraint(
            lambda p: real(0, 1).allows(p) and p < 1, "a float in the range [0, 1)", "float"
        ),
        "training",
        """Share of the activations of each hidden layer of the "mlp" that an iteration of
        `meta_fit` sets to zero, at random; such a network is not compiled. `fit` and `predict` use
        all of them.""",
    )
    scaling: str | None = param(
        "pooled",
        option(*SCALINGS, None),
        "training",
        """Standardise inputs (and targets of a regression) by statistics of all meta-training
        tasks, of each task's own support, or not at all; with "targets", only targets, by those of
        all tasks. What does not vary in a support has, with "task", the scale of a typical task of
        meta-training. An input that varies in no task of meta-training is standardised to 0,
        whatever its value, unless inputs are left as they are. Unless it is "task", a support in
        other units than those of meta-training gives a :class:`~sklearn_meta.ScaleWarning`.""",
    )
    n_query: int = param(
        15,
        integer(1),
        "training",
        """Number of query rows in an episode, of each class or of a regression task (fewer where a
        task does not have enough). A :class:`~sklearn_meta.tasks.FewShotTasks` sets its own.""",
    )
    meta_lr: float = param(
        1e-3, real(0, open_left=True), "training", "Learning rate of the outer loop."
    )
    meta_lr_schedule: str = param(
        "cosine",
        option(*SCHEDULES),
        "training",
        """Schedule of `meta_lr`. "cosine" and "linear" lower it to zero at the last iteration.""",
    )
    task_sampling: str = param(
        "uniform",
        option(*TASK_SAMPLING),
        "training",
        """How often a task is drawn: "uniform" draws all tasks equally often, "sqrt" in proportion
        to the square root of its number of rows, and "rows" to this number. A distribution of tasks
        draws in its own way.""",
    )
    max_meta_iter: int = param(
        1000,
        integer(1),
        "training",
        "Number of iterations of the outer loop, each on one meta-batch.",
    )
    iters_per_epoch: int = param(
        100,
        integer(1),
        "training",
        """Number of iterations in an epoch. At the end of an epoch a row is added to the history
        and the validation tasks are scored.""",
    )
    meta_batch_size: int | None = param(
        None,
        integer(1, none=True),
        "training",
        """Number of tasks in a meta-batch. None uses 16 tasks, or all tasks if there are
        fewer.""",
    )
    task_chunk_size: int | None = param(
        None,
        integer(1, none=True),
        "runtime",
        """Number of tasks of a meta-batch that are computed at once. None chooses as many as fit
        into the free memory (see `estimate_memory`), and on a CPU as many as keep the tensors
        small. The gradients of the chunks are added up, so results are the same up to rounding.""",
    )
    compile: bool = param(
        False,
        option(True, False),
        "runtime",
        """Compile the loss and the meta-gradient with torch's compiler. Iterations are faster,
        after half a minute or more of compiling for each size of episodes (at most eight sizes;
        see docs/performance.md). If there is no compiler, meta-training warns and runs
        uncompiled.""",
    )
    precision: str | None = param(
        None,
        option("tf32", "bf16", None),
        "training",
        """Use fewer bits for the products of meta-training on float32 rows, for speed on a GPU:
        "tf32" for the matrix products, where the GPU supports it; "bf16" for the network, with
        losses and inner steps in float32. `fit` and `predict` always use full precision.""",
    )
    max_grad_norm: float | None = param(
        10.0,
        real(0, open_left=True, none=True),
        "training",
        "Clip the norm of the meta-gradient to this value; None does not clip.",
    )
    early_stopping: bool = param(
        False,
        option(True, False),
        "training",
        "Stop when the loss on the validation tasks has not improved for `patience` epochs.",
    )
    patience: int = param(
        10,
        integer(1),
        "training",
        "Number of epochs without improvement after which `early_stopping` stops.",
    )
    callbacks: list[Any] | None = param(
        None,
        CALLBACKS,
        "runtime",
        "Additional callbacks for the outer loop.",
    )
    net_params: dict[str, Any] | None = param(
        None,
        NET_PARAMS,
        "training",
        """Additional parameters of :class:`skorch.NeuralNet`, such as
        ``{"optimizer": torch.optim.SGD}``.""",
    )
    unusable: str = param(
        "raise",
        UNUSABLE,
        "runtime",
        """What `meta_fit` does about a task that it cannot use (a single class, too few rows for an
        episode, NaN, other features than most tasks): "raise" an error, or "skip" it. One warning
        names the skipped tasks, and `skipped_tasks_` lists all of them as (position, name, reason);
        it is an error if no task is left. Validation tasks are skipped alike, with a warning of
        their own. Tasks that are read one by one are read once more before the first iteration, and
        have rows like the first that can be used. Tasks that a distribution draws must all be
        usable.""",
    )
    warm_start: bool = param(
        False,
        option(True, False),
        "runtime",
        """If True, `meta_fit` continues from the present theta and its scaling. The optimiser, the
        schedule and the iteration count start anew, and so do the episodes if `random_state` is an
        int.""",
    )
    checkpoint_dir: str | os.PathLike[str] | None = param(
        None,
        Constraint(is_folder, "None, or a path of a folder", "str or path"),
        "runtime",
        """Folder in which `meta_fit` saves its state, in one file for each run, which is
        identified by the parameters and the tasks. If the process is killed at any moment, the
        same call continues from the file and ends at the same weights (bit for bit on the CPU); if
        the run was finished, the call returns its result. Your own callbacks start anew. Old files
        are not deleted.""",
    )
    checkpoint_every: int = param(
        1, integer(1), "runtime", "Number of epochs between two checkpoints."
    )
    device: str | torch.device = param(
        "auto",
        anything("str or torch.device"),
        "runtime",
        """Where to compute. "auto" uses a GPU if there is one. The meta state is not bound to a
        device.""",
    )
    random_state: Any = param(
        None,
        anything("int, RandomState instance or None"),
        "runtime",
        """Seed of the initial network (unless it is an `nn.Module`, which has its own weights) and
        of the episodes. None draws a seed from numpy's global generator; torch's global generator
        is never used.""",
    )
    verbose: int = param(
        0,
        integer(0),
        "runtime",
        """If 1, show a progress bar with the losses and the remaining time; if 2, also print a
        line for each epoch.""",
    )

    target_type: ClassVar[Literal["class", "real"]]
    default_optimizer: ClassVar[type[torch.optim.Optimizer]] = torch.optim.Adam
    # whether meta-training takes the same label in two tasks for the same class
    shared_labels: ClassVar[bool] = False
    always_holds_out: ClassVar[bool] = False  # tasks for validation, not only of shared labels

    @property
    @abstractmethod
    def meta_state(self) -> MetaState | None:
        """The learned prior; None before `meta_fit`."""

    @property
    def joins_pool(self) -> bool:
        """Whether meta-training takes all classes of a pool of rows for those of a single task."""
        return False

    @property
    def label_regime(self) -> str:
        """Whether labels mean the same in all tasks: "shared", "task", or "auto"."""
        return "task"

    @property
    def held_out_share(self) -> float:
        """Share of the tasks to hold out for validation where labels are shared."""
        return 0.0

    # ---- hooks ---------------------------------------------------------------------------------

    @abstractmethod
    def make_algorithm(self) -> Algorithm:
        """Make the algorithm that the parameters describe.

        Returns
        -------
        Algorithm
            With the hyper-parameters of this estimator.
        """

    @abstractmethod
    def support_sizes(self) -> tuple[int, int]:
        """Return the range of the number of support rows of an episode.

        Returns
        -------
        least, most : int
            Rows of each class, or of a regression task.
        """

    def make_backbone(self, row_shape: tuple[int, ...], seed: int) -> RowNetwork:
        """Build the network for rows of this shape.

        Parameters
        ----------
        row_shape : tuple of int
            Shape of a row of X.
        seed : int
            Seed of the initial weights.

        Returns
        -------
        RowNetwork
            A function of parameters and rows.
        """
        return build_backbone(
            self.backbone,
            row_shape,
            seed,
            hidden_layer_sizes=self.hidden_layer_sizes,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
        )

    def training_episodes(self, source: EpisodeSource) -> EpisodeSize:
        """Return the size of the episodes of meta-training.

        Parameters
        ----------
        source : EpisodeSource
            Where they are drawn, with a size that is that of validation, too.

        Returns
        -------
        EpisodeSize
            By default the same.
        """
        return source.size

    def has_fixed_n_way(self) -> bool:
        """Return whether the output layer limits the number of classes.

        Returns
        -------
        bool
            True for a head with one row for each class position.
        """
        return getattr(self, "head", None) == "fixed"

    # ---- parameters ----------------------------------------------------------------------------

    def check_parameters(self, *, device: bool = True) -> None:
        """Check the values of all parameters.

        Parameters
        ----------
        device : bool, default=True
            Whether the device must be available on this machine.

        Raises
        ------
        ValueError
            For the first parameter with a value that is not accepted.
        """
        for name, declaration in parameters_of(type(self)).items():
            check_parameter(name, getattr(self, name), declaration.constraint, type(self).__name__)
        self.support_sizes()
        if device:
            resolve_device(self.device)

    def fingerprints(self, role: Role) -> dict[str, Any]:
        """Return what identifies the values of the parameters with a role.

        Parameters
        ----------
        role : {"structural", "training", "adaptation", "runtime"}
            The role.

        Returns
        -------
        dict
            A comparable and picklable value for each name.
        """
        values = {
            name: getattr(self, name)
            for name, p in parameters_of(type(self)).items()
            if (p.role(self) if callable(p.role) else p.role) == role
        }
        if "hidden_layer_sizes" in values:
            sizes = widths(values["hidden_layer_sizes"])
            values["hidden_layer_sizes"] = sizes[0] if len(sizes) == 1 else sizes  # 8 is (8,)
        return {name: fingerprint(value) for name, value in values.items()}

    @property
    def n_epochs(self) -> int:
        """Number of epochs of meta-training."""
        return -(-self.max_meta_iter // self.iters_per_epoch)

    def draw_seed(self) -> int:
        """Draw a seed from `random_state`.

        Returns
        -------
        int
            The same in each call, if `random_state` is an int.
        """
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def check_structure(self, state: MetaState) -> None:
        """Check that no structural parameter was changed since meta-training.

        Parameters
        ----------
        state : MetaState
            The learned prior.

        Raises
        ------
        ValueError
            If one was changed.
        """
        for name, value in self.fingerprints("structural").items():
            learned = state.structural.get(name, value)  # an older prior lacks newer parameters
            if value != learned:
                advice = (
                    "Pass the network that was meta-trained, with the layers that it had then, for "
                    "example backbone=replace_batch_norm(...). Or call"
                )
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} was changed "
                    f"{describe_change(learned, value)} since meta_fit; the learned prior is for "
                    f"another network. {advice if name == 'backbone' else 'Call'} meta_fit again, "
                    "with warm_start=False."
                )

    def check_backbone(self, f: RowNetwork, theta: Mapping[str, NDArray[Any]]) -> None:
        """Check that meta-parameters belong to a network, as two functions may have one name.

        Parameters
        ----------
        f : RowNetwork
            The network that the parameters of this estimator make.
        theta : mapping of ndarray
            Learned meta-parameters.

        Raises
        ------
        ValueError
            If names or shapes differ.
        """
        shapes = {k: tuple(p.shape) for k, p in f.init(torch.Generator()).items()}
        learned = {k: p.shape for k, p in theta.items() if k.startswith(BODY)}
        if shapes != learned:
            raise ValueError(
                f"The 'backbone' parameter of {type(self).__name__} makes a network with "
                f"parameters {shapes}, but meta_fit learned {learned}. Call meta_fit again, with "
                "warm_start=False."
            )

    # ---- meta-training ---------------------------------------------------------------------------

    def _learn_prior(
        self, table: Table, validation_tasks: Any, ranks: Ranks
    ) -> tuple[MetaState, MetaHistory, list[SkippedTask]]:
        """Run the outer loop on tasks as `meta_fit` accepts them; the estimator stays as it is.

        Return the prior, the history, and the tasks that were skipped.
        """
        seed = ranks.from_first(self.draw_seed())
        ranks.check_same(self._identity)
        checkpoint = None
        if ranks.rank == 0:
            checkpoint = self._open_checkpoint(seed, (*table, validation_tasks))
        checkpoint = ranks.from_first(checkpoint)
        if checkpoint is not None:
            seed = checkpoint.seed
        with ExitStack() as readers:
            data, trainer = self._prepare(table, validation_tasks, readers, seed, ranks)
            ranks.check_same(data.identity)
            if trainer.validation is not None:
                ranks.check_same(partial(trainer.validation.source.identity, "validation_tasks"))
            trainer.objective.start_as_on_first_rank()
            memory = MemoryPlan(trainer, data.n_way, self.task_chunk_size)
            chunk_size = self.task_chunk_size or memory.chunk_size(self.get_params(deep=False))
            trainer.objective.chunk = chunk_size
            with self._explained_errors(trainer.objective):
                theta, history = trainer.train(checkpoint)
                temperature = trainer.temperature(data.class_shares)
        state = self._make_state(data, theta, trainer.objective.f.constants, temperature)
        return *ranks.from_first((state, history)), data.skipped

    def _estimate_memory(self, table: Table, validation_tasks: Any) -> MemoryEstimate:
        """Estimate the memory of `_learn_prior` by a trial on one and two tasks."""
        with ExitStack() as readers:
            ranks = Ranks.of_this_process()
            data, trainer = self._prepare(table, validation_tasks, readers, 0, ranks)
            return MemoryPlan(trainer, data.n_way, self.task_chunk_size).estimate()

    def _prepare(
        self, table: Table, validation_tasks: Any, readers: ExitStack, seed: int, ranks: Ranks
    ) -> tuple[TrainingData, Trainer]:
        """Validate tasks, scale and pack their rows, draw theta, and make the batches."""
        if self.early_stopping and validation_tasks is None:
            raise ValueError(
                f"early_stopping=True needs validation tasks: {type(self).__name__}."
                "meta_fit(tasks, validation_tasks=...)."
            )
        rng, device = np.random.RandomState(seed), ranks.own_device(resolve_device(self.device))
        tasks = open_tasks(table, self.target_type, self.unusable, rng, readers)
        prior = self._prior_to_continue(tasks.first)
        plan = self._plan_labels(tasks, prior)
        size = EpisodeSize(self.support_sizes(), self.n_query)
        if self.unusable == "skip":
            tasks.keep(size, plan.space)
        if prior is None:
            warn_of_one_task(tasks.n_tasks, type(self).__name__)
        held_out = None
        shared_labels = plan.space.is_shared
        may_hold_out = shared_labels or self.always_holds_out
        if validation_tasks is None and may_hold_out and self.n_epochs > 1:
            least = self.meta_batch_size or 1
            held_out = tasks.hold_out(self.held_out_share, least, seed, shared_labels=shared_labels)
        class_weight = getattr(self, "class_weight", None)  # of classifiers
        data = scale_and_pack(tasks, size, plan, self.scaling, class_weight, prior, device)
        n_tasks = self._meta_batch_size(tasks.n_tasks)
        tuning_source = copy.copy(data.source)
        data.source.size = self.training_episodes(data.source)
        data.source.sample_by(self.task_sampling)
        data.source.ranks = ranks

        seeds = rng.randint(np.iinfo(np.int32).max, size=5).tolist()
        network_seed, theta_seed, validation_seed, episode_seed, training_seed = seeds
        f = self.make_backbone(data.first.row_shape, network_seed)
        theta = self._initial_theta(prior, f, data, theta_seed)

        validation = None
        if validation_tasks is not None:
            tuning_source = source = open_validation(
                validation_tasks,
                table,
                data.first,
                data.validation_packer,
                N_DRAWN * n_tasks,
                validation_seed,
                self.unusable,
                readers,
            )
            validation = ValidationBatches(
                source.divided_among(ranks), n_tasks, validation_seed, f.transductive
            )
        elif held_out is not None:
            tuning_source = source = held_out.episodes(data.packer)[0]
            validation = ValidationBatches(
                source.divided_among(ranks),
                n_tasks,
                validation_seed,
                f.transductive,
                N_HELD_OUT_EPISODES,
            )
        n_iters = self.iters_per_epoch, self.max_meta_iter
        batches = TrainingBatches(data.source, n_tasks, *n_iters, episode_seed, f.transductive)
        tuning = TuningBatches(tuning_source, validation_seed, f.transductive)
        trainer = self._make_trainer(
            data, f, theta, batches, validation, tuning, training_seed, ranks
        )
        return data, trainer

    def _plan_labels(self, tasks: TrainingTasks, prior: MetaState | None) -> LabelPlan:
        """Decide what the labels of tasks mean; a warm start keeps what its prior has learned."""
        if prior is not None:
            space = self._labels_of(prior, joins_classes=self.shared_labels)
            return LabelPlan(space, False, self.has_fixed_n_way(), is_guess=False)
        is_shared, is_guess = self.label_regime == "shared", self.label_regime == "auto"
        if is_guess:
            is_shared = tasks.count_labels().are_shared()
        joins_classes, classes = self.shared_labels or is_shared, None
        joins_classes |= tasks.draws_classes and self.joins_pool
        if joins_classes and tasks.declared_classes is not None:
            classes = np.unique(tasks.declared_classes)
        space = LabelSpace(classes, None, is_shared)
        needs_classes = joins_classes and classes is None
        return LabelPlan(space, needs_classes, self.has_fixed_n_way(), is_guess)

    def _make_trainer(
        self,
        data: TrainingData,
        f: RowNetwork,
        theta: Params,
        batches: TrainingBatches,
        validation: ValidationBatches | None,
        tuning: TuningBatches,
        seed: int,
        ranks: Ranks,
    ) -> Trainer:
        algorithm = self._algorithm_for(data.labels.is_shared)
        objective = EpisodicModule(
            algorithm,
            HalfNetwork(f) if self.precision == "bf16" else f,
            theta,
            (data.by_task, data.by_task and self.target_type == "real"),
            batches.progress,
            compiled=CompiledGradient(padding=not f.transductive) if self.compile else None,
            class_weights=data.class_weights,
            of_tasks=self._parameters_of_tasks(f, data, seed),
            ranks=ranks,
        )
        return Trainer(
            owner=type(self).__name__,
            objective=objective,
            batches=batches,
            validation=validation,
            device=data.packer.device,
            seed=seed,
            n_epochs=self.n_epochs,
            optimizer=self.default_optimizer,
            meta_lr=self.meta_lr,
            learning_rates=algorithm.learning_rates(self.meta_lr),
            meta_lr_schedule=self.meta_lr_schedule,
            max_grad_norm=self.max_grad_norm,
            patience=self.patience if self.early_stopping else None,
            precision=self.precision,
            callbacks=self.callbacks or (),
            net_params=self.net_params or {},
            verbose=self.verbose if ranks.rank == 0 else 0,
            ranks=ranks,
            tuning=tuning if tuning.n_tasks else None,  # tasks may be sampled anew
        )

    def _parameters_of_tasks(self, f: RowNetwork, data: TrainingData, seed: int) -> Params:
        """Draw what each task of meta-training learns for itself."""
        if data.source.n_tasks == 0:
            return {}
        algorithm = self._algorithm_for(data.labels.is_shared)
        params = draw_tasks_theta(algorithm, f, data.n_outputs, data.source.n_tasks, seed)
        device, dtype = data.packer.device, torch_dtype(data.packer.dtype)
        return {k: p.to(device, dtype) for k, p in params.items()}

    def _labels_of(self, prior: MetaState, *, joins_classes: bool = False) -> LabelSpace:
        """Return which labels a task may have; only meta-training may join those of all tasks."""
        if prior.shared_labels:
            return LabelSpace(prior.classes, None, is_shared=True)
        n_way = len(prior.theta[BIAS]) if self.has_fixed_n_way() else None
        return LabelSpace(prior.classes if joins_classes else None, n_way)

    def _algorithm_for(self, shared_labels: bool, *, new_labels: bool = False) -> Algorithm:
        """Make the algorithm for tasks that share their labels, or that do not.

        With `new_labels`, the task has others than those that tasks share.
        """
        algorithm = self.make_algorithm()
        if not new_labels:
            return self._with_shared_labels(algorithm) if shared_labels else algorithm
        fallback = algorithm.with_new_labels()
        assert fallback is not None  # `encode_targets` has checked the labels
        return fallback

    def _with_shared_labels(self, algorithm: Algorithm) -> Algorithm:
        """Return the algorithm for tasks that share their labels, or raise a TaskError."""
        shared = algorithm.with_shared_labels()
        if shared is None:
            guess = " (labels='auto' guesses so)" if self.label_regime == "auto" else ""
            raise TaskError(
                f"The labels mean the same in all tasks{guess}, but {type(self).__name__} cannot "
                "predict a label that a support lacks: its algorithm "
                f"{type(algorithm).__name__} does not override with_shared_labels. Override it, or "
                "set labels='task', so that a task has only the labels of its support."
            )
        return shared

    def _prior_to_continue(self, task: Task) -> MetaState | None:
        """Return the prior of a warm start, checked against the first task."""
        prior = self.meta_state
        if not self.warm_start or prior is None:
            return None
        self.check_structure(prior)
        try:
            prior.check_task(task, 0, type(self).__name__)
        except TaskError as error:
            raise TaskError(f"{error} warm_start=False forgets the prior.") from None
        return prior

    def _meta_batch_size(self, n_tasks: int | None) -> int:
        """Return the number of tasks in a meta-batch; `n_tasks` is None for a distribution."""
        if self.meta_batch_size is None:
            return 16 if n_tasks is None else min(16, n_tasks)
        if n_tasks is not None and self.meta_batch_size > n_tasks:
            raise TaskError(
                f"meta_batch_size={self.meta_batch_size}, but there are only {n_tasks} tasks. "
                f"Use meta_batch_size=None, or at most {n_tasks}."
            )
        return int(self.meta_batch_size)

    def _initial_theta(
        self, prior: MetaState | None, f: RowNetwork, data: TrainingData, seed: int
    ) -> Params:
        """Draw theta, or take that of a warm start."""
        device, dtype = data.packer.device, torch_dtype(data.packer.dtype)
        if prior is not None:
            self.check_backbone(f, prior.theta)
            f.set_constants(to_torch(prior.constants, torch.device("cpu")))
            return to_torch(prior.theta, device, dtype)
        warn_untrained_statistics(f.constants)
        algorithm = self._algorithm_for(data.labels.is_shared)
        theta = draw_theta(algorithm, f, data.n_outputs, seed)
        if data.class_shares is not None:
            theta = start_at_shares(theta, torch.from_numpy(data.class_shares))
        if not theta:
            sizes = f" with hidden_layer_sizes={self.hidden_layer_sizes!r}"
            raise ValueError(
                f"{type(self).__name__} has no meta-parameters to learn: "
                f"backbone={self.backbone!r}{sizes if self.backbone == 'mlp' else ''} has no "
                "weights (or none that are not frozen), nor has the head."
            )
        return {k: p.to(device, dtype) for k, p in theta.items()}

    @contextmanager
    def _explained_errors(self, objective: EpisodicModule) -> Iterator[None]:
        """Name what to change where memory runs out, or the network lacks a derivative."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            no_memory = out_of_memory(type(self).__name__, self.get_params(deep=False), error)
            if no_memory is not None:
                raise no_memory from error
            message = missing_derivative(objective.f, objective.theta(), error)
            if message is not None:
                raise ValueError(message) from error
            raise

    def _make_state(
        self,
        data: TrainingData,
        theta: Params,
        constants: Params,
        temperature: Temperature | None,
    ) -> MetaState:
        return MetaState(
            theta=to_numpy(theta),
            scaling=data.scaling,
            row_shape=data.first.row_shape,
            target_shape=data.first.y.shape[1:],
            feature_names=data.first.feature_names_in,
            classes=data.labels.classes,
            shared_labels=data.labels.is_shared,
            structural=self.fingerprints("structural"),
            training=self.fingerprints("training"),
            versions=dict(VERSIONS),
            by_task=data.by_task,
            limits=data.limits,
            constants=to_numpy(constants),
            class_weights=data.class_weights,
            temperature=temperature,
        )

    def _identity(self) -> dict[str, Any]:
        """Return the parameters that ranks which train together must have in common."""
        params = self.get_params(deep=False).items()
        values = {f"the parameter {k!r}": fingerprint(v) for k, v in params if k not in FREE}
        return {"the class of the estimator": type(self).__name__} | values

    def _open_checkpoint(self, seed: int, data: Sequence[Any]) -> Checkpoint | None:
        """Open the file of this run: of this class, these parameters and this data."""
        if self.checkpoint_dir is None:
            return None
        folder, cls, prior = open_folder(self.checkpoint_dir), type(self), self.meta_state
        theta = dict(prior.theta) if self.warm_start and prior is not None else None
        key = hash_of_run(cls.__qualname__, self.get_params(deep=False), theta, data)
        return Checkpoint(folder / f"{cls.__name__}-{key}.pt", self.checkpoint_every, seed)
