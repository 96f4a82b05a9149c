"""Strict interpretation of HTTP responses: lengths, error statuses, redirects and first bytes."""

import email.utils
import re
import time
from urllib.parse import urlsplit

__all__ = ["Failed", "full_length", "refusal", "same_service", "version_tag", "wrong_kind"]

FIRST_BYTES = {"fits": b"SIMPLE  =", "bz2": b"BZh", "gzip": b"\x1f\x8b", "jpeg": b"\xff\xd8\xff"}
MAX_WAIT_SECONDS = 120.0  # If a server asks for a longer wait, the file is left for a later run.


class Failed(Exception):
    """A failed attempt to fetch a file.

    Parameters
    ----------
    what : str
        The reason.
    retry : bool
        Whether this run may try again.
    permanent : bool
        Whether later runs cannot succeed either, for example because the file does not exist.
    after : float
        Seconds to wait before the next attempt.
    """

    def __init__(self, what: str, retry=True, permanent=False, after=0.0):
        super().__init__(what)
        self.retry, self.permanent, self.after = retry and not permanent, permanent, after


def wrong_kind(kind: str, head: bytes) -> str:
    """Describe first bytes that are not those of a file of `kind`; an empty text if they are."""
    html = head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))
    if kind == "html":
        good = html
    elif kind == "text":
        good = not html and b"\0" not in head
    else:
        good = head.startswith(FIRST_BYTES[kind])
    if good:
        return ""
    return f"{'HTML' if html else repr(head[:12])} instead of {kind.upper()}"


def full_length(response, have: int) -> int | None:
    """Size of the complete file in bytes, according to the headers of a response.

    None if the headers do not say it, or if the response is a part that does not start at byte `have`.
    """
    if response.status_code == 206:
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return int(told[2]) if told and int(told[1]) == have else None
    told = response.headers.get("Content-Length", "")
    return int(told) if re.fullmatch(r"\d{1,18}", told) else None


def version_tag(response) -> str:
    """The tag that identifies this version of a file in an If-Range header, or an empty text."""
    tag = response.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):  # A weak ETag does not promise the same bytes (RFC 9110, 13.1.5).
        tag = response.headers.get("Last-Modified", "")
    return tag if tag.isascii() and tag.isprintable() else ""


def refusal(response) -> Failed:
    """The `Failed` for an error status. Only 404 and 410 mean that the file does not exist."""
    status = response.status_code
    told = f"the server answered {status} {response.reason_phrase}".strip()
    if status in (404, 410):
        return Failed(told, permanent=True)
    if status not in (408, 425, 429) and status < 500:
        return Failed(told, retry=False)
    after = retry_after(response.headers.get("Retry-After", ""))
    if after > MAX_WAIT_SECONDS:
        return Failed(f"{told} and asks to wait {after:.0f} s", retry=False)
    return Failed(told, after=after)


def retry_after(told: str) -> float:
    """Seconds to wait according to a Retry-After header (a number or a date); 0 if it is neither."""
    if re.fullmatch(r"\d{1,9}", told.strip()):
        return float(told)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(told).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def same_service(first: str, second: str) -> bool:
    """Whether a redirect stays within a domain and does not change the scheme, except to https."""
    try:
        one, two = urlsplit(first), urlsplit(second)
        ports = two.port in (None, one.port)
    except ValueError:
        return False
    if not one.hostname or not two.hostname or two.username or two.scheme not in (one.scheme, "https"):
        return False
    named = re.search(r"[a-z]", one.hostname) and one.hostname.count(".")
    domain = ".".join(one.hostname.split(".")[-2:]) if named else one.hostname
    return ports and (two.hostname == one.hostname or (bool(named) and two.hostname.endswith("." + domain)))
