"""Multitask pre-training: train an encoder with a head for each task, then fit a new head.

Meta-training minimises the mean loss of all tasks over the encoder f_theta, a layer W_0 that tasks
have in common and a layer W_t for each task t:

    min_(theta, W_0, W_1, W_2, ...)  E_t L( (W_0 + W_t) f_theta(X_t), y_t )

The layers W_t are then discarded. A new task has a prior a(z), and its head fits what the prior
does not explain. With head="ridge",

    V = argmin_V sum_i w_i |r_i - V' z_i|^2 + lambda |V|^2,    z_i = f_theta(x_i)
    r_i = y_i - a(z_i) for targets,    y_i - softmax(a(z_i)) for labels
    prediction of x:  a(z) + s V' z,    z = f_theta(x)

a(z) is c W_0 z plus the log-shares of the labels, if tasks share their labels, or plus a bias for
targets; it is 0 if labels are local to a task. Only the sums W_0 + W_t are determined: of targets,
W_0 is their mean. The other heads are a logistic regression with the offset a(z_i), a Gaussian
process of r_i, and class prototypes.

The penalty lambda, the scales s and c, and the other numbers of a head are tuned on episodes of
validation tasks, if there are any: the encoder has learned the labels of its training tasks, and
numbers that are tuned on them would trust the features too much.

Caruana, "Multitask Learning", Machine Learning, 1997. Tian, Wang, Krishnan, Tenenbaum and Isola,
"Rethinking Few-shot Image Classification: a Good Embedding Is All You Need?", ECCV 2020.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.functional import (
    Params,
    class_means,
    class_sums,
    classes_present,
    gp_condition,
    gp_predict,
    linear,
    logistic_regression,
    posterior_prototypes,
    posterior_shares,
    ridge,
)
from sklearn_meta.functional.gaussian_process import soft_floor
from sklearn_meta.functional.prototypes import class_counts
from sklearn_meta.functional.ridge import with_ones
from sklearn_meta.inner import Backbone, Examples, Head, Network, WithHead, join, pad
from sklearn_meta.inner.heads import (
    BIAS,
    LOG_COUNT,
    LOG_PENALTY,
    LOG_PRECISION,
    LOG_SCALE,
    LOG_SHARES,
    LOG_STRENGTH,
    MEAN,
    PRESENT,
    WEIGHT,
    prior_counts,
)
from sklearn_meta.inner.kernels import LOG_LENGTH_SCALE, LinearKernel, RadialKernel
from sklearn_meta.outer.episodes import EpisodeSize, EpisodeSource
from sklearn_meta.parameters import Constraint, describe, integer, option, param, real

__all__ = [
    "GaussianProcessHead",
    "LogisticHead",
    "Multitask",
    "MultitaskClassifier",
    "MultitaskRegressor",
    "NearestMeanHead",
    "RidgeHead",
]

TASK_WEIGHT, TASK_BIAS = "tasks.weight", "tasks.bias"  # W_t, (*B, k, d) and (*B, k)
COMMON_WEIGHT, COMMON_BIAS = "prior.weight", "prior.bias"  # W_0, (k, d), and a bias of targets, (k)
COMMON = "head.common"  # the scale c of W_0
CENTRE = "features.centre"  # mean feature of all tasks (d,), or of a support (*B, 1, d)
LOG_NOISE, LOG_VARIANCE = "head.log_noise", "head.log_variance"
TUNING = torch.zeros((), dtype=torch.float64, device="cpu")  # dtype and device of tuning heads
KERNELS = {"linear": LinearKernel(ard=False), "rbf": RadialKernel("rbf", ard=False)}
LEAST_VARIANCE = 1e-6  # of a prediction of standardised targets
N_STEPS = 20  # of L-BFGS, to tune a head
# Standard deviations of normal priors of tuned numbers around their starts, which count as one task
WIDTH = 10.0
WIDTH_OF_MEAN = 0.5  # of the scale c of W_0, if W_0 is the mean of the heads of tasks


# ---- heads -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClosedFormHead(Head):
    """A head that is computed from the support in closed form, beside the prior a(z).

    Parameters
    ----------
    labels : {"shared", "task", "real"}
        Whether labels mean the same in all tasks or are local to them; or real targets.
    normalize : {"l2", "center", "support"} or None
        How features are normalised.
    """

    labels: str
    normalize: str | None

    starts: ClassVar[Mapping[str, float]]  # initial values of the numbers that are tuned

    def init(self, n_outputs: int, d: int, generator: torch.Generator) -> Params:
        """Return the initial values of the numbers that are tuned."""
        starts = dict(self.starts)
        if self.labels == "shared":
            starts[LOG_COUNT] = math.log(n_outputs)
        if self.labels != "task":
            starts[COMMON] = 1.0
        return {k: torch.tensor(start, dtype=torch.float32) for k, start in starts.items()}

    def _features(self, Z: Tensor, params: Params) -> Tensor:
        """Normalise features (*B, n, d): to length 1, or by 1 / sqrt(d) if `normalize` is None."""
        if self.normalize is None:
            return Z * Z.shape[-1] ** -0.5
        if self.normalize == "l2":
            return torch.nn.functional.normalize(Z, dim=-1)
        rest = Z - params[CENTRE]
        rounding = 8 * torch.finfo(Z.dtype).eps * Z.detach().norm(dim=-1, keepdim=True)
        is_zero = rest.detach().norm(dim=-1, keepdim=True) <= rounding  # as a row alone is
        rows = torch.nn.functional.normalize(torch.where(is_zero, 1.0, rest), dim=-1)
        return rows.masked_fill(is_zero, 0.0)

    def _centre(self, Z: Tensor, support: Examples) -> Params:
        """Return the mean features of each support (*B, 1, d), if they are to be subtracted."""
        if self.normalize != "support":
            return {}
        mass = support.weight.unsqueeze(-1)
        total = mass.sum(-2, keepdim=True).clamp(min=torch.finfo(Z.dtype).tiny)
        return {CENTRE: (mass * Z).sum(-2, keepdim=True) / total}

    def _constant(self, theta: Params, support: Examples) -> Params:
        """Compute the part of a(z) that does not depend on z (*B, k): log-shares, a bias or 0."""
        *B, _, k = support.y.shape
        if self.labels == "shared":
            counts = class_counts(support.y, support.weight)
            return {BIAS: posterior_shares(counts, prior_counts(theta)).log()}
        if self.labels == "real":
            return {BIAS: theta[COMMON_BIAS].expand(*B, k)}
        return {BIAS: support.y.new_zeros(*B, k)}

    def _prior(self, Z: Tensor, params: Params) -> Tensor:
        """Compute a(z) for features (*B, n, d)."""
        bias = params[BIAS]
        if PRESENT in params:
            bias = bias.masked_fill(~params[PRESENT], -torch.inf)
        if self.labels == "task":
            return bias.unsqueeze(-2).expand(*Z.shape[:-1], -1)
        return Z @ (params[COMMON] * params[COMMON_WEIGHT]).mT + bias.unsqueeze(-2)

    def _expected(self, prior: Tensor) -> Tensor:
        """Return the means of the targets or one-hot labels under the prior a(z), (*B, n, k)."""
        return prior if self.labels == "real" else prior.softmax(-1)

    def _scale(self, params: Params) -> Tensor | float:
        """Return the scale s of the logits; it is 1 for targets."""
        return 1.0 if self.labels == "real" else params[LOG_SCALE].exp()

    def present(self, support: Examples) -> Params:
        """Return which classes each task has, if labels are local to a task."""
        return super().present(support) if self.labels == "task" else {}

    def with_shared_labels(self) -> Head:
        """Return the head of labels that tasks share."""
        return replace(self, labels="shared")

    def with_new_labels(self) -> Head:
        """Return the head of local labels, with the numbers that were tuned for shared labels."""
        return replace(self, labels="task")

    @abstractmethod
    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute the head of each task."""


@dataclass(frozen=True)
class LinearModelHead(ClosedFormHead):
    """A linear model of normalised features and a column of ones, which adds to the prior."""

    @abstractmethod
    def _weights(self, rows: Tensor, prior: Tensor, support: Examples, penalty: Tensor) -> Tensor:
        """Compute V (*B, d + 1, k) of features (*B, n, d + 1) and their prior (*B, n, k)."""

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute V; the penalty includes the weights of the column of ones."""
        Z = f(theta, support.X)
        params = self._constant(theta, support) | self.present(support) | self._centre(Z, support)
        prior, penalty = self._prior(Z, theta | params), theta[LOG_PENALTY].exp()
        rows = self._rows(Z, theta | params)
        return params | {WEIGHT: self._weights(rows, prior, support, penalty).mT}

    def _rows(self, Z: Tensor, params: Params) -> Tensor:
        """Return normalised features and a column of ones."""
        return with_ones(self._features(Z, params))

    def outputs(self, Z: Tensor, phi: Params) -> Tensor:
        """Compute a(z) + s V' z."""
        return self._prior(Z, phi) + self._scale(phi) * (self._rows(Z, phi) @ phi[WEIGHT].mT)


@dataclass(frozen=True)
class RidgeHead(LinearModelHead):
    """Ridge regression of the targets or one-hot labels less their means under the prior.

    Parameters
    ----------
    labels : {"shared", "task", "real"}
        Whether labels mean the same in all tasks or are local to them; or real targets.
    normalize : {"l2", "center", "support"} or None
        How features are normalised.
    """

    starts = MappingProxyType({LOG_PENALTY: 0.0, LOG_SCALE: 1.4})

    def _weights(self, rows: Tensor, prior: Tensor, support: Examples, penalty: Tensor) -> Tensor:
        """Compute V = argmin_V sum_i w_i |r_i - V' z_i|^2 + lambda |V|^2."""
        return ridge(rows, support.y, support.weight, penalty, self._expected(prior))


@dataclass(frozen=True)
class LogisticHead(LinearModelHead):
    """Logistic regression, with the logits of the prior as an offset.

    Parameters
    ----------
    labels : {"shared", "task"}
        Whether labels mean the same in all tasks or are local to them.
    normalize : {"l2", "center", "support"} or None
        How features are normalised.
    """

    starts = MappingProxyType({LOG_PENALTY: 0.0, LOG_SCALE: 0.0})

    def _weights(self, rows: Tensor, prior: Tensor, support: Examples, penalty: Tensor) -> Tensor:
        """Compute V = argmin_V sum_i w_i CE(a_i + V' z_i, y_i) + lambda / 2 |V|^2."""
        return logistic_regression(rows, support.y, support.weight, penalty, prior)


@dataclass(frozen=True)
class NearestMeanHead(ClosedFormHead):
    """The nearest class mean of normalised features, as a linear layer.

    Logits are -t |z - c_k|^2 + log p_k up to a constant, with a tuned precision t. If tasks share
    their labels, c_k and p_k are posterior means, which shrink toward those of all tasks.

    Parameters
    ----------
    labels : {"shared", "task"}
        Whether labels mean the same in all tasks or are local to them.
    normalize : {"l2", "center", "support"} or None
        How features are normalised.
    """

    starts = MappingProxyType({LOG_PRECISION: 1.4, LOG_STRENGTH: 0.0})

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute 2 t c_k and log p_k - t |c_k|^2."""
        Z = f(theta, support.X)
        params = self._constant(theta, support) | self.present(support) | self._centre(Z, support)
        rows = self._features(Z, theta | params)
        sums, counts = class_sums(rows, support.y, support.weight)
        c = class_means(sums, counts)
        if self.labels == "shared":
            c = posterior_prototypes(sums, counts, theta[MEAN], theta[LOG_STRENGTH].exp())
        t = theta[LOG_PRECISION].exp()
        return params | {WEIGHT: 2 * t * c, BIAS: params[BIAS] - t * c.square().sum(-1)}

    def outputs(self, Z: Tensor, phi: Params) -> Tensor:
        """Compute logits."""
        return super().outputs(self._features(Z, phi), phi)


@dataclass(frozen=True)
class GaussianProcessHead(ClosedFormHead):
    """A Gaussian process of the targets or one-hot labels less their means under the prior.

    Parameters
    ----------
    labels : {"shared", "task", "real"}
        Whether labels mean the same in all tasks or are local to them; or real targets.
    normalize : {"l2", "center", "support"} or None
        How features are normalised.
    kernel : {"rbf", "linear"}
        The covariance, to which a constant is added. The linear one is a Bayesian ridge regression.
    predicts_variance : bool
        Whether outputs are means and log-variances of targets.
    """

    kernel: str
    predicts_variance: bool

    starts = MappingProxyType(
        {LOG_NOISE: 0.0, LOG_SCALE: 1.4, LOG_LENGTH_SCALE: 0.0, LOG_VARIANCE: 0.0}
    )

    def _covariance(self, X: Tensor, Z: Tensor, params: Params) -> Tensor:
        """Compute the covariances of normalised features."""
        return 1 + KERNELS[self.kernel](params, X, Z)

    def start(self, f: Network, theta: Params, support: Examples) -> Params:
        """Condition the process on the support."""
        Z = f(theta, support.X)
        params = self._constant(theta, support) | self.present(support) | self._centre(Z, support)
        residuals = support.y - self._expected(self._prior(Z, theta | params))
        rows, noise = self._features(Z, theta | params), theta[LOG_NOISE].exp()
        K = self._covariance(rows, rows, theta)
        factor, alpha = gp_condition(K, residuals, noise, support.weight)
        process = {"rows": rows, "factor": factor, "alpha": alpha, "weight": support.weight}
        return params | {f"gp.{k}": value for k, value in process.items()}

    def outputs(self, Z: Tensor, phi: Params) -> Tensor:
        """Compute a(z) + s E[g(z)] for the process g, and log-variances if they are predicted."""
        rows = self._features(Z, phi)
        process = phi["gp.factor"], phi["gp.alpha"]
        K_query = self._covariance(rows, phi["gp.rows"], phi)
        K_diag = 1 + KERNELS[self.kernel].diagonal(phi, rows)
        mean, variance = gp_predict(*process, K_query, K_diag, phi["gp.weight"])
        mean = self._prior(Z, phi) + self._scale(phi) * mean
        if not self.predicts_variance:
            return mean
        total = (variance + phi[LOG_NOISE].exp()) * phi[LOG_VARIANCE].exp()
        log_variance = soft_floor(total.log(), LEAST_VARIANCE)
        return torch.cat([mean, log_variance.unsqueeze(-1).expand_as(mean)], -1)


# ---- the algorithm -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Multitask(WithHead):
    """An encoder that is trained with a head for each task; new tasks get a closed-form head.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : ClosedFormHead
        The head of a new task.
    label_smoothing : float, default=0.0
        Share of each label of meta-training that is spread over all classes of its task.
    has_task_layers : bool, default=True
        Whether tasks of meta-training have layers W_t.
    """

    head: ClosedFormHead
    label_smoothing: float = 0.0
    has_task_layers: bool = True

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the encoder; W_0 starts at zero."""
        theta, d = super().init(f, n_outputs, generator), f.n_features_out
        labels = self.head.labels
        if self.head.normalize == "center":
            theta[CENTRE] = torch.zeros(d)
        if labels != "task":
            theta[COMMON_WEIGHT] = torch.zeros(n_outputs, d)
        if labels == "shared":
            theta |= {LOG_SHARES: torch.zeros(n_outputs), MEAN: torch.zeros(n_outputs, d)}
        if labels == "real":
            theta[COMMON_BIAS] = torch.zeros(n_outputs)
        return theta

    def init_tasks(
        self, f: Network, n_outputs: int, n_tasks: int, generator: torch.Generator
    ) -> Params:
        """Draw W_t like ``nn.Linear``; the bias is zero."""
        if not self.has_task_layers:
            return {}
        d = f.n_features_out
        weight = torch.empty(n_tasks, n_outputs, d).uniform_(-1, 1, generator=generator)
        return {TASK_WEIGHT: d**-0.5 * weight, TASK_BIAS: torch.zeros(n_tasks, n_outputs)}

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute L((W_0 + W_t) f(X), y) on support and query together.

        Without layers W_t, which tasks that are sampled anew cannot have, the encoder is trained
        through the head in closed form.
        """
        if TASK_WEIGHT not in theta:
            return self.loss(f, theta, support, query)
        X, y, weight = join(support, query)
        Z, k = f(theta, X), y.shape[-1]
        outputs = linear(Z, theta[TASK_WEIGHT][..., :k, :], theta[TASK_BIAS][..., :k])
        if COMMON_WEIGHT in theta:
            bias = theta[COMMON_BIAS if self.head.labels == "real" else LOG_SHARES]
            outputs = outputs + linear(Z, theta[COMMON_WEIGHT], bias)
        if self.head.labels != "real":
            present = torch.ones_like(y[..., 0, :], dtype=torch.bool)
            if self.head.labels == "task" and theta[TASK_WEIGHT].ndim > 2:
                present = classes_present(y, weight)
            outputs = outputs.masked_fill(~present.unsqueeze(-2), -torch.inf)
            uniform = (present / present.sum(-1, keepdim=True)).unsqueeze(-2)
            y = torch.lerp(y, uniform.to(y).expand_as(y), self.label_smoothing)
        return self.criterion(outputs, y, weight)

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute the head of each task in closed form."""
        return self.head.start(f, theta, support)

    def tune(
        self, f: Network, theta: Params, episodes: Iterable[tuple[Examples, Examples]]
    ) -> Params:
        """Centre the heads of tasks, compute mean features, and tune the numbers of a new head."""
        centred = self._centred(theta)
        theta = {k: p for k, p in (theta | centred).items() if k not in (TASK_WEIGHT, TASK_BIAS)}
        with torch.no_grad():
            stacks = [
                [Examples(f(theta, X), y, weight) for X, y, weight in episode]
                for episode in episodes
            ]
        support, query = map(join_stacks, zip(*stacks, strict=True))
        means = self._means(theta, support, query)
        constant = {k: p.to(TUNING) for k, p in (theta | means).items()}
        identity = Backbone(torch.nn.Identity(), (f.n_features_out,))

        def loss(params: Params) -> Tensor:
            return self.loss(identity, constant | params, support, query).mean()

        starts = self.head.init(len(constant.get(LOG_SHARES, ())), 0, torch.Generator())
        widths = {COMMON: WIDTH_OF_MEAN} if centred else {}
        return centred | means | minimise(loss, starts, constant, len(query.X), widths)

    def _centred(self, theta: Params) -> Params:
        """Move the mean of the W_T into W_0, as only their sum is determined; for real targets."""
        if self.head.labels != "real" or TASK_WEIGHT not in theta:
            return {}
        pairs = {COMMON_WEIGHT: TASK_WEIGHT, COMMON_BIAS: TASK_BIAS}
        means = {common: theta[own].mean(0) for common, own in pairs.items()}
        tasks = {own: theta[own] - means[common] for common, own in pairs.items()}
        return tasks | {common: theta[common] + mean for common, mean in means.items()}

    def _means(self, theta: Params, support: Examples, query: Examples) -> Params:
        """Return the mean features of all rows and of each class, if the head uses them."""
        X, y, weight = join(support, query)
        means: Params = {}
        if CENTRE in theta:
            mass = weight.unsqueeze(-1)
            means[CENTRE] = (mass * X).sum((0, 1)) / mass.sum()
        if MEAN in theta:
            centre = self.head._centre(support.X, support)
            sums, counts = class_sums(self.head._features(X, theta | means | centre), y, weight)
            means[MEAN] = class_means(sums.sum(0), counts.sum(0))
        return means


def join_stacks(stacks: Sequence[Examples]) -> Examples:
    """Join stacks of tasks of different sizes, in float64 on the CPU."""
    n_rows, n_columns = (max(part.y.shape[axis] for part in stacks) for axis in (-2, -1))
    padded = [pad(part, n_rows, n_columns) for part in stacks]
    return Examples(*(torch.cat(part).to(TUNING) for part in zip(*padded, strict=True)))


def minimise(
    loss: Callable[[Params], Tensor],
    starts: Params,
    current: Params,
    n_tasks: int,
    widths: Mapping[str, float],  # where they are not WIDTH
) -> Params:
    """Minimise a mean over tasks by L-BFGS; a weak prior around the starts keeps params finite."""
    params = {k: current[k].clone().requires_grad_() for k in starts}
    optimizer = torch.optim.LBFGS(
        list(params.values()), max_iter=N_STEPS, line_search_fn="strong_wolfe"
    )

    def value() -> Tensor:
        scores = [(p - starts[k]) / widths.get(k, WIDTH) for k, p in params.items()]
        total = loss(params) + torch.stack(scores).square().sum() / (2 * n_tasks)
        grads = torch.autograd.grad(total, list(params.values()))
        for p, g in zip(params.values(), grads, strict=True):
            p.grad = g
        return total.detach()

    before = value()
    optimizer.step(value)
    if not value() <= before:  # or not finite
        return {k: current[k] for k in starts}
    return {k: p.detach() for k, p in params.items()}


# ---- estimators --------------------------------------------------------------------------------


def n_rows() -> Any:
    """Declare how many rows of a task an iteration takes."""
    return param(
        16,
        integer(2),
        "training",
        """Number of rows of a task (of each class, if labels are local to a task) in an iteration
        of `meta_fit`; a smaller task gives all its rows. The sizes of support and query only
        matter to the episodes that tune the head.""",
    )


def normalize() -> Any:
    """Declare how features are normalised."""
    return param(
        None,
        option("l2", "center", "support", None),
        "structural",
        """Scale the features of each row to length 1 for the head of a new task ("l2", which is
        L2N of SimpleShot), or first subtract the mean features of all tasks ("center", which is
        CL2N) or of the support ("support").""",
    )


def validation_fraction() -> Any:
    """Declare how many tasks are held out."""
    return param(
        0.1,
        real(0, 0.5, open_left=True, none=True),
        "training",
        """Share of the tasks that `meta_fit` holds out. It tunes the head on them, keeps the epoch
        with the lowest loss on them, and, if tasks share their labels, chooses a temperature of
        the class probabilities. No task is held out if `validation_tasks` are passed,
        meta-training is a single epoch, the share is less than two tasks, or tasks are read or
        drawn one by one: the head is then tuned on `validation_tasks`, or on the tasks of
        meta-training. None never holds out any.""",
        kw_only=True,
    )


def task_layers() -> Any:
    """Declare whether tasks have layers."""
    return param(
        True,
        option(True, False),
        "training",
        """Whether `meta_fit` trains the encoder with a layer for each task. Otherwise it trains the
        encoder through the head in closed form, on episodes of support and query: a second round,
        with ``warm_start=True``, for an encoder that was trained with layers before.""",
        kw_only=True,
    )


def training_size(source: EpisodeSource, n_rows: int, task_layers: bool) -> EpisodeSize:
    """Return the size of episodes of `n_rows` rows, whose classes are in the order of the task.

    A pool and tasks that are sampled anew have sizes of their own, and so has a second round.
    """
    if source.n_tasks < 2 or not task_layers:
        return source.size
    half = n_rows // 2  # not all rows are query: statistics of the support may standardise rows
    return EpisodeSize((half, half), n_rows - half, orders_classes=True)


@describe
@dataclass(eq=False, repr=False)
class MultitaskClassifier(MetaClassifier):
    """Classifier by a head in closed form on an encoder that was trained with a head for each task.

    `meta_fit` trains the encoder f and a linear layer for each task together, by the mean
    cross-entropy of random rows of each task, and then discards these layers. `fit` keeps the
    encoder fixed and computes a new head from the support, in closed form. `meta_fit` tunes the
    penalty of this head and the scale of its logits at the end of each epoch, on episodes of the
    tasks that it holds out (`validation_fraction`) or of `validation_tasks`. Without such tasks it
    uses those of meta-training, whose labels the encoder has learned, and probabilities are too
    extreme.

    If tasks share their labels, their layers have a common part. The prior of a new task consists
    of this part and the shares of the labels. The classes of a :class:`~sklearn_meta.FewShotTasks`
    have a single layer, as in "Baseline" and "RFS". Tasks of another distribution occur only once:
    they train the encoder in episodes, through the head in closed form.

    See Also
    --------
    MultitaskRegressor : The same for regression.
    ProtoNetClassifier : Trains the encoder in episodes, for prototypes.
    FineTuneClassifier : One layer for the labels of all tasks, and gradient steps in `fit`.

    Notes
    -----
    The "linear probe" of the literature on molecules is ``head="logistic"``.

    References
    ----------
    Caruana, "Multitask Learning", Machine Learning, 1997. Tian, Wang, Krishnan, Tenenbaum and
    Isola, "Rethinking Few-shot Image Classification: a Good Embedding Is All You Need?", ECCV 2020
    (RFS). Wang, Chao, Weinberger and van der Maaten, "SimpleShot: Revisiting Nearest-Neighbor
    Classification for Few-Shot Learning", 2019.

    Examples
    --------
    >>> from sklearn_meta import MultitaskClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = MultitaskClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    head: str = param(
        "ridge",
        option("ridge", "logistic", "prototype", "gp"),
        "structural",
        """The head of a new task: a ridge regression of one-hot labels, a logistic regression
        (slow for more than a few hundred rows times classes), class prototypes, or a Gaussian
        process regression of one-hot labels with a squared exponential kernel.""",
    )
    normalize: str | None = normalize()
    n_rows: int = n_rows()
    label_smoothing: float = param(
        0.0,
        Constraint(
            lambda p: real(0, 1).allows(p) and p < 1, "a float in the range [0, 1)", "float"
        ),
        "training",
        "Share of each label that `meta_fit` spreads over all classes of a task.",
    )
    validation_fraction: float | None = validation_fraction()
    task_layers: bool = task_layers()

    always_holds_out: ClassVar[bool] = True

    @property
    def joins_pool(self) -> bool:
        """Whether the classes of a pool have a single layer."""
        return self.task_layers

    def training_episodes(self, source: EpisodeSource) -> EpisodeSize:
        """Return the size of the episodes of meta-training."""
        return training_size(source, self.n_rows, self.task_layers)

    def make_algorithm(self) -> Multitask:
        """Make the algorithm that the parameters describe."""
        heads = {
            "ridge": RidgeHead("task", self.normalize),
            "logistic": LogisticHead("task", self.normalize),
            "prototype": NearestMeanHead("task", self.normalize),
            "gp": GaussianProcessHead("task", self.normalize, "rbf", False),
        }
        smoothing = float(self.label_smoothing)
        return Multitask(self.make_loss(), heads[self.head], smoothing, self.task_layers)


@describe
@dataclass(eq=False, repr=False)
class MultitaskRegressor(MetaRegressor):
    """Regressor by a head in closed form on an encoder that was trained with a head for each task.

    `meta_fit` trains the encoder f and a linear layer for each task together, by the mean squared
    error of random rows of each task. These layers have a common part, which is the prior of a new
    task; the parts of single tasks are discarded. `fit` keeps the encoder fixed and computes what
    the support adds to the prior, in closed form. `meta_fit` tunes the penalty at the end of each
    epoch, on episodes of the tasks that it holds out, of `validation_tasks`, or else of the tasks
    of meta-training. A task without rows is predicted by the prior.

    With ``loss="gaussian"``, the ridge regression is a Bayesian one, and both heads predict a
    variance.

    See Also
    --------
    MultitaskClassifier : The same for classification.
    FineTuneRegressor : One layer for all tasks, and gradient steps in `fit`.

    References
    ----------
    Caruana, "Multitask Learning", Machine Learning, 1997.

    Examples
    --------
    >>> from sklearn_meta import MultitaskRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = MultitaskRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    head: str = param(
        "ridge",
        option("ridge", "gp"),
        "structural",
        """The head of a new task: a ridge regression, or a Gaussian process with a squared
        exponential kernel.""",
    )
    normalize: str | None = normalize()
    n_rows: int = n_rows()
    validation_fraction: float | None = validation_fraction()
    task_layers: bool = task_layers()

    always_holds_out: ClassVar[bool] = True

    @property
    def held_out_share(self) -> float:
        """Share of the tasks to hold out for validation."""
        return self.validation_fraction or 0.0

    def training_episodes(self, source: EpisodeSource) -> EpisodeSize:
        """Return the size of the episodes of meta-training."""
        return training_size(source, self.n_rows, self.task_layers)

    def make_algorithm(self) -> Multitask:
        """Make the algorithm that the parameters describe."""
        gaussian = self.predicts_std
        kernel = "rbf" if self.head == "gp" else "linear"
        head: ClosedFormHead = GaussianProcessHead("real", self.normalize, kernel, gaussian)
        if self.head == "ridge" and not gaussian:  # the same means at lower cost
            head = RidgeHead("real", self.normalize)
        return Multitask(self.make_loss(), head, has_task_layers=self.task_layers)
