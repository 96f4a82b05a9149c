"""Rankings of catalogues that hold columns of measured quantities, and no candidates."""

import numpy as np
import pytest
from scipy.stats import norm
from typer.testing import CliRunner

from pix2spec.apps.cli.main import app
from pix2spec.core.grid import SpectralGrid
from pix2spec.errors import InputError
from pix2spec.products.catalogue import CatalogueWriter
from pix2spec.products.columns import MEASURED, Contents
from pix2spec.products.ensemble import Ensemble
from pix2spec.ranking.from_columns import spread
from pix2spec.ranking.ranking import Observing, rank

GRID, N = SpectralGrid(), 199
# Median and standard deviation of the equivalent width of Halpha, and shares of classes
WIDTHS = {"weak": (10.0, 5.0), "middle": (55.0, 10.0), "strong": (90.0, 10.0)}
SHARES = {"weak": (0.0, 0.0, 0.2, 0.6, 0.2), "middle": (0.5, 0.5, 0, 0, 0), "strong": (1.0, 0, 0, 0, 0)}
CLASSES = [f"p_{name}" for name in ("star_forming", "composite", "seyfert", "liner", "passive")]


def redshifts(name):
    return np.linspace(0.1, 0.2, N) if name == "middle" else np.full(N, 0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("columns") / "predictions"
    contents = Contents(candidates=False, spectra=False)
    with CatalogueWriter(path, GRID, {"model": "test", "noise": "observed"}, contents) as writer:
        for name, (median, sigma) in WIDTHS.items():
            values = {field.name: np.nan for field in MEASURED} | dict(zip(CLASSES, SHARES[name]))
            values |= {"ew_halpha": median, "ew_halpha_lo": median - sigma, "ew_halpha_hi": median + sigma}
            made = Ensemble(
                name, GRID, candidates=np.ones((N, GRID.size)), selected=[0], redshifts=redshifts(name)
            )
            writer.add(made, values)
        writer.add_failure("broken", "no flux")
    return path


def test_values_have_the_quantiles_of_the_columns():
    values = spread(np.array([5.0]), np.array([4.0]), np.array([8.0]), 999)[0]
    sixteen, eighty_four = norm.cdf([-1, 1])
    assert np.quantile(values, [sixteen, 0.5, eighty_four]) == pytest.approx([4, 5, 8], abs=0.02)
    assert (np.diff(values) > 0).all()


def test_a_statement_about_one_quantity(folder):
    found = rank(folder, "ew(Halpha) > 50")
    assert list(found.table["object_id"]) == ["strong", "middle", "weak"]
    expected = [norm.sf((50 - m) / s) for m, s in (WIDTHS[n] for n in found.table["object_id"])]
    np.testing.assert_allclose(found.table["probability"], expected, atol=0.01)
    np.testing.assert_allclose(found.table["ew_halpha"], [90, 55, 10], rtol=1e-5)
    assert "columns of the catalogue" in found.metadata["about"] and found.failures == [("broken", "no flux")]


def test_redshifts_are_those_of_the_candidates(folder):
    found = rank(folder, "0.12 < z < 0.15")
    shares = dict(zip(found.table["object_id"], found.table["probability"]))
    z = redshifts("middle")
    assert shares["middle"] == ((z > 0.12) & (z < 0.15)).mean() and shares["weak"] == shares["strong"] == 0


def test_classes_are_as_frequent_as_their_shares(folder):
    found = rank(folder, 'bpt == "AGN"')
    shares = dict(zip(found.table["object_id"], found.table["probability"]))
    assert shares["weak"] == pytest.approx(0.8, abs=1 / N) and shares["middle"] == shares["strong"] == 0
    assert found.table["bpt"][0] == "AGN"


def test_columns_may_sort_and_join_statements_about_numbers(folder):
    found = rank(folder, "z < 0.3 and p_star_forming > 0.4", by="probability * ew_halpha")
    assert list(found.table["object_id"]) == ["strong", "middle", "weak"]
    assert list(found.table["score"]) == pytest.approx([90, 55, 0], rel=1e-5)


@pytest.mark.parametrize("statement", ["ew(Halpha) > 50 and z < 0.1", 'bpt == "AGN" or ew(Halpha) > 5'])
def test_joined_quantities_need_candidates(folder, statement):
    with pytest.raises(InputError, match=r"belong together in candidates.*keep the candidates"):
        rank(folder, statement)


def test_what_columns_cannot_tell_is_refused(folder):
    with pytest.raises(InputError, match="telescope time needs the candidates"):
        rank(folder, "z > 0", observing=Observing("desi"))
    with pytest.raises(InputError, match="mgb"):
        rank(folder, "mgb > 3")


def test_the_command_leaves_the_contact_sheet_out(folder):
    result = CliRunner().invoke(app, ["rank", str(folder), "ew(Halpha) > 50"])
    assert result.exit_code == 3, result.output  # one object failed when it was generated
    written = {path.name for path in (folder / "ranking").iterdir()}
    assert "ranking.csv" in written and "contact.html" not in written
