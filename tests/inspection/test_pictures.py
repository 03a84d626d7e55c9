"""The script that draws the pictures of docs/inspection.md, with a small budget."""

import importlib.util
from pathlib import Path

import pytest

plt = pytest.importorskip("matplotlib.pyplot")
IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.mark.slow
def test_the_script_draws_the_pictures_that_the_docs_show(tmp_path):
    spec = importlib.util.spec_from_file_location("inspection_pictures", IMAGES / "inspection.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path, max_meta_iter=3, n_test=5)
    plt.close("all")
    drawn = {path.name for path in tmp_path.iterdir()}
    page = (IMAGES.parent / "inspection.md").read_text(encoding="utf-8")
    assert len(drawn) == 7
    assert all(f"images/{name}" in page and (IMAGES / name).exists() for name in drawn)
