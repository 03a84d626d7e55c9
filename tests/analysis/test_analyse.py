"""analyse: verdicts on families whose truth is known, and the report."""

import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from sklearn_meta import (
    MAMLRegressor,
    ProtoNetClassifier,
    SkippedTaskWarning,
    Task,
    TaskError,
)
from sklearn_meta.analysis import TaskGroups, analyse, task_distances
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks, make_sinusoid_tasks

pytestmark = pytest.mark.slow  # each report compares many learners

WAVES = make_sinusoid_tasks(30, 12, amplitude=(1, 5), random_state=0)
BLOBS = make_blob_tasks(12, n_rows=24, n_shot=2, random_state=0)


def lines(tau, mean, n_tasks=24, n_rows=24, seed=0):
    cov = tau**2 * np.eye(3)
    return make_linear_tasks(n_tasks, n_rows, 3, mean=[mean] * 3, cov=cov, random_state=seed).tasks


def cases(report):
    return {result.size: result.case for result in report.verdicts}


@pytest.fixture(scope="module")
def waves():
    return analyse(WAVES, random_state=0)


@pytest.fixture(scope="module")
def blobs():
    return analyse(BLOBS, random_state=0)


def test_meta_learning_pays_on_sinusoids(waves):
    assert waves.pays
    assert cases(waves) == {2: "meta", 5: "meta"}
    assert waves.verdicts[0].best["meta"] == "hierarchical kernel regression"
    first = waves.learners[0]
    assert waves.advice.startswith("HierarchicalRegressor(basis='spline'). ")
    assert first.reason.startswith("With 2 and 5 rows meta-learning pays. ")
    assert first.estimator.basis == "spline"


def test_identical_tasks_are_pooled():
    report = analyse(lines(1e-4, 1.0), random_state=0)
    assert set(cases(report).values()) == {"pooled"}
    assert not report.pays
    assert "no more than noise" in str(report)
    assert report.learners[0].name == "PooledRegressor"
    assert "one model for all tasks is enough" in report.learners[0].reason


def test_tasks_that_share_nothing_are_learned_alone():
    rng = np.random.RandomState(0)
    tasks = [Task(t.X, t.y + 9 * rng.standard_normal()) for t in lines(9.0, 0.0, n_rows=50)]
    report = analyse(tasks, support_sizes=20, random_state=0)
    assert cases(report) == {20: "per-task"}
    assert "RidgeCV(alphas=" in report.advice
    assert ") on each task alone. " in report.advice


def test_nothing_is_learned_from_noise():
    report = analyse(lines(1e-4, 0.0), random_state=0)
    assert set(cases(report).values()) == {"nothing"}
    assert report.verdict.splitlines()[:2] == [
        "No: with 2 to 10 rows nothing is learned.",
        "No learner is clearly ahead of predicting without inputs.",
    ]
    assert "other features, more rows" in report.advice
    assert [learner.name for learner in report.learners] == [
        "DummyRegressor",
        "DeepKernelRegressor",
    ]


def test_hidden_groups_are_recovered():
    two = [lines(0.3, mean, 12, seed=s) for s, mean in enumerate((2.0, -2.0))]
    report = analyse([*two[0], *two[1]], random_state=0)
    assert set(report.groups.labels[:12].tolist()) in ({0}, {1})
    assert set(report.groups.labels[12:].tolist()) in ({0}, {1})
    assert any(note.startswith("2 groups of [12, 12] tasks") for note in report.notes)
    assert "select_tasks" in report.advice


@pytest.fixture(scope="module")
def with_stranger():
    tasks = list(lines(0.3, 1.0))
    tasks[5] = Task(tasks[5].X, 60 * tasks[5].X[:, 0], name="<b>stranger</b>")
    return tasks, analyse(tasks, random_state=0)


def test_a_foreign_task_is_named(with_stranger):
    tasks, report = with_stranger
    assert report.outliers == ["<b>stranger</b>"]
    assert report.notes[0] == "Tasks unlike all others, which do not count: <b>stranger</b>."
    assert report.advice.startswith("look at the tasks unlike all others. Then: ")
    usual = analyse([t for t in tasks if t.name is None], random_state=0)
    assert cases(report) == cases(usual)
    assert 0.5 < report.variance / usual.variance < 2


def test_local_labels(blobs):
    assert blobs.local_labels
    assert blobs.learners[0].name == "HierarchicalClassifier"
    assert {learner.estimator.labels for learner in blobs.learners[:1]} == {"task"}
    named = [Task(t.X, [f"{i}{k}" for k in t.y]) for i, t in enumerate(BLOBS)]
    report = analyse(named, random_state=0)
    assert report.labels is None
    assert not report.local_labels
    assert "The tasks have different labels, so no pooled model was tried." in report.notes
    assert "pooled" not in report.intervals()


def test_shared_labels_are_pooled():
    tasks = [Task(t.X, np.where(t.y > 0, "yes", "no")) for t in lines(1e-4, 2.0)]
    report = analyse([t for t in tasks if 8 < np.sum(t.y == "yes") < 16], random_state=0)
    assert report.labels == ("no", "yes")
    assert set(cases(report).values()) == {"pooled"}
    assert report.learners[0].estimator.labels == "shared"


def test_the_report_has_a_title_a_verdict_of_three_lines_a_table_and_notes(waves, blobs):
    for report in (waves, blobs):
        title, verdict, table, learners, notes = str(report).split("\n\n")
        assert title == f"{report.title()}."
        assert verdict == report.verdict
        assert len(verdict.splitlines()) == 3
        assert verdict.splitlines()[2] == f"Try first: {report.advice}"
        assert table.splitlines()[0] == report.caption()
        assert len(table.splitlines()) == 1 + len(report.table())
        assert learners == f"Learners to try, in this order:\n{report.learners}"
        assert notes.splitlines() == [f"- {note}" for note in report.notes]
    assert waves.title() == "30 regression tasks of 12 rows, 1 feature"
    assert repr(waves) == "TaskReport(30 tasks: Yes: with 2 to 5 rows meta-learning pays.)"


def test_the_table_is_that_of_the_comparison(waves):
    head, *lines = waves.table()
    across = head.index("meta")
    for line, verdict in zip(lines, waves.verdicts, strict=True):
        score = waves.comparison.interval(verdict.best["meta"], verdict.size)
        assert float(line[across].strip("*")) == pytest.approx(
            -score.mean / waves.variance, rel=0.01
        )
        assert [cell.endswith("*") for cell in line].count(True) == 1
        assert line[across].endswith("*")
        assert line[-1] == f"{100 * verdict.gain.hurt:.0f} %"
        gain = verdict.gain.difference.mean / waves.variance
        assert float(line[-2].split()[0]) == pytest.approx(gain, rel=0.1)


def test_the_evidence_is_the_largest_gain(waves):
    best = max(waves.verdicts, key=lambda v: v.gain.difference.mean)
    line = waves.verdict.splitlines()[1]
    assert line.startswith(f"With {best.size} rows, the gain of {best.best['meta']} over ")
    assert line.endswith("] of the variance.")
    far = best.gain.difference._replace(low=-1e3, high=1e3)
    noisy = best._replace(gain=best.gain._replace(difference=far, p_sign=0.5))
    assert replace(waves, verdicts=(noisy,)).verdict.splitlines()[1].endswith("within the noise.")
    by_signs = best._replace(gain=best.gain._replace(difference=far, p_sign=0.001))
    text = replace(waves, verdicts=(by_signs,)).verdict.splitlines()[1]
    assert text.endswith(
        f"sign test over tasks ({best.gain.wins} wins, {best.gain.losses} losses)."
    )


def test_the_same_seed_gives_the_same_report(waves):
    assert str(analyse(WAVES, random_state=0)) == str(waves)


class Page(HTMLParser):
    """Which elements are open, and what was seen."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.images = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_complete_html_without_other_files(waves, tmp_path):
    path = tmp_path / "report.html"
    text = waves.to_html(path)
    assert path.read_text(encoding="utf-8") == text
    page = Page(text)
    assert not page.open
    assert page.seen.count("li") == len(waves.notes) + len(waves.learners)
    assert page.seen.count("tr") == 1 + len(waves.verdicts)
    assert len(page.images) == 3
    assert all(image["alt"] and image["src"].startswith("data:") for image in page.images)
    assert waves._repr_html_() in text


def test_names_are_escaped_on_the_page(with_stranger):
    text = with_stranger[1].to_html()
    assert "<b>" not in text
    assert "which do not count: &lt;b&gt;stranger&lt;/b&gt;." in text


def test_without_matplotlib_the_page_has_no_pictures(blobs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text = blobs.to_html()
    assert "pip install matplotlib" in text
    assert "<img" not in text


def test_an_estimator_is_compared_and_left_unchanged():
    maml = MAMLRegressor(hidden_layer_sizes=8, max_meta_iter=3, random_state=0)
    before = maml.get_params()
    report = analyse(lines(0.5, 1.0, 8, 12), maml, random_state=0)
    assert maml.get_params() == before
    assert not hasattr(maml, "theta_")
    assert report.estimator_name == "MAMLRegressor"
    assert report.comparison.kinds["MAMLRegressor"] == "meta"
    assert "MAMLRegressor" in report.table()[0]


def advice_of(waves, *cases, hurt=0.0, groups=(0, 0), name=None):
    verdicts = [
        v._replace(case=case, gain=v.gain._replace(hurt=hurt))
        for v, case in zip(waves.verdicts, cases, strict=True)
    ]
    groups = TaskGroups(np.array(groups), 0.5, 0.01)
    report = replace(waves, verdicts=tuple(verdicts), groups=groups, estimator_name=name)
    return report.advice


def test_the_advice_mentions_the_estimator(waves):
    text = advice_of(waves, "meta", "meta", name="MyLearner")
    assert text.startswith(
        "HierarchicalRegressor(basis='spline'). Then ALPaCARegressor, DeepKernelRegressor. "
    )
    assert text.endswith("MyLearner did not do as well with its current parameters.")
    assert "current" not in advice_of(waves, "meta", "meta", name="HierarchicalRegressor")


def test_the_advice_follows_the_verdicts(waves):
    assert "protect the mean, not each task" in advice_of(waves, "meta", "meta", hurt=0.3)
    assert "select_tasks" in advice_of(waves, "meta", "pooled", groups=(0, 1))
    text = advice_of(waves, "pooled", "pooled", groups=(0, -1))
    assert text.startswith("look at the tasks unlike all others. Then: ")
    assert "more tasks, because chance hides" in advice_of(waves, "unclear", "per-task")


@pytest.mark.parametrize(
    ("cases", "answer"),
    [
        (("meta", "meta"), "Yes: with 2 to 5 rows meta-learning pays."),
        (("unclear", "meta"), "In part: with 2 rows these tasks do not show what is best; "),
        (("unclear", "per-task"), "Not clear: with 2 rows these tasks do not show"),
        (
            ("pooled", "per-task"),
            "No: with 2 rows one model for all tasks is enough; with 5 rows one",
        ),
    ],
)
def test_answer_of_the_report(waves, cases, answer):
    verdicts = [v._replace(case=case) for v, case in zip(waves.verdicts, cases, strict=True)]
    report = replace(waves, verdicts=tuple(verdicts))
    assert report.verdict.startswith(answer)
    assert report.pays == ("meta" in cases)


def test_rare_classes_count_as_much_as_common_ones():
    rng, tasks = np.random.RandomState(0), []
    for _ in range(16):
        X = rng.standard_normal((60, 3))
        y = np.where(np.argsort(np.argsort(X[:, 0])) < 54, "common", "rare")
        tasks.append(Task(X, y))
    report = analyse(tasks, random_state=0)
    assert set(cases(report).values()) == {"pooled"}
    assert report.comparison.chance == 0.5


def test_a_table_of_rows():
    tasks = lines(0.5, 1.0, 8, 12)
    X, y = (np.concatenate([getattr(t, name) for t in tasks]) for name in ("X", "y"))
    report = analyse(X, y=y, groups=np.repeat(list("abcdefgh"), 12), random_state=0)
    assert report.names == tuple("abcdefgh")


def test_tasks_without_enough_rows_or_classes_are_left_out():
    one_class = Task(BLOBS[0].X[:4], np.zeros(4, dtype=int))
    report = analyse([*BLOBS[:4], one_class], random_state=0)
    assert len(report.names) == len(report.distances) == 4
    assert "Tasks with too few rows, or with one class, were left out: 1." in report.notes


@pytest.mark.slow
def test_another_metric_is_that_of_task_distances(blobs):
    report = analyse(BLOBS, metric="otdd", random_state=0)
    np.testing.assert_allclose(report.distances, task_distances(BLOBS, metric="otdd"))
    assert "Distance of two tasks (otdd): median" in str(report)

    def far(a, b):
        return abs(float(a.X.mean() - b.X.mean()))

    assert analyse(BLOBS, metric=far, random_state=0).metric == "far"


def test_of_many_tasks_some_are_drawn():
    report = analyse(lines(0.5, 1.0, 20, 12), max_tasks=8, random_state=0)
    assert len(report.names) == 8
    assert "8 of 20 tasks were drawn." in report.notes


def test_rows_in_several_tasks_are_noted():
    tasks = lines(0.5, 1.0, 8, 12)
    report = analyse([*tasks, tasks[0]], random_state=0)
    assert "rows are in more than one task" in report.notes[0]
    assert "Only 9 tasks: the conclusion is uncertain." in report.notes


def test_short_and_long_tasks():
    tasks = [*lines(0.5, 1.0, 19, 24), *lines(0.5, 1.0, 1, 6, seed=1), *lines(0.5, 1.0, 2, 600)]
    report = analyse(tasks, random_state=0)
    assert any("were not compared: 1." in note for note in report.notes)
    assert any("Of longer tasks, 200 rows were drawn" in note for note in report.notes)
    assert report.n_rows.max() == 200


def test_short_tasks_do_not_hide_the_result_of_long_ones():
    long, short = lines(0.5, 1.0, 20, 24), lines(0.5, 1.0, 12, 4, seed=1)
    report = analyse([*long, *short], random_state=0)
    result = report.comparison
    assert [verdict.size for verdict in report.verdicts] == list(result.sizes) == [2, 5, 10]
    tasks = {
        size: {r.task for r in result.records if r.support_size == size} for size in (2, 5, 10)
    }
    assert tasks[5] == tasks[10] < tasks[2]
    assert tasks[10] <= set(range(20))
    assert max(tasks[2]) >= 20
    assert any("20 tasks have enough rows for a support of 5" in n for n in report.notes)
    few = analyse([*long[:11], *short], random_state=0)  # the median task is short
    assert [verdict.size for verdict in few.verdicts] == [2]


def test_several_outputs_and_rows_of_several_axes():
    tasks = [Task(t.X[:, :, None], np.column_stack([t.y, 2 * t.y])) for t in lines(0.5, 1.0)]
    report = analyse(tasks, random_state=0)
    assert report.n_features == 3
    assert report.pays


@pytest.mark.parametrize(
    ("tasks", "how", "error", "message"),
    [
        (WAVES[:3], {}, TaskError, "at least 4 tasks need four rows.*Only 3 of 3"),
        (WAVES, {"metric": lambda a, b: np.nan}, ValueError, "not finite"),
        (WAVES, {"max_tasks": 3}, ValueError, "'max_tasks' parameter of analyse"),
        (WAVES, {"metric": "gradient"}, ValueError, "'metric' parameter of analyse"),
        (WAVES, {"metric": "nearness"}, ValueError, "'metric' parameter of analyse"),
        (WAVES, {"target_type": "both"}, ValueError, "target_type"),
        (WAVES, {"estimator": Ridge()}, TypeError, "with meta_fit"),
        (WAVES, {"estimator": MAMLRegressor}, TypeError, "with meta_fit"),
        (
            BLOBS,
            {"estimator": MAMLRegressor(), "target_type": "class"},
            TypeError,
            "not for targets of",
        ),
        (WAVES, {"estimator": ProtoNetClassifier()}, TaskError, "classification needs class"),
        ([Task(t.X[:3], t.y[:3]) for t in WAVES], {}, TaskError, "four rows"),
    ],
)
def test_bad_input_is_one_clear_error(tasks, how, error, message):
    how = dict(how)
    with pytest.raises(error, match=message):
        analyse(tasks, how.pop("estimator", None), random_state=0, **how)


def test_a_meta_fitted_estimator_is_accepted():
    tasks = lines(0.5, 1.0, 8, 12)
    maml = MAMLRegressor(hidden_layer_sizes=8, max_meta_iter=3, random_state=0).meta_fit(tasks)
    fresh = analyse(tasks, clone(maml).reset_meta(), random_state=0)
    report = analyse(tasks, maml, random_state=0)
    assert str(fresh) == str(report)  # what it has seen of tasks held out does not count


# ---- sizes and kinds of supports, and tasks that cannot be used ----------------------------------


def lines_of(*lengths):
    tasks = make_linear_tasks(len(lengths), 60, 2, mean=[2, 2], random_state=0).tasks
    return [Task(t.X[:n], t.y[:n]) for t, n in zip(tasks, lengths, strict=True)]


def test_chosen_sizes_are_tried_on_the_tasks_that_can_serve_them():
    report = analyse(lines_of(*[30] * 6, *[5] * 4), support_sizes=[3, 20, 50], random_state=0)
    assert report.comparison.sizes == (3, 20)
    assert {r.task for r in report.comparison.records if r.support_size == 20} == {*range(6)}
    assert "6 tasks have enough rows for a support of 20 or more." in report.notes
    assert "Fewer than 4 tasks have enough rows for 50." in report.notes


@pytest.mark.parametrize("sizes", [0, [], [2.5]])
def test_sizes_that_are_none_are_refused(sizes):
    with pytest.raises(ValueError, match="support_sizes"):
        analyse(lines_of(*[9] * 5), support_sizes=sizes)


def test_an_analysis_of_the_first_rows_is_that_of_fixed_supports():
    tasks = lines_of(*[24] * 12)
    how = {"support_sizes": 6, "random_state": 0, "metric": "meta_features"}
    first = analyse(tasks, support="first", **how)
    fixed = analyse([Task(t.X, t.y, support=range(6)) for t in tasks], **how)
    assert [r.score for r in first.comparison.records] == [
        r.score for r in fixed.comparison.records
    ]


def test_an_analysis_skips_tasks_that_cannot_be_used():
    tasks = lines_of(*[24] * 12)
    bad = Task(np.full((9, 2), np.nan), np.arange(9.0), name="gaps")
    with pytest.warns(SkippedTaskWarning, match="1 of 13 tasks.*'gaps'"):
        report = analyse([bad, *tasks], unusable="skip", random_state=0)
    assert report.names == tuple(f"task {i}" for i in range(1, 13))
    assert "Tasks that cannot be used were skipped: 1." in report.notes
    with pytest.raises(TaskError, match="'gaps'"):
        analyse([bad, *tasks], random_state=0)
