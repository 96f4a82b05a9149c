"""Find the checksums that an archive publishes, through the listings of its folders."""

import re
from collections.abc import Iterable
from dataclasses import replace

from pix2spec.data.archives.download import Downloader
from pix2spec.data.archives.urls import Remote, Services, checksums

__all__ = ["read_sha1sums", "sha1sum_files", "with_checksums"]

LINK = re.compile(r"""href=["']?(?:\./)?([A-Za-z0-9][A-Za-z0-9._+-]{0,100}\.sha1sum)["'\s>]""", re.ASCII)
LINE = re.compile(r"\\?([0-9a-fA-F]{40}) [ *](?:.*/)?([^/\n]+)")
MAX_TEXT_LENGTH = 50_000_000  # characters of a listing or checksum file that are read


def with_checksums(
    downloader: Downloader, services: Services, release: str, remotes: Iterable[Remote]
) -> list[Remote]:
    """Add the checksums that the archive publishes to `remotes`.

    For each folder, its listing and the ``.sha1sum`` file named there are fetched. Both stay in the
    downloader's folder, so that later calls find them. A file that cannot be fetched counts as not published.

    Returns
    -------
    list of Remote
        In the order of `remotes`; without a published checksum, a remote is unchanged.
    """
    remotes = list(remotes)
    listing_of = [checksums(services, release, remote) for remote in remotes]
    listings = {listing.name: listing for listing in listing_of if listing is not None}
    lists = []
    for got in downloader.fetch(listings.values()):
        if got.path is not None:
            lists += [(got.remote.name, found) for found in sha1sum_files(got.remote, _text(got.path))]
    folder_of = {found.name: listing for listing, found in lists}
    sums: dict[str, dict[str, str]] = {}
    for got in downloader.fetch([found for _, found in lists]):
        if got.path is not None:
            sums.setdefault(folder_of[got.remote.name], {}).update(read_sha1sums(_text(got.path)))
    return [
        replace(remote, sha1=sums.get(listing.name, {}).get(remote.url.rsplit("/", 1)[1], remote.sha1))
        if listing is not None
        else remote
        for remote, listing in zip(remotes, listing_of)
    ]


def sha1sum_files(listing: Remote, text: str) -> list[Remote]:
    """The ``.sha1sum`` files that a folder's listing links to. Links to other folders are ignored."""
    folder = listing.name.rsplit("/", 1)[0]
    names = sorted(set(LINK.findall(text)))
    return [Remote(listing.url + name, f"{folder}/{name}", "text", approx_bytes=100_000) for name in names]


def read_sha1sums(text: str) -> dict[str, str]:
    """File name (without folders) to checksum, from the output format of the program sha1sum."""
    found = (LINE.fullmatch(line) for line in text.splitlines())
    return {line[2]: line[1].lower() for line in found if line}


def _text(path) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read(MAX_TEXT_LENGTH)
