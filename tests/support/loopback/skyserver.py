"""SkyServer's SQL service: an SQLite database of the sky, and T-SQL translated as far as its users need it.

Tables and columns are named as in the SkyServer schema browser (SpecObjAll, PhotoObjAll, PlateX). What costs
a simulation (fibre photometry) is a function of the row, computed only where a query asks for it.
"""

import csv
import io
import json
import re
import sqlite3
from threading import Lock

import numpy as np

from support.loopback.sky import Sky
from support.loopback.targets import BANDS, Target

MAX_ROWS = 500_000  # the real service's limit
SPEC_COLUMNS = """specObjID bestObjID plate mjd fiberID run2d survey instrument programName class subClass z
zErr zWarning ra dec sciencePrimary legacyPrimary waveMin waveMax wCoverage snMedian plateQuality
targetType""".split()
PHOTO_COLUMNS = "objID specObjID run rerun camcol field obj mode type clean ra dec rowc colc flags".split()
NUMBER = r"\s*([-+0-9.eE]+)\s*"
NEARBY = re.compile(rf"fGet(Nearest|Nearby)ObjEq\({NUMBER},{NUMBER},{NUMBER}\)", re.IGNORECASE)


class SkyServer:
    """Answers SQL about a sky; safe for threads."""

    def __init__(self, sky: Sky):
        self.sky, self.lock, self.database = sky, Lock(), None
        self.targets: dict[int, Target] = {}

    def open(self) -> sqlite3.Connection:
        """Fill the database when the first query comes."""
        if self.database is None:
            database = sqlite3.connect(":memory:", check_same_thread=False)
            names = dict.fromkeys(SPEC_COLUMNS + PHOTO_COLUMNS + ["number", "kind"])
            for band in BANDS:
                names[f"extinction_{band}"] = None
            # T-SQL compares text without regard to case
            database.execute(f"CREATE TABLE everything ({', '.join(f'{n} COLLATE NOCASE' for n in names)})")
            marks = ", ".join("?" * len(names))
            for target in self.sky.all_targets():
                self.targets[target.number] = target
                facts = self.facts(target)
                database.execute(f"INSERT INTO everything VALUES ({marks})", [facts[name] for name in names])
            database.create_function("fibre", 3, self.photometry, deterministic=True)
            self.make_views(database)
            self.database = database
        return self.database

    def make_views(self, database: sqlite3.Connection) -> None:
        photometry = "".join(
            f", fibre(number, {i}, '{kind}') AS {kind}_{band}"
            for kind in (
                "fiberFlux",
                "fiberFluxIvar",
                "fiberMag",
                "fiberMagErr",
                "modelMag",
                "petroMag",
                "psfMag",
            )
            for i, band in enumerate(BANDS)
        )
        extinction = "".join(f", extinction_{band}" for band in BANDS)
        magnitudes = "".join(f", fibre(number, {i}, 'modelMag') AS {b}" for i, b in enumerate(BANDS))
        photo = f"SELECT {', '.join(PHOTO_COLUMNS)}{extinction}{photometry}{magnitudes} FROM everything"
        spec = f"SELECT {', '.join(SPEC_COLUMNS)}, ra AS plugRA, dec AS plugDEC FROM everything"
        primary = "sciencePrimary = 1"
        for name, query in {
            "SpecObjAll": spec,
            "SpecObj": f"{spec} WHERE {primary}",
            "PhotoObjAll": f"{photo} WHERE kind != 'sky'",
            "PhotoObj": f"{photo} WHERE kind != 'sky'",
            "PhotoPrimary": f"{photo} WHERE kind != 'sky'",
            "Galaxy": f"{photo} WHERE kind NOT IN ('sky', 'star', 'quasar')",
            "SpecPhoto": f"{photo} WHERE {primary}",
            "PlateX": "SELECT DISTINCT plate, mjd, run2d, survey, plateQuality FROM everything",
        }.items():
            database.execute(f"CREATE VIEW {name} AS {query}")

    def facts(self, target: Target) -> dict:
        """Everything about a fibre that costs nothing."""
        plate, loglam = target.plate, target.loglam[[0, -1]].astype(float)
        sky = target.kind == "sky"
        facts = {
            "number": target.number,
            "kind": target.kind,
            "specObjID": target.specobjid,
            "bestObjID": target.objid,
            "objID": target.objid,
            "plate": plate.plate,
            "mjd": plate.mjd,
            "fiberID": target.fiber,
            "run2d": plate.run2d,
            "survey": "boss" if plate.boss else "sdss",
            "instrument": "BOSS" if plate.boss else "SDSS",
            "programName": "boss" if plate.boss else "legacy",
            "class": target.spec_class,
            "subClass": "",
            "z": single(self.sky.redshift(target)),
            "zErr": single(np.float32(2e-5)),
            "zWarning": target.zwarning,
            "ra": target.ra,
            "dec": target.dec,
            "sciencePrimary": int(target.kind not in ("repeat", "sky")),
            "legacyPrimary": int(not plate.boss and target.kind not in ("repeat", "sky")),
            "waveMin": single(np.float32(10 ** loglam[0])),
            "waveMax": single(np.float32(10 ** loglam[1])),
            "wCoverage": single(np.float32(1e-4 * target.pixels)),
            "snMedian": 10.0,
            "plateQuality": "good",
            "targetType": "SKY" if sky else "SCIENCE",
            "run": plate.run,
            "rerun": 301,
            "camcol": target.camcol,
            "field": target.field,
            "obj": target.obj,
            "mode": 1,
            "type": 6 if target.kind == "star" else 3,
            "clean": 1,
            "rowc": single(np.float32(target.y + 0.5)),
            "colc": single(np.float32(target.x + 0.5)),
            "flags": 0,
        }
        extinction = self.sky.extinction(target)
        return facts | {f"extinction_{band}": single(a) for band, a in zip(BANDS, extinction)}

    def photometry(self, number: int, band: int, kind: str) -> float:
        """One value of a row's fibre photometry; the other magnitudes are the fibre's, for want of better."""
        flux, ivar = (values[band] for values in self.sky.photometry(self.targets[number]))
        if kind == "fiberFlux":
            return single(flux)
        if kind == "fiberFluxIvar":
            return single(ivar)
        if kind == "fiberMagErr":
            return single(np.float32(2.5 / np.log(10) / max(flux, 0.01) / np.sqrt(ivar)))
        return single(np.float32(22.5 - 2.5 * np.log10(max(flux, 0.01))))

    def answer(self, query: str, form: str = "csv") -> tuple[int, str, str]:
        """HTTP status, content type and text for a query."""
        with self.lock:
            try:
                cursor = self.open().execute(self.translated(query))
                names = [column[0] for column in cursor.description or []]
                rows = cursor.fetchmany(MAX_ROWS)
            except (sqlite3.Error, sqlite3.Warning) as error:
                text = {"error_message": f"SQL returned the following error: {error}"}
                return 400, "application/json", json.dumps(text)
        if form.lower() == "json":
            table = [{"TableName": "Table1", "Rows": [dict(zip(names, row)) for row in rows]}]
            return 200, "application/json", json.dumps(table)
        stream = io.StringIO()
        stream.write("#Table1\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
        return 200, "text/plain; charset=utf-8", stream.getvalue()

    def translated(self, query: str) -> str:
        """T-SQL as SQLite has it: TOP becomes LIMIT, dbo. functions become what they return."""
        query = re.sub(r"--[^\n]*|/\*.*?\*/", " ", query, flags=re.DOTALL).strip().rstrip(";")
        if not re.match(r"(select|with)\b", query, re.IGNORECASE):
            raise sqlite3.Warning("only SELECT is allowed")
        query = re.sub(r"\bdbo\.|\bwith\s*\(\s*nolock\s*\)", "", query, flags=re.IGNORECASE)
        query = NEARBY.sub(lambda found: self.nearby(*found.groups()), query)
        page = r"\boffset\s+(\d+)\s+rows\s+fetch\s+next\s+(\d+)\s+rows\s+only\b"
        query = re.sub(page, r"LIMIT \2 OFFSET \1", query, flags=re.IGNORECASE)
        top = re.compile(r"^(select\s+(?:distinct\s+)?)top\s+\(?(\d+)\)?\s", re.IGNORECASE)
        found = top.match(query)
        if found:
            query = f"{top.sub(found.group(1), query)} LIMIT {found.group(2)}"
        return query

    def nearby(self, which: str, ra: str, dec: str, arcmin: str) -> str:
        """The table that fGetNearbyObjEq or fGetNearestObjEq returns: objects by distance in arcmin."""
        found = self.sky.near(float(ra), float(dec), 60 * float(arcmin))
        if which.lower() == "nearest":
            found = found[:1]
        rows = [f"SELECT {t.objid} AS objID, {d / 60!r} AS distance" for d, t in found]
        rows = rows or ["SELECT NULL AS objID, NULL AS distance WHERE 0"]
        return f"({' UNION ALL '.join(rows)})"


def single(value) -> float:
    """The shortest decimal that is this float32, as SkyServer prints its `real` columns."""
    return float(str(np.float32(value)))
