"""Configuration of the documentation site; CONTRIBUTING.md has the command that builds it."""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS / "demo")]

import build_demo  # noqa: E402

from sklearn_meta import __version__  # noqa: E402

project = "sklearn_meta"
author = "the sklearn_meta developers"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "notfound.extension",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "check_links",
    "docstrings",
    "links",
    "mermaid",
]
root_doc = "index"
exclude_patterns = ["_build"]
templates_path = ["_templates"]

# Pages: Markdown that GitHub renders, too.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Pages of public names, which docs/api.md lists.
autosummary_generate = True
default_role = "py:obj"
autodoc_typehints = "none"  # docstrings have the types
autodoc_default_options = {"member-order": "bysource"}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
add_module_names = False

# Other projects. Without a network there are no links to them, and no warning.
INVENTORIES = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "sklearn": "https://scikit-learn.org/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "skorch": "https://skorch.readthedocs.io/en/stable/",
}


def answers(url: str) -> bool:
    """Return whether a site has an inventory and can be reached."""
    try:
        urlopen(f"{url}objects.inv", timeout=5).close()
    except OSError:
        return False
    return True


intersphinx_mapping = {name: (url, None) for name, url in INVENTORIES.items() if answers(url)}

# Examples: scripts that run with the arguments in _ext/gallery_arguments.py.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"^(?!plot_)",
    "within_subsection_order": "FileNameSortKey",
    "reset_argv": "gallery_arguments.arguments",
    "doc_module": ("sklearn_meta",),
    "backreferences_dir": "gallery/backreferences",
    "reference_url": {"sklearn_meta": None},
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "remove_config_comments": True,
}

highlight_options = {lang: {"stripnl": True} for lang in ("python", "pycon")}
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_meta"
ALONE = ["getting_started", "choosing", "concepts", "faq", "demo/index", "changes"]
ALONE += ["install", "related", "404"]
html_sidebars = {page: [] for page in ALONE}  # there are no other pages in their sections
html_static_path = ["_static"]
# The runtime and the network of the demo. Without npm or a network there is none.
try:
    demo = build_demo.build()
except build_demo.DownloadError as error:
    print(f"The site is built without the demonstration: {error}")
    demo = None
html_extra_path = [str(demo)] if demo else []
links_not_checked = ["404.html"] if demo else ["404.html", "demo/index.html"]
html_css_files = ["site.css"]
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {
        "text": "sklearn_meta",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo-dark.svg",
    },
    "header_links_before_dropdown": 6,
    "navbar_persistent": ["search-button"],
    "show_prev_next": True,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
}

# The address of the published site, which its workflow sets. Canonical links, the sitemap and the
# previews of shared links contain it, and so do the links of the page 404, which a server may show
# for any address below.
html_baseurl = os.environ.get("SITE_URL", "").rstrip("/")
notfound_urls_prefix = f"{urlsplit(html_baseurl).path}/"
if html_baseurl:
    html_baseurl += "/"
    extensions += ["sphinx_sitemap", "sphinxext.opengraph"]
    sitemap_url_scheme = "{link}"
    sitemap_excludes = ["404.html", "search.html", "genindex.html", "_modules/*"]
    ogp_site_url, ogp_site_name = html_baseurl, project
    ogp_image = "_images/characters.png"
    ogp_social_cards = {"enable": False}
