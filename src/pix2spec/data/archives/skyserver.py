"""SQL queries to SkyServer through astroquery, with a rate limit, retries and checks of the columns."""

import json
import random
import threading
import time

from pix2spec.data.archives.answers import retry_after
from pix2spec.data.archives.urls import Services, release_named
from pix2spec.errors import InputError

__all__ = ["query", "safe_where"]

# "Currently, you are allowed to submit 60 queries per minute [...] SQL Search: 600 s, 500,000 rows"
# (skyserver.sdss3.org/dr8/en/help/docs/limits.asp)
SPACING = 1.0  # seconds between queries
TIMEOUT = 600.0  # seconds
ATTEMPTS = 6
BACKOFF = 1.0  # seconds: the n-th wait is random up to BACKOFF * 2**n
MAX_WAIT_SECONDS = 60.0  # that a server may ask for

_lock = threading.Lock()  # because astroquery keeps the address in a global setting
_last = 0.0  # time of the last query


def query(
    services: Services, release: str, sql: str, columns: dict[str, str], timeout: float = TIMEOUT
) -> dict:
    """Send a query and return the columns of its answer.

    Parameters
    ----------
    services : Services
        Addresses.
    release : str
        Data release, for example ``"dr17"``.
    sql : str
        The query.
    columns : dict of str to str
        Name of each column (in any case) to its type: ``"int64"``, ``"uint64"``, ``"float64"`` or ``"str"``.
    timeout : float
        Seconds for the server to answer.

    Returns
    -------
    dict of str to array (n,)
        The columns in the order of `columns`. Missing values are NaN, 0 for integers, or "".

    Raises
    ------
    InputError
        If the server refuses the query, cannot be reached, or its answer is not such a table.
    """
    import requests

    where, reason = f"{services.skyserver} ({release})", ""
    for attempt in range(ATTEMPTS):
        try:
            response = _ask(services, release, sql, timeout)
        except requests.RequestException as error:
            reason, after = f"no answer from the server: {type(error).__name__}", 0.0
        else:
            text = response.text
            if message := _complaint(text, response.status_code):
                what = f"the query was refused: {message}"
                raise InputError(where, what, "check `where`, if you gave one")
            try:
                if response.status_code != 200:
                    raise ValueError(f"status {response.status_code} {response.reason}")
                return _columns(text, columns)
            except ValueError as error:
                reason, after = str(error), retry_after(response.headers.get("Retry-After", ""))
        if attempt < ATTEMPTS - 1:
            time.sleep(min(after, MAX_WAIT_SECONDS) + random.uniform(0, BACKOFF * 2**attempt))
    raise InputError(where, f"{reason} ({ATTEMPTS} attempts)", "try again later")


def _ask(services: Services, release: str, sql: str, timeout: float):
    from astroquery.sdss import SDSS, conf

    global _last
    with _lock, conf.set_temp("skyserver_baseurl", services.skyserver):
        time.sleep(max(0.0, _last + SPACING - time.monotonic()))
        _last = time.monotonic()
        number = release_named(release).number
        return SDSS.query_sql_async(sql, data_release=number, timeout=timeout, cache=False)


def _complaint(text: str, status: int) -> str:
    """SkyServer's error message about the query. Empty for busy servers (5xx) and rate limits (429)."""
    if "error_message" not in text or status == 429 or status >= 500:
        return ""
    try:
        message = json.loads(text)["error_message"]
    except (ValueError, KeyError, TypeError):
        message = text
    return " ".join(str(message).split())[:300]


def _columns(text: str, columns: dict[str, str]) -> dict:
    """Parse "#Table1", a line of names, and rows. Raises `ValueError` if a column is missing or wrong."""
    import pyarrow as pa
    import pyarrow.csv as pc

    head, _, table = text.partition("\n")
    if not head.startswith("#"):
        raise ValueError(f"the answer is not a table: {' '.join(text.split())[:80]!r}")
    names = [name.strip().lower() for name in table.partition("\n")[0].split(",")]
    if missing := [name for name in columns if name.lower() not in names]:
        raise ValueError(f"the answer lacks the column {missing[0]}")
    kinds = {"str": pa.string(), "int64": pa.int64(), "uint64": pa.uint64(), "float64": pa.float64()}
    types = {name.lower(): kinds[kind] for name, kind in columns.items()}
    found = pc.read_csv(  # raises ValueError
        pa.BufferReader(table.encode()),
        read_options=pc.ReadOptions(column_names=names, skip_rows=1, use_threads=False),
        convert_options=pc.ConvertOptions(column_types=types, include_columns=list(types)),
    )
    fill = {"str": "", "int64": 0, "uint64": 0, "float64": float("nan")}
    return {name: found[name.lower()].fill_null(fill[kind]).to_numpy() for name, kind in columns.items()}


def safe_where(where: str) -> str:
    """A user's SQL condition in parentheses. Raises `InputError` if it is more than a condition."""
    outside = "".join(where.split("'")[::2])
    depths = [outside[: i + 1].count("(") - outside[: i + 1].count(")") for i in range(len(outside))]
    if any(mark in where for mark in (";", "--", "/*", "*/", "\0")):
        what = "comments and several statements are not allowed"
        raise InputError("`where`", what, "give one condition")
    if where.count("'") % 2 or min(depths, default=0) < 0 or (depths and depths[-1]):
        raise InputError("`where`", "a parenthesis or quote has no partner")
    if not where.strip() or len(where) > 1000:
        raise InputError("`where`", "the condition is empty or longer than 1000 characters")
    return f"({' '.join(where.split())})"
