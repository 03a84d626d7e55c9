"""The demonstration of the site: symbols are drawn in a browser, and recognised as Python would."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from sklearn_meta import FewShotTasks
from sklearn_meta.datasets import load_characters

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "docs" / "demo"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Demo</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><body>"""
WAIT = 120_000  # milliseconds
TOUCH = "Input.dispatchTouchEvent"

# Strokes in the unit square.
SYMBOLS = [
    [[(0.2, 0.9), (0.5, 0.1), (0.8, 0.9), (0.2, 0.9)]],  # a triangle
    [[(0.1, 0.2), (0.3, 0.8), (0.5, 0.3), (0.7, 0.8), (0.9, 0.2)]],  # a W
    [[(0.5, 0.1), (0.5, 0.9)], [(0.1, 0.5), (0.9, 0.5)]],  # a plus
]
PHONE = {"viewport": {"width": 375, "height": 812}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def scripts():
    """The modules build_demo and make_model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DEMO))
        import build_demo
        import make_model

        yield build_demo, make_model


def test_the_page_shows_the_lines_that_made_the_network():
    text = (DEMO / "index.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    source = (DEMO / "make_model.py").read_text(encoding="utf-8")
    assert code in re.sub(r"^    ", "", source, flags=re.MULTILINE)


def test_without_npm_the_demonstration_is_left_out(scripts, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert scripts[0].build(tmp_path) is None
    assert "npm was not found" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_drawings_are_moved_to_the_middle(scripts):
    image = np.zeros((28, 28), np.float32)
    image[2:7, 20:24] = 1
    (moved,) = scripts[1].centre(image[None])
    assert np.argwhere(moved).mean(0).tolist() == [13, 13.5]
    assert moved.sum() == image.sum()


@pytest.fixture(scope="module")
def demo(scripts, tmp_path_factory):
    """The estimator of the page and the address of the page, which has no server."""
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    if shutil.which("npm") is None:
        pytest.skip("npm is missing")
    build_demo, make_model = scripts
    folder = tmp_path_factory.mktemp("demo")
    for archive in (ROOT / "docs" / "_build" / "demo").glob("*.tgz"):
        shutil.copy(archive, folder)
    clf = make_model.main(folder, max_meta_iter=150, n_tasks=2)
    try:
        site = build_demo.build(folder)
    except build_demo.DownloadError as error:
        pytest.skip(str(error))
    page = site / "demo" / "index.html"
    page.write_text(PAGE + (DEMO / "symbols.html").read_text(encoding="utf-8"), encoding="utf-8")
    return clf, page.as_uri()


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    path = next(found, None)
    if path is None:
        pytest.skip("Chromium is missing")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(demo, browser):
    """Open the page; in the end, it has loaded nothing from elsewhere, and reported no error."""
    reports, contexts = [], []

    def opened(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: reports.append(str(error)))
        page.on("console", lambda message: reports.append(message.text))
        page.on("request", lambda request: reports.append(request.url))
        page.goto(demo[1])
        page.wait_for_selector(".symbols-bars li", timeout=WAIT)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [report for report in reports if not re.match("file:|blob:null/", report)] == []


def wobble(strokes, rng):
    """Scale, turn and shift strokes, and move their points."""
    turn = np.eye(2) + rng.uniform(-0.12, 0.12, (2, 2))
    zoom, shift = rng.uniform(0.6, 0.95), rng.uniform(-0.02, 0.02, 2)
    return [
        0.5 + shift + zoom * (np.array(s) - 0.5 + rng.normal(0, 0.02, (len(s), 2))) @ turn
        for s in strokes
    ]


def draw(page, canvas, strokes, touch):
    """Draw strokes on a canvas, with a mouse or a finger."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    finger = page.context.new_cdp_session(page) if touch else None
    for stroke in strokes:
        corners = np.array([box["x"], box["y"]]) + np.array(stroke) * box["width"]
        steps = np.linspace(0, len(corners) - 1, 8 * (len(corners) - 1) + 1)
        path = np.stack([np.interp(steps, range(len(corners)), xy) for xy in corners.T], axis=1)
        if touch:
            for i, (x, y) in enumerate(path.tolist()):
                event = {
                    "type": "touchMove" if i else "touchStart",
                    "touchPoints": [{"x": x, "y": y}],
                }
                finger.send("Input.dispatchTouchEvent", event)
            finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        else:
            page.mouse.move(*path[0])
            page.mouse.down()
            for point in path:
                page.mouse.move(*point)
            page.mouse.up()


READ = """async () => {
    const { symbols, query, pixels, settled } = symbolsDemo;
    await settled();
    const bars = [...document.querySelectorAll(".symbols-bars li")];
    return {
        images: [...symbols, query].map((drawing) => [...pixels(drawing)]),
        shares: bars.map((bar) => Number(bar.dataset.probability)),
        answer: document.querySelector(".symbols-answer").textContent,
    };
}"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, PHONE], ids=["mouse", "touch"])
def test_symbols_are_drawn_and_recognised(demo, opened, options):
    clf, _ = demo
    page, touch, rng = opened(**options), "has_touch" in options, np.random.RandomState(0)
    page.get_by_role("button", name="Draw your own").press("Enter")
    for letter, strokes in zip("ABC", SYMBOLS, strict=True):
        draw(page, page.get_by_role("img", name=f"Symbol {letter}, empty"), strokes, touch)
        page.get_by_role("img", name=f"Symbol {letter}, drawn").wait_for()
    for k in (0, 1, 2, 2, 1, 0):
        page.get_by_role("button", name="Clear", exact=True).press("Enter")
        draw(page, page.get_by_role("img", name="New drawing"), wobble(SYMBOLS[k], rng), touch)
        shown = page.evaluate(READ)
        images = np.array(shown["images"], np.float32).reshape(-1, 28, 28)
        clf.fit(images[:3], [0, 1, 2])
        np.testing.assert_allclose(shown["shares"], clf.predict_proba(images[3:])[0], atol=1e-4)
        assert shown["answer"].startswith(f"This is symbol {'ABC'[k]} (")


SCORE = """async (tasks) => {
    const { symbols, query, settled } = symbolsDemo;
    const all = [];
    for (const images of tasks) {
        [...symbols, query].forEach((drawing, i) => drawing.show({ pixels: images[i] }));
        await settled();
        const bars = [...document.querySelectorAll(".symbols-bars li")];
        all.push(bars.map((bar) => Number(bar.dataset.probability)));
    }
    return all;
}"""


@pytest.mark.slow
@pytest.mark.parametrize("n_way", [3, 5])
def test_new_characters_are_recognised_as_in_python(demo, scripts, opened, n_way):
    clf, _ = demo
    page = opened()
    for _ in range(n_way - 3):
        page.get_by_role("button", name="Add a symbol").click()
    new = load_characters(subset="evaluation")
    tasks = FewShotTasks(new.images, new.target, n_way=n_way, n_shot=1, n_query=1)
    tasks = tasks.sample(100, random_state=0)
    drawn = [np.concatenate([t.X_support, t.X_query[:1]]).reshape(n_way + 1, -1) for t in tasks]
    shares = np.array(page.evaluate(SCORE, np.array(drawn).tolist()))
    classes = [t.y_support.tolist() for t in tasks]
    right = [c[k] == t.y_query[0] for c, k, t in zip(classes, shares.argmax(1), tasks, strict=True)]
    expected = []
    for task in tasks:
        clf.fit(scripts[1].centre(task.X_support), range(n_way))
        expected.append(clf.predict_proba(scripts[1].centre(task.X_query[:1]))[0])
    np.testing.assert_allclose(shares, expected, atol=1e-4)
    print(f"{n_way} characters: accuracy {np.mean(right):.0%} in the page")
    assert np.mean(right) > {3: 0.85, 5: 0.75}[n_way]


@pytest.mark.slow
def test_buttons(opened):
    page = opened()
    answer = page.locator(".symbols-answer")
    page.get_by_role("button", name="Add a symbol").press("Enter")
    page.get_by_role("img", name="Symbol D, empty").wait_for()
    page.get_by_role("button", name="Show an example").press("Enter")
    page.get_by_role("img", name="Symbol D, drawn").wait_for()
    page.evaluate("symbolsDemo.settled()")
    assert page.locator(".symbols-bars li").count() == 4
    page.get_by_role("button", name="Remove symbol A").press("Enter")
    page.evaluate("symbolsDemo.settled()")
    assert page.locator(".symbols-bars li").count() == 3
    page.get_by_role("button", name="Clear symbol B").press("Enter")
    page.evaluate("symbolsDemo.settled()")
    assert page.locator(".symbols-bars li").count() == 2
    page.get_by_role("button", name="Clear", exact=True).press("Enter")
    page.evaluate("symbolsDemo.settled()")
    assert answer.inner_text() == "Draw one of the symbols again."
    page.get_by_role("button", name="Another example").press("Enter")
    page.evaluate("symbolsDemo.settled()")
    assert answer.inner_text().startswith("This is symbol ")


@pytest.mark.slow
def test_a_page_without_the_files_says_so(browser, tmp_path):
    path = tmp_path / "index.html"
    path.write_text(PAGE + (DEMO / "symbols.html").read_text(encoding="utf-8"), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.get_by_text("The demonstration is not here.").is_visible()
    assert not page.get_by_text("The new drawing").is_visible()
    page.close()
