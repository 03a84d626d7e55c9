"""ARUBA: what a learned start saves in the regret of online gradient descent, task by task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from sklearn_meta.analysis.linear_tasks import Floats, LinearTasks, check_number, linear_tasks
from sklearn_meta.exceptions import TaskError

__all__ = ["ArubaRegret", "aruba_regret"]

OWNER = "aruba_regret"
N_NEWTON = 500  # of a penalised logistic regression, which takes about 10, and 30 if separable


@dataclass(frozen=True, eq=False)
class ArubaRegret:
    """Regrets of online gradient descent in tasks, their bounds, and V against D.

    Prints as words.

    Parameters
    ----------
    regret, bound : ndarray of shape (n_tasks,)
        Summed loss of the descent from `start`, less that of the task's own best weights; and
        |best - start|^2 / (2 eta) + (eta / 2) sum |gradient|^2, which is never below.
    regret_from_zero, bound_from_zero : ndarray of shape (n_tasks,)
        The same of a descent that starts at 0, with a step of its own.
    V, D : float
        Root mean square distance of the tasks' best weights from `start`, and from 0.
    best : ndarray of shape (n_tasks, p)
        The tasks' best weights.
    start : ndarray of shape (p,) or (n_tasks, p)
        Where each task starts.
    eta, eta_from_zero : float
        The steps.
    """

    regret: Floats
    bound: Floats
    regret_from_zero: Floats
    bound_from_zero: Floats
    V: float
    D: float
    best: Floats
    start: Floats
    eta: float
    eta_from_zero: float

    @property
    def ratio(self) -> float:
        """V / D: the predicted ratio of the regrets with and without the learned start."""
        return self.V / self.D if self.D else 1.0

    @property
    def measured_ratio(self) -> float:
        """Mean regret from the learned start over mean regret from 0."""
        return float(self.regret.mean() / self.regret_from_zero.mean())

    def __str__(self) -> str:
        word = "saves" if self.ratio < 1 else "adds"
        return (
            f"The best weights of {len(self.best)} tasks lie {self.V:.3g} from the start and "
            f"{self.D:.3g} from zero: the start {word} {100 * abs(1 - self.ratio):.0f} % of the "
            f"regret by the bound. Measured: a regret of {self.regret.mean():.3g} a task (bound "
            f"{self.bound.mean():.3g}) against {self.regret_from_zero.mean():.3g} from zero "
            f"(bound {self.bound_from_zero.mean():.3g})."
        )


def aruba_regret(
    tasks: Any,
    start: ArrayLike | str = "mean",
    *,
    eta: float | None = None,
    alpha: float = 1e-2,
    fit_intercept: bool = True,
    target_type: str | None = None,
) -> ArubaRegret:
    r"""Run online gradient descent through each task, and hold its regret against ARUBA's bound.

    Rows come one after the other, as they stand in the task; each costs its loss at the present
    weights (half the squared error, or the logistic loss), then the weights take a gradient step.
    As both losses are convex, on every path

    .. math:: \sum_i \ell_i(w_i) - \ell_i(w^*) \le \frac{|w^* - \phi|^2}{2 \eta}
        + \frac{\eta}{2} \sum_i |\nabla \ell_i(w_i)|^2 ,

    at most :math:`\eta G^2 m / 2` in the last term. With the best step the mean over tasks is of
    the order V G sqrt(m), and D G sqrt(m) from a start at 0: V / D is the predicted gain.

    Parameters
    ----------
    tasks : sequence of tasks
        As :func:`~sklearn_meta.tasks.as_tasks` takes them; labels are the same two in all tasks.
    start : {"mean", "online"} or array-like of shape (p,), default="mean"
        :math:`\phi`: mean of the best weights of all tasks (known in hindsight only); that of the
        tasks before, 0 for the first; or weights of your own, the intercept last.
    eta : float, default=None
        The step. None: the best for the gradients at the start, V / (G sqrt(m)) with the mean m, at
        most 1 over the largest curvature of a row; and so with D for the descent from 0.
    alpha : float, default=0.01
        Penalty :math:`\alpha |w|^2 / 2` on a task's summed loss that its best weights minimise,
        without which they may not exist. The bound holds for any weights to compare with.
    fit_intercept, target_type : bool and {"class", "real"}, default=True and None
        Whether to append a constant, and what `y` holds; None: as `as_tasks` reads it.

    Returns
    -------
    ArubaRegret
        With one entry a task.

    Raises
    ------
    TaskError, ValueError
        If tasks cannot be used, there are other than two classes or one output, `start` has another
        shape, or a number is out of its range.

    References
    ----------
    Khodak, Balcan and Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods", NeurIPS 2019.

    Examples
    --------
    >>> from sklearn_meta.analysis import aruba_regret
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> family = make_linear_tasks(50, 20, 3, mean=[3, 3, 3], noise=0.5, random_state=0)
    >>> found = aruba_regret(family.tasks, fit_intercept=False)
    >>> bool((found.regret <= found.bound).all()), round(found.ratio, 1)
    (True, 0.3)
    """
    check_number(alpha, "alpha", OWNER)
    if eta is not None:
        check_number(eta, "eta", OWNER)
    data = linear_tasks(tasks, fit_intercept=fit_intercept, target_type=target_type, owner=OWNER)
    X, y, rows, logistic = _padded(data)
    slope = _logistic_slope if logistic else _squared_slope
    loss = _logistic_loss if logistic else _squared_loss
    curvature = 0.25 if logistic else 1.0
    best = _newton(X, y, rows, alpha, slope, logistic)
    phi = _start(start, best)
    most = 1 / max(curvature * float(np.max(np.sum(X**2, axis=2))), np.finfo(float).tiny)
    least = _losses(loss, X, y, rows, best).sum(1)

    def run(origin: Floats) -> tuple[Floats, Floats, float, float]:
        far = np.sum((best - origin) ** 2, axis=1)
        radius = float(np.sqrt(far.mean()))
        step = _step(X, y, rows, origin, slope, radius, most) if eta is None else float(eta)
        paid, squares = _descend(X, y, rows, origin, step, loss, slope)
        if not np.isfinite(paid + squares).all():
            t = int(np.argmin(np.isfinite(paid + squares)))
            raise ValueError(
                f"{data.names[t]}: the descent diverged with eta={step:.3g} on X of shape "
                f"{data.X[t].shape}; the default is at most {most:.3g} here."
            )
        return paid - least, far / (2 * step) + step / 2 * squares, radius, step

    from_phi, from_zero = run(phi), run(np.zeros_like(best))
    return ArubaRegret(
        *from_phi[:2],
        *from_zero[:2],
        from_phi[2],
        from_zero[2],
        best,
        phi if isinstance(start, str) and start == "online" else phi[0],
        from_phi[3],
        from_zero[3],
    )


def _padded(data: LinearTasks) -> tuple[Floats, Floats, Floats, bool]:
    """Rows (T, m, p), targets and marks of rows (T, m), and whether the targets are signs."""
    if data.classes is not None and len(data.classes) != 2:
        raise TaskError(f"{OWNER} needs two classes in all; there are {len(data.classes)}.")
    if data.classes is None and data.y[0].shape[1] != 1:
        raise TaskError(
            f"{OWNER} needs one target a row; {data.names[0]} has y of shape {data.y[0].shape}."
        )
    sizes, p = data.n_rows, data.X[0].shape[1]
    X, y = np.zeros((len(sizes), sizes.max(), p)), np.zeros((len(sizes), sizes.max()))
    rows = (np.arange(sizes.max()) < sizes[:, None]).astype(np.float64)
    for t, n in enumerate(sizes):
        X[t, :n] = data.X[t]
        y[t, :n] = data.y[t][:, 0] if data.classes is None else 2 * data.y[t][:, 1] - 1
    return X, y, rows, data.classes is not None


def _start(start: ArrayLike | str, best: Floats) -> Floats:
    if isinstance(start, str):
        if start not in ("mean", "online"):
            raise ValueError(
                f"The 'start' parameter of {OWNER} must be 'mean', 'online' or an array of "
                f"weights. Got {start!r} instead."
            )
        if start == "mean":
            return np.broadcast_to(best.mean(0), best.shape)
        before = np.cumsum(best, axis=0)[:-1] / np.arange(1, len(best))[:, None]
        return np.concatenate([np.zeros((1, best.shape[1])), before])
    phi = np.asarray(start, dtype=np.float64)
    if phi.shape != best.shape[1:] or not np.isfinite(phi).all():
        raise ValueError(
            f"{OWNER}: start must be finite, one entry a coefficient; got shape {phi.shape} for "
            f"rows of {best.shape[1]} coefficients."
        )
    return np.broadcast_to(phi, best.shape)


Slope = Callable[[Floats, Floats], Floats]  # derivative of a row's loss by its prediction


def _squared_loss(z: Floats, y: Floats) -> Floats:
    return (z - y) ** 2 / 2


def _squared_slope(z: Floats, y: Floats) -> Floats:
    return z - y


def _logistic_loss(z: Floats, y: Floats) -> Floats:
    return np.logaddexp(0, -y * z)


def _logistic_slope(z: Floats, y: Floats) -> Floats:
    slope: Floats = -y * expit(-y * z)
    return slope


def _losses(loss: Slope, X: Floats, y: Floats, rows: Floats, w: Floats) -> Floats:
    return rows * loss(np.einsum("tmp,tp->tm", X, w), y)


def _newton(
    X: Floats, y: Floats, rows: Floats, alpha: float, slope: Slope, logistic: bool
) -> Floats:
    """Minimise the penalised losses of all tasks at once."""
    w, eye = np.zeros((len(X), X.shape[2])), alpha * np.eye(X.shape[2])
    for _ in range(N_NEWTON if logistic else 1):
        z = np.einsum("tmp,tp->tm", X, w)
        g = np.einsum("tm,tmp->tp", rows * slope(z, y), X) + alpha * w
        curve = rows * (expit(z) * expit(-z) if logistic else 1.0)
        H = np.einsum("tm,tmp,tmq->tpq", curve, X, X) + eye
        step = np.linalg.solve(H, g[..., None])[..., 0]
        # curvature changes by a factor of exp(|x| |step|) at most: so damped, it always descends
        far = np.max(np.linalg.norm(X, axis=2), axis=1) * np.linalg.norm(step, axis=1)
        damped = np.log1p(far) / np.where(far > 0, far, 1) if logistic else np.ones(len(X))
        w = w - damped[:, None] * step
        if np.max(far) < 1e-9:
            break
    return w


def _step(
    X: Floats, y: Floats, rows: Floats, w: Floats, slope: Slope, radius: float, most: float
) -> float:
    g = rows * slope(np.einsum("tmp,tp->tm", X, w), y)
    squares = np.sum(g**2 * np.sum(X**2, axis=2)) / rows.sum()
    steep = float(np.sqrt(squares * rows.sum(1).mean()))
    return min(radius / steep, most) if 0 < radius < most * steep else most


def _descend(
    X: Floats, y: Floats, rows: Floats, w: Floats, eta: float, loss: Slope, slope: Slope
) -> tuple[Floats, Floats]:
    """Sum losses and squared gradients along the paths of all tasks, row by row."""
    paid, squares = np.zeros(len(X)), np.zeros(len(X))
    with np.errstate(over="ignore", invalid="ignore"):  # a descent that diverged is told of
        for i in range(X.shape[1]):
            z = np.sum(X[:, i] * w, axis=1)
            g = (rows[:, i] * slope(z, y[:, i]))[:, None] * X[:, i]
            paid += rows[:, i] * loss(z, y[:, i])
            squares += np.sum(g**2, axis=1)
            w = w - eta * g
    return paid, squares
