"""Configuration of the site: ``sphinx-build -W --keep-going docs build/site``."""

import re

from latex2mathml.converter import convert

import pix2spec

project = "pix2spec"
author = "the pix2spec developers"
copyright = "2026, the pix2spec developers"
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
doctest_global_setup = "import numpy as np\nimport pix2spec"
html_math_renderer = "mathml"


def mathml(self, node):
    """Formulae as MathML: browsers draw it themselves, and the site needs no script from elsewhere."""
    from docutils import nodes

    inline = isinstance(node, nodes.math)
    self.body.append(convert(node.astext(), display="inline" if inline else "block"))
    raise nodes.SkipNode


def titles_for_file_names(app, page, source):
    """``[rank.md](rank.md)``, which reads well on GitHub, becomes a link with the page's title."""
    source[0] = re.sub(r"\[([\w-]+\.md)\]\(([\w./]*)\1", r"[](\2\1", source[0])


def setup(app):
    """What the pages need beyond the extensions."""
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
    app.connect("source-read", titles_for_file_names)
