"""HTML from the templates of the folder ``templates``; every value is escaped unless a template made it."""

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
        File below ``templates``, for example ``"contact_sheet.html.j2"``.
    **values
        Its variables. A missing one raises ``jinja2.UndefinedError``.
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
