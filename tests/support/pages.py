"""Checks of HTML pages."""

from xml.etree.ElementTree import Element

import html5lib

ADDRESSES = ("src", "href", "srcset", "data", "action", "poster")


def parse_page(text: str) -> Element:
    """The tree of a page or fragment, which has to be valid HTML and to load nothing from elsewhere."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    tree = parser.parse(text) if text.startswith("<!doctype") else parser.parseFragment(text)
    for element in tree.iter():
        assert element.tag not in ("script", "link", "iframe", "object", "embed"), element.tag
        assert not [name for name in element.attrib if name.startswith("on")], element.attrib
        for name in ADDRESSES:
            assert element.get(name, "data:image/png;base64,").startswith("data:image/png;base64,")
    style = " ".join(element.text or "" for element in tree.iter("style"))
    assert "url(" not in style and "@import" not in style
    return tree


def text_of(tree: Element) -> str:
    """Its words, without the style sheet."""
    for element in tree.iter("style"):
        element.text = ""
    return " ".join("".join(tree.itertext()).split())


def cells_of(tree: Element) -> list[list[str]]:
    """Texts of all tables' cells, row by row."""
    return [[" ".join("".join(cell.itertext()).split()) for cell in row] for row in tree.iter("tr")]
