"""Ids of the rows of a catalogue."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from pix2spec.data.readers.column_values import id_texts, numbers
from pix2spec.data.readers.columns import Columns
from pix2spec.data.readers.guards import spec_id
from pix2spec.data.readers.spectrum_headers import id_of_name

__all__ = ["file_names", "given_ids", "unique_ids"]


def unique_ids(table, columns: Columns, stem: str) -> tuple[list[str], list[str]]:
    """Ids of the rows, and notes about them."""
    notes: list[str] = []
    candidates = list(_candidate_ids(table, columns, notes))
    files = file_names(table, columns)
    if all(files) and _differ(files):
        candidates.append((columns.first("file"), files))
    if not candidates:
        columns.roles["id"] = []
        rows = [f"{stem}-{i + 1}" for i in range(len(table))]
        return rows, [*notes, f"rows have no ids: they are {rows[0]} ..."]
    best = next((c for c in candidates if all(c[1]) and _differ(c[1])), None)
    if best:
        columns.roles["id"] = [best[0]]
        return best[1], notes
    best = candidates[0]
    columns.roles["id"] = [best[0]]
    ids = [text or f"{stem}-{i + 1}" for i, text in enumerate(best[1])]
    doubles = _number_doubles(ids)
    if doubles:
        notes.append(f"{doubles} rows repeat an id of {best[0]}: it is followed by -2, -3 ...")
    missing = best[1].count("")
    if missing:
        notes.append(
            f"{missing} rows have no id in {best[0]}: they are numbered, as in {stem}-{best[1].index('') + 1}"
        )
    return ids, notes


def _differ(ids: list[str]) -> bool:
    return len(set(ids)) == len(ids)


def _number_doubles(ids: list[str]) -> int:
    """Add -2, -3 ... to ids that were there before; returns their number."""
    seen: Counter = Counter()
    doubles = 0
    for i, name in enumerate(ids):
        seen[name] += 1
        if seen[name] > 1:
            doubles += 1
            ids[i] = f"{name}-{seen[name]}"
            while ids[i] in seen:
                ids[i] += "x"
            seen[ids[i]] += 1
    return doubles


def given_ids(table, columns: Columns) -> list[str]:
    """Ids of the rows as the table has them, "" where it has none; they may repeat."""
    return next((ids for _, ids in _candidate_ids(table, columns, [])), [""] * len(table))


def file_names(table, columns: Columns) -> list[str]:
    """Ids of the spectra whose files the rows name, "" where they name none."""
    name = columns.first("file")
    if not name:
        return [""] * len(table)
    return [id_of_name(text) if text else "" for text in id_texts(table[name])[0]]


def _candidate_ids(table, columns: Columns, notes: list[str]) -> Iterator[tuple[str, list[str]]]:
    plate, mjd, fiber = (columns.first(role) for role in ("plate", "mjd", "fiber"))
    if plate and mjd and fiber:
        parts = np.stack([numbers(table[name]) for name in (plate, mjd, fiber)], axis=1)
        good = np.isfinite(parts).all(1) & (parts >= 0).all(1) & (parts[:, 0] > 0)
        ids = [spec_id(*row) if ok else "" for row, ok in zip(parts, good)]
        if any(ids):
            yield f"{plate}-{mjd}-{fiber}", ids
    else:
        ids = []
    instead = "they are not used" if any(ids) else "rows are numbered"
    release, brick = columns.first("release"), columns.first("brick")
    for name in columns.roles.get("id", []):
        ids, lost = id_texts(table[name])
        if lost:
            notes.append(f"{name}: the ids lost their last digits in a spreadsheet or as floating-point "
                         f"numbers; {instead}")  # fmt: skip
        if brick and name.lower() == "objid":  # unique within its brick only
            parts_of = [id_texts(table[c])[0] for c in (*[release] * bool(release), brick)]
            yield (
                "-".join([*[release] * bool(release), brick, name]),
                ["-".join(p) for p in zip(*parts_of, ids)],
            )
        elif any(ids):
            yield name, ids
    for name in table.meta.get("index", ()):
        if name in table.colnames:
            ids, _ = id_texts(table[name])
            if any(ids) and ids != [str(i) for i in range(len(ids))]:
                yield name, ids
