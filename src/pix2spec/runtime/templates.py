"""HTML pages from the templates in the folder ``templates``. Values of variables are escaped."""

import base64
import math
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render"]


def render(template: str, **values: Any) -> str:
    """Fill in a template.

    Parameters
    ----------
    template : str
        A file in ``templates``, for example ``"contact_sheet.html.j2"``.
    **values
        The variables of the template.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    jinja2.UndefinedError
        If a variable is missing.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pix2spec"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    environment.tests["finite"] = lambda value: isinstance(value, Real) and math.isfinite(value)
    return environment
