import numpy as np
import pytest

from pix2spec.core.filters import load_filter
from pix2spec.core.lines import LINES
from pix2spec.core.photometry import filter_matrix
from pix2spec.core.survey import SDSS
from pix2spec.data.simulate.galaxies import draw_galaxies
from pix2spec.data.simulate.photometry import PhotometryModel
from pix2spec.data.simulate.spectra import (
    RestFrameModel,
    SpectrumModel,
    load_templates,
    milky_way_extinction,
)
from pix2spec.errors import InputError

GROUPS = {
    "sdss2010": "ugriz",
    "decam2014": "ugrizY",
    "BASS": "gr",
    "MzLS": "z",
    "panstarrs": "grizy",
    "lsst2023": "ugrizy",
    "hsc2017": "grizy",
    "cfht_megacam": "ugriz",
    "Euclid": ("VIS", "Y", "J", "H"),
    "wise2010": ("W1", "W2"),
    "twomass": ("J", "H", "Ks"),
    "galex": ("fuv", "nuv"),
    "suprime": [f"IB{n}" for n in (427, 464, 484, 505, 527, 574, 624, 679, 709, 738, 767, 827)],
    "bessell": "UBVRI",
    "gaiadr3": ("G", "BP", "RP"),
}
NAMES = [f"{group}-{band}" for group, bands in GROUPS.items() for band in bands]


def curves(names):
    return {name: (load_filter(name).wave, load_filter(name).response) for name in names}


@pytest.fixture(scope="module")
def model():
    return PhotometryModel()


@pytest.fixture(scope="module")
def galaxies():
    return draw_galaxies(np.random.default_rng(8), 200)


def test_photometry_agrees_with_the_spectra_of_the_same_galaxies(model, galaxies):
    spectra = SpectrumModel()
    names = (*SDSS.filters, "suprime-IB464", "suprime-IB709", "bessell-B")
    parts, weights = spectra.components(galaxies), filter_matrix(spectra.wave, names)
    photometry = model.photometry(galaxies, model.weights(curves(names)))
    for found, spectrum in zip(photometry, (parts.bulge, parts.disc)):
        np.testing.assert_allclose(found, spectrum @ weights, rtol=0.003)


@pytest.mark.parametrize("z", [0.01, 0.3, 0.7, 1.2])
def test_every_filter_sees_every_galaxy_at_every_redshift(model, galaxies, z):
    weights = model.weights(curves(NAMES))
    bulge, disc = model.photometry(galaxies, weights, np.full(200, z))
    magnitude = 22.5 - 2.5 * np.log10(bulge + disc)
    assert weights.shape[1] == len(NAMES) == 66 and np.isfinite(magnitude).all()
    lyman = np.array([load_filter(name).centre < 1216 * (1 + z) for name in NAMES])  # few photons escape
    assert (np.abs(magnitude - galaxies.r[:, None])[:, ~lyman] < 13).all()
    np.testing.assert_allclose(magnitude[:, NAMES.index("sdss2010-r")], galaxies.r, atol=1e-3)


def test_a_constant_ab_source_of_one_nanomaggy_is_one_nanomaggy_in_every_filter(model):
    source = 3.631e-29 * 2.99792458e18 / model.wave**2 * 1e17
    box = {"box": ([5000.0, 5060.0], [1.0, 1.0]), "line": ([6562.0, 6563.0, 6564.0], [0, 1, 0])}
    np.testing.assert_allclose(source @ model.weights(curves(NAMES) | box), 1, rtol=2e-3)


def test_lines_keep_their_flux_and_their_place(model):
    z = np.array([0.0, 0.37])
    for number, wave in enumerate(LINES.values()):
        luminosity = np.zeros((2, len(LINES)))
        luminosity[:, number] = 5.0
        for dispersion in (50.0, 1500.0):
            spectrum = np.zeros((2, len(model.wave)), np.float32)
            model.add_lines(spectrum, luminosity, np.full(2, dispersion), z)
            flux = spectrum * model.wave * np.log(10) * model.step
            np.testing.assert_allclose(flux.sum(1), 5 * (1 + z), rtol=1e-3)  # per rest-frame Angstrom
            centre = (flux * np.log10(model.wave)).sum(1) / flux.sum(1)
            np.testing.assert_allclose(centre, np.log10(wave * (1 + z)), atol=0.05 * model.step)
            width = np.sqrt((flux * (np.log10(model.wave) - centre[:, None]) ** 2).sum(1) / flux.sum(1))
            if dispersion > 1000:
                np.testing.assert_allclose(width * np.log(10) * 299792.458, dispersion, rtol=0.02)


def test_dust_emits_what_it_absorbs(model):
    weights = np.eye(40)[[0, 5, 19, 39]]
    light = (weights * model.level) @ (model.flux @ model.pixel_width)  # all that stars emit
    dark = RestFrameModel(model.flux, model.start, model.step)
    for av in (0.0, 0.5, 2.0):
        stars = dark.stars(weights, np.full(4, av), np.full(4, av))
        dust = model.stars(weights, np.full(4, av), np.full(4, av)) - stars
        absorbed = light - stars @ model.pixel_width
        near = (model.wave > 45_000) & (model.wave < 47_000)
        power = dust[:, near].mean(1) * 46_000
        # Draine & Li's dust emits 1.5 % of its luminosity as nu L_nu at 4.6 um.
        np.testing.assert_allclose(power, 0.0147 * absorbed, rtol=0.03, atol=1e-4 * light.max())
        assert (dust[:, model.wave < 10_000] <= 1e-3 * stars.max()).all()


def test_extinction_dims_by_the_law_of_the_milky_way(model, galaxies):
    weights = model.weights({"box": ([5400.0, 5600.0], [1.0, 1.0]), "far": ([1500.0, 1510.0], [1.0, 1.0])})
    clear, dimmed = (sum(model.photometry(galaxies, weights, ebv=ebv)) for ebv in (0.0, 0.1))
    colour = -2.5 * np.log10(dimmed / clear)  # relative to r, which stays
    law = milky_way_extinction([1505.0, 5500.0])
    np.testing.assert_allclose(colour[:, 1] - colour[:, 0], 0.31 * (law[0] - law[1]), atol=0.005)


def test_the_extinction_law_agrees_with_published_values():
    # dust_extinction 1.5, CCM89(Rv=3.1)
    x = [10, 9, 8, 7, 6, 5, 4.6, 4, 3, 2.78, 2.27, 1.82, 1.43, 1.11, 0.8, 0.63, 0.46]
    law = [5.23835, 4.13406, 3.33686, 2.77962, 2.52195, 2.84253, 3.18599, 2.31532]
    law += [1.64255, 1.56881, 1.32258, 1.0, 0.75126, 0.47803, 0.28207, 0.19201, 0.11572]
    np.testing.assert_allclose(milky_way_extinction(1e4 / np.array(x)), law, rtol=1e-4)


def test_filters_beyond_the_templates_are_refused(model, galaxies):
    with pytest.raises(
        InputError, match=r"W3: the filter reaches beyond 602 to 55558 A, where templates end"
    ):
        model.weights({"W3": ([75_000.0, 120_000.0, 165_000.0], [0, 1, 0])})
    far = model.weights(curves(["galex-fuv"]))
    with pytest.raises(InputError, match=r"wavelengths below 603 A at z = 1\.30"):
        model.photometry(galaxies, far, np.full(200, 1.3))


def test_the_coarse_templates_continue_the_fine_ones():
    stored = load_templates()
    fine, coarse = stored["flux"][:, :-40], stored["long_flux"].astype(float)
    wave = 10 ** (stored["start"] + stored["step"] * np.arange(fine.shape[1]))
    long_wave = 10 ** (stored["long_start"] + stored["long_step"] * np.arange(coarse.shape[1]))
    for low, high in ((2100, 2500), (4000, 4600), (9000, 10800)):
        a = fine[:, (wave > low) & (wave < high)].mean(1)
        b = coarse[:, (long_wave > low) & (long_wave < high)].mean(1)
        np.testing.assert_allclose(a, b, rtol=0.005)
    assert coarse.min() > 0 and long_wave[0] < 1331 / 2.2 and long_wave[-1] > 55499
