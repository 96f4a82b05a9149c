"""When extinction is corrected, recorded or left alone."""

import numpy as np
import pytest

from pix2spec.core.extinction import coefficients
from pix2spec.core.grid import SpectralGrid
from pix2spec.core.survey import SDSS
from pix2spec.data.schema import Galaxy
from pix2spec.errors import InputError
from pix2spec.generate.foreground import Dust, check_extinction, choose_foreground
from pix2spec.products.ensemble import Ensemble
from support.fake_dust import write_maps


@pytest.fixture(autouse=True)
def _no_maps(monkeypatch):
    monkeypatch.delenv("SFD_DIR", raising=False)


@pytest.fixture(scope="module")
def dust(tmp_path_factory):
    return write_maps(tmp_path_factory.mktemp("dust"))


def test_a_dataset_is_left_alone_unless_asked(monkeypatch, dust):
    assert choose_foreground(SDSS) is None
    monkeypatch.setenv("SFD_DIR", str(dust))
    assert choose_foreground(SDSS) is None
    assert choose_foreground(SDSS, extinction="correct").correct
    assert not choose_foreground(SDSS, extinction="keep").correct


def test_downloads_and_maps_are_corrected(dust):
    known = {"a": np.full(5, 0.1)}
    chosen = choose_foreground(SDSS, known)
    assert chosen.correct and chosen.maps is None and chosen.known == known
    assert choose_foreground(SDSS, {}).as_dict()["corrected"] is False  # nothing is known
    chosen = choose_foreground(SDSS, dust=dust)
    assert chosen.correct and chosen.maps is not None and chosen.known == {}


def test_a_correction_needs_something_known():
    with pytest.raises(InputError, match=r'`extinction="correct"`: no extinction is known.*as `dust`'):
        choose_foreground(SDSS, {}, "correct")
    assert choose_foreground(SDSS, {"a": np.ones(5)}, "correct").correct


def test_wrong_words_and_folders_are_refused_early(tmp_path, dust):
    check_extinction()
    check_extinction("keep", dust)
    with pytest.raises(InputError, match=r"`extinction`: 'remove' is unknown \(correct or keep\)"):
        check_extinction("remove")
    with pytest.raises(InputError, match=r"`dust=.*`: it lacks SFD_dust"):
        check_extinction(dust=tmp_path)


def test_the_extinction_that_was_removed_is_recorded(dust):
    """As given and as corrected differ by E(B-V) times the coefficients of the filters."""
    galaxy = Galaxy("a", ra=0.0, dec=-90.0, photometry={"g": (10, 1), "r": (20, 1)}, extinction=0.1)
    ensemble = Ensemble("a", SpectralGrid(size=4), np.ones((1, 4)), [0])
    for how, expected in (("correct", 0.1 * coefficients(galaxy.filters)), ("keep", None)):
        steps = Dust(choose_foreground(SDSS, extinction=how, dust=dust), "linear", {"photometry"})
        steps.before(galaxy)
        steps.after(ensemble)
        if expected is None:
            assert ensemble.removed_extinction is None
        else:
            np.testing.assert_allclose(ensemble.removed_extinction, expected, rtol=1e-5)
