"""Gapminder: the table of 142 countries, and facts about them."""

import sys
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from sklearn_meta.datasets import load_gapminder
from sklearn_meta.tasks import as_tasks


@pytest.fixture(scope="module")
def world():
    return load_gapminder()


def test_each_country_has_twelve_years_and_one_continent(world):
    assert (world.data.shape, world.target.shape) == ((1704, 3), (1704,))
    countries, counts = np.unique(world.country, return_counts=True)
    assert len(countries) == 142
    assert set(counts) == {12}
    np.testing.assert_array_equal(world.data[:, 0], np.tile(np.arange(1952, 2008, 5), 142))
    assert len({*zip(world.country, world.continent, strict=True)}) == 142
    sizes = dict(zip(*np.unique(world.continent, return_counts=True), strict=True))
    assert sizes == {"Africa": 624, "Americas": 300, "Asia": 396, "Europe": 360, "Oceania": 24}
    assert len(as_tasks(world.data, world.target, groups=world.country)) == 142


@pytest.mark.parametrize(
    ("country", "year", "life", "people"),
    [
        ("Japan", 2007, 82.603, 127467972),  # the longest life in the table
        ("Rwanda", 1992, 23.599, 7290203),  # the shortest, two years before the genocide
        ("Congo, Dem. Rep.", 1952, 39.143, 14100005),  # its name has a comma
    ],
)
def test_known_values(world, country, year, life, people):
    (row,) = np.flatnonzero((world.country == country) & (world.data[:, 0] == year))
    assert (world.target[row], world.data[row, 1]) == (life, people)


def test_lives_grew_longer_and_values_are_plausible(world):
    assert (world.target.min(), world.target.max()) == (23.599, 82.603)
    mean = [world.target[world.data[:, 0] == year].mean() for year in (1952, 2007)]
    np.testing.assert_allclose(mean, [49.06, 67.01], atol=0.01)
    assert (world.data[:, 1:] > 0).all()
    assert world.feature_names == ["year", "pop", "gdpPercap"]


def test_the_frame_holds_the_same_numbers(world):
    frame = load_gapminder(as_frame=True).frame
    assert list(frame) == ["country", "continent", "year", "lifeExp", "pop", "gdpPercap"]
    np.testing.assert_array_equal(frame[world.feature_names], world.data)
    np.testing.assert_array_equal(frame["lifeExp"], world.target)
    np.testing.assert_array_equal(frame["country"], world.country)
    assert pd.api.types.is_integer_dtype(frame["pop"])
    assert world.frame is None


def test_without_pandas_only_the_frame_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert len(load_gapminder().target) == 1704
    with pytest.raises(ImportError, match="pip install pandas"):
        load_gapminder(as_frame=True)


def test_a_bad_parameter_is_refused():
    with pytest.raises(ValueError, match="'as_frame' parameter of load_gapminder"):
        load_gapminder(as_frame="yes")


def test_the_description_and_the_licence_name_the_sources(world):
    folder = files("sklearn_meta.datasets").joinpath("data")
    licence = folder.joinpath("gapminder_LICENSE.txt").read_text(encoding="utf-8")
    for text in (licence, world.DESCR):
        for word in ("gapminder.org", "CC BY 3.0", "Jennifer Bryan", "CC0"):
            assert word in text
