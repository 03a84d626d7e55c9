"""Sessions for nox: `nox -s tests`, `nox -s lint`, ... The workflows of GitHub run the same."""

from pathlib import Path
from tempfile import mkdtemp

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"

NIGHTLY = "https://pypi.anaconda.org/scientific-python-nightly-wheels/simple"
NIGHTLY_TORCH = "https://download.pytorch.org/whl/nightly/cpu"


def run_tests(session: nox.Session) -> None:
    """Run pytest on what the session has installed."""
    session.run("python", "-m", "pytest", *session.posargs, env={"SCIPY_ARRAY_API": "1"})


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests with the newest dependencies."""
    session.install(".[test]")
    run_tests(session)


@nox.session(python="3.10")
def oldest(session: nox.Session) -> None:
    """Run the tests with the oldest Python and the oldest dependencies."""
    session.install("--constraint", ".ci/oldest.txt", ".[test]")
    run_tests(session)


@nox.session
def nightly(session: nox.Session) -> None:
    """Run the tests with tomorrow's numpy, scipy, scikit-learn, pandas and torch."""
    session.install(".[test]")
    packages = ["numpy", "scipy", "scikit-learn", "pandas"]
    session.install("--pre", "--upgrade", "--extra-index-url", NIGHTLY, *packages)
    session.install("--pre", "--upgrade", "--index-url", NIGHTLY_TORCH, "torch", "--no-deps")
    run_tests(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    session.install(".[test,dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy", "sklearn_meta")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site in docs/_build/html, with warnings and broken links as errors."""
    session.install(".[docs]")
    build = ["python", "-m", "sphinx", "-W", "--keep-going", "-b", "html"]
    session.run(*build, "docs", "docs/_build/html")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build and check the distributions, and try the wheel; `-- FOLDER` keeps them."""
    smoke_test = Path(".ci/smoke.py").resolve()
    folder = Path(session.posargs[0] if session.posargs else mkdtemp()).resolve()
    session.install("build", "check-manifest", "twine")
    session.run("check-manifest")
    session.run("python", "-m", "build", "--outdir", str(folder))
    distributions = sorted(str(path) for path in folder.glob("sklearn_meta-*"))
    session.run("twine", "check", "--strict", *distributions)
    session.install(*(path for path in distributions if path.endswith(".whl")))
    session.chdir(mkdtemp())
    session.run("python", str(smoke_test))  # away from the checkout
