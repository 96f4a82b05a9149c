"""Configuration of the site: ``sphinx-build -W --keep-going docs build/site``."""

import pix2spec

project = "pix2spec"
author = "the pix2spec authors"
copyright = "2026, the pix2spec authors"
version = release = pix2spec.__version__

extensions = [
    "myst_nb",  # pages in Markdown, and the notebook, which every build runs
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_title = f"pix2spec {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_merge_streams = True

# A function that a page names must exist: a missing target breaks the build. Classes in docstrings are
# exempt, for numpydoc's types are prose ("array (n, L)"); pages name classes with the role py:obj.
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*"), ("py:exc", ".*"), ("py:data", ".*")]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
copybutton_exclude = ".linenos, .gp, .go"
doctest_test_doctest_blocks = "default"
