"""Gapminder: life expectancy of 142 countries over 55 years, which comes with the package."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np
from sklearn.utils import Bunch

from sklearn_meta._optional import need
from sklearn_meta.parameters import check_parameter, option

__all__ = ["load_gapminder"]

FEATURES = ["year", "pop", "gdpPercap"]
COLUMNS = ["country", "continent", "year", "lifeExp", "pop", "gdpPercap"]

DESCR = """\
Gapminder
---------
Life expectancy at birth (in years), population, and GDP per capita (in US dollars, adjusted for
inflation) of 142 countries, every five years from 1952 to 2007: 1704 rows, 12 of each country.

Gapminder compiled the series from several sources and filled gaps with estimates, so that they are
smoother than measurements. The GDP of China in 1952 was imputed by the author of the R package.

Free material from gapminder.org, CC BY 3.0, as in the R package gapminder 0.3.0 by Jennifer Bryan
(CC0), github.com/jennybc/gapminder, DOI 10.5281/zenodo.594018.
"""


def load_gapminder(*, as_frame: bool = False) -> Bunch:
    """Load the life expectancy of 142 countries over 55 years, which needs no download.

    Each country has 12 rows, one for every fifth year from 1952 to 2007. A country is a task. The
    data are an excerpt of those of Gapminder [1]_, by Jennifer Bryan [2]_.

    Parameters
    ----------
    as_frame : bool, default=False
        If True, `frame` holds all columns as one DataFrame (needs pandas).

    Returns
    -------
    gapminder : :class:`~sklearn.utils.Bunch`
        One row is a country in a year, n = 1704. It holds

        data : ndarray of shape (n, 3)
            The year, the population, and the GDP per capita in US dollars, adjusted for inflation.
        feature_names : list of str
            "year", "pop" and "gdpPercap".
        target : ndarray of shape (n,)
            The life expectancy at birth, in years.
        country : ndarray of str of shape (n,)
            The country, which is the task.
        continent : ndarray of str of shape (n,)
            "Africa", "Americas", "Asia", "Europe" or "Oceania".
        frame : DataFrame of shape (n, 6) or None
            The columns "country", "continent", "year", "lifeExp", "pop" and "gdpPercap".
        DESCR : str
            Description and source of the data.

    Raises
    ------
    ValueError
        If `as_frame` is not a bool.
    ImportError
        If `as_frame` is True and pandas is not installed.

    See Also
    --------
    fetch_parkinsons : Downloads a table of 42 patients.

    References
    ----------
    .. [1] Free material from https://www.gapminder.org, CC BY 3.0.
    .. [2] J. Bryan, "gapminder: Data from Gapminder", R package version 0.3.0, 2017.

    Examples
    --------
    >>> from sklearn_meta.datasets import load_gapminder
    >>> from sklearn_meta.tasks import as_tasks
    >>> world = load_gapminder()
    >>> len(as_tasks(world.data, world.target, groups=world.country))
    142
    """
    check_parameter("as_frame", as_frame, option(True, False), "load_gapminder")
    pandas = need("pandas", "pandas", "load_gapminder(as_frame=True)") if as_frame else None
    path = files("sklearn_meta.datasets").joinpath("data/gapminder.csv")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    column = {name: np.array([row[name] for row in rows]) for name in COLUMNS}
    numbers = {name: column[name].astype(np.float64) for name in ["lifeExp", *FEATURES]}
    frame = None
    if pandas is not None:
        frame = pandas.DataFrame(column | numbers).astype({"year": int, "pop": int})
    return Bunch(
        data=np.stack([numbers[name] for name in FEATURES], axis=1),
        feature_names=list(FEATURES),
        target=numbers["lifeExp"],
        country=column["country"],
        continent=column["continent"],
        frame=frame,
        DESCR=DESCR,
    )
