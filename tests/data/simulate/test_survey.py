"""The simulated survey against physics, against itself, and against numbers of the real sky."""

from dataclasses import replace

import numpy as np
import pytest

from pix2spec.core.grid import SpectralGrid
from pix2spec.core.photometry import synthetic_photometry
from pix2spec.core.survey import SDSS
from pix2spec.data.dataset import Dataset
from pix2spec.data.simulate import GALAXY_TYPES, LINES, SimulatedSurvey, simulate
from pix2spec.data.simulate.galaxies import draw_galaxies, luminosity_distance
from pix2spec.data.simulate.gas import agn_lines, star_forming_lines
from pix2spec.data.simulate.images import AXIS, MIXTURES, PIXEL, coordinates, fibre_weights, render
from pix2spec.data.simulate.spectra import SpectrumModel, dn4000, load_templates
from pix2spec.errors import InputError

LINE = {name: i for i, name in enumerate(LINES)}

# Median model colours of 4,900 SDSS galaxies with u < 19.6, by redshift: (low, high, g - r, r - i).
SDSS_COLOURS = [
    (0.02, 0.03, 0.528, 0.270),
    (0.03, 0.05, 0.620, 0.353),
    (0.05, 0.08, 0.726, 0.398),
    (0.08, 0.12, 0.775, 0.414),
    (0.12, 0.18, 0.764, 0.416),
]


@pytest.fixture(scope="module")
def survey():
    return SimulatedSurvey(seed=7)


@pytest.fixture(scope="module")
def batch(survey):
    return survey.sample(1024)


@pytest.fixture(scope="module")
def parents():
    """Drawn galaxies and their noise-free components, without images."""
    model = SpectrumModel()
    drawn = [draw_galaxies(np.random.default_rng([3, number]), 128) for number in range(24)]
    return [(galaxies, model.components(galaxies)) for galaxies in drawn]


# --- contract -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_processes_simulate_the_same_galaxies(tmp_path):
    for name, processes in (("one", 1), ("two", 2)):
        simulate(tmp_path / name, 1030, seed=3, progress=False, processes=processes)
    one, two = (Dataset(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(two) == 1030
    wanted = one.batch([0, 1023, 1024, 1029], ["flux", "image", "z"])
    found = two.batch([0, 1023, 1024, 1029], ["flux", "image", "z"])
    assert all(np.array_equal(wanted[name], found[name]) for name in wanted)


def test_columns_have_the_contracts_shapes_and_types(survey, batch):
    n, size = 1024, survey.grid.size
    expected = {
        "image": ((n, 3, 64, 64), np.float32),
        "photometry": ((n, 5), np.float32),
        "photometry_ivar": ((n, 5), np.float32),
        "flux": ((n, size), np.float32),
        "ivar": ((n, size), np.float32),
        "mask": ((n, size), np.int32),
        "true_flux": ((n, size), np.float32),
        "true_line_flux": ((n, len(LINES)), np.float32),
    }
    for name, (shape, kind) in expected.items():
        assert batch[name].shape == shape and batch[name].dtype == kind, name
    assert batch["object_id"][130] == "sim-7-00000130"
    assert len(set(batch["object_id"])) == n
    assert set(batch["true_type"]) <= set(GALAXY_TYPES)


def test_everything_is_finite_and_weights_are_not_negative(batch):
    for name, values in batch.items():
        if values.dtype != object:
            assert np.isfinite(values).all(), name
    assert (batch["ivar"] >= 0).all() and (batch["photometry_ivar"] > 0).all()
    assert (batch["true_flux"] > 0).all()
    assert (batch["z"] > 0).all() and (batch["z"] < 0.45).all()


def test_an_object_depends_on_seed_and_index_only(survey, batch):
    part = survey.sample(10, start=123)  # across a block's edge
    for name, values in part.items():
        np.testing.assert_array_equal(values, batch[name][123:133], err_msg=name)
    again = SimulatedSurvey(seed=7).sample(1, start=500)
    np.testing.assert_array_equal(again["flux"][0], batch["flux"][500])
    other = SimulatedSurvey(seed=8).sample(10)
    assert not np.isclose(other["z"], batch["z"][:10]).any()
    assert not set(other["object_id"]) & set(batch["object_id"])


def test_pairs_are_the_sample_one_by_one(survey, batch):
    pairs = list(survey.galaxies(20, start=120))
    assert [p.object_id for p in pairs] == list(batch["object_id"][120:140])
    np.testing.assert_array_equal(pairs[11].image, batch["image"][131])
    assert pairs[3].truth["true_type"] == batch["true_type"][123]
    assert set(pairs[0].truth) == set(survey.truth)


@pytest.mark.parametrize("composite", [False, True])
def test_datasets_come_back_from_disk(tmp_path, survey, batch, composite, capsys):
    info = simulate(tmp_path / "set", 130, seed=7, composite=composite)
    data = Dataset(tmp_path / "set")
    assert data.info == info and len(data) == 130
    assert info.image_kind == ("composite" if composite else "linear")
    assert info.provenance["seed"] == 7 and info.provenance["n"] == 130
    assert list(info.provenance["lines"]) == list(LINES)
    read = data.batch(np.arange(125, 130))
    for name in ("flux", "ivar", "mask", "photometry", "z", "true_flux", "true_line_flux", "true_dn4000"):
        np.testing.assert_array_equal(read[name], batch[name][125:130], err_msg=name)
    assert list(read["true_agn"]) == list(batch["true_agn"][125:130])
    if composite:
        assert read["image"].min() >= 0 and read["image"].max() <= 255
        np.testing.assert_array_equal(read["image"], np.rint(read["image"]))
    else:
        np.testing.assert_array_equal(read["image"], batch["image"][125:130])
    with pytest.raises(InputError, match="already holds a dataset"):
        simulate(tmp_path / "set", 130, seed=7)
    assert capsys.readouterr().err == ""  # no progress bar into logs


def test_nonsense_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be simulated"):
        simulate(tmp_path, 0)
    with pytest.raises(InputError, match="simulated range"):
        SimulatedSurvey(grid=SpectralGrid(start=3.40))
    with pytest.raises(InputError, match="simulated range"):
        SimulatedSurvey(grid=SpectralGrid(size=8000))


def test_other_grids_see_the_same_galaxies(survey, batch):
    shifted = SimulatedSurvey(seed=7, grid=SpectralGrid(start=3.60005, size=3000)).sample(64)
    between = (batch["true_flux"][:64, 100:3100] + batch["true_flux"][:64, 101:3101]) / 2
    np.testing.assert_allclose(shifted["true_flux"], between, rtol=1e-3, atol=1e-4)
    coarse = SimulatedSurvey(seed=7, grid=SpectralGrid(step=2e-4, size=1799)).sample(64)
    np.testing.assert_allclose(coarse["true_flux"], batch["true_flux"][:64, ::2], rtol=1e-4)
    good = (coarse["ivar"] > 0) & (batch["ivar"][:64, ::2] > 0)
    ratio = coarse["ivar"][good] / batch["ivar"][:64, ::2][good]
    assert 1.7 < np.median(ratio) < 2.05  # twice the width, nearly twice the information


# --- lines ----------------------------------------------------------------------------------------------


def line_profiles(batch, grid, name, half=5):
    """Continuum-subtracted pixels of a line, and its expected fractional position among them."""
    position = grid.pixel(LINES[name] * (1 + batch["z"]))
    inside = (position > 60) & (position < grid.size - 60)
    centre = np.rint(np.where(inside, position, 100)).astype(int)

    def pixels(offsets):
        return np.take_along_axis(batch["true_flux"], centre[:, None] + offsets, 1)

    window = np.arange(-half, half + 1)
    sides = np.concatenate([np.arange(-30, -20), np.arange(21, 31)])
    continuum = np.median(pixels(sides), 1, keepdims=True)
    strength = batch["true_line_flux"][:, LINE[name]] / continuum[:, 0]  # Angstrom
    return pixels(window) - continuum, position - centre, strength, inside, centre


@pytest.mark.parametrize("name", ["H_alpha", "[O_III] 5007", "H_beta"])
def test_lines_sit_at_their_vacuum_wavelengths(survey, batch, name):
    profile, expected, strength, inside, _ = line_profiles(batch, survey.grid, name)
    rows = inside & (strength > 15) & (batch["true_agn"] == "none")
    assert rows.sum() >= 10
    centroid = (profile * np.arange(-5, 6)).sum(1) / profile.sum(1)
    assert np.abs(centroid - expected)[rows].max() < 0.3
    assert np.abs(np.mean((centroid - expected)[rows])) < 0.05


def test_line_fluxes_are_the_integrals_of_the_lines(survey, batch):
    profile, _, strength, inside, centre = line_profiles(batch, survey.grid, "[O_III] 5007", half=8)
    rows = inside & (strength > 15) & (batch["true_agn"] == "none")
    width = survey.grid.wave[centre] * np.log(10) * survey.grid.step
    ratio = profile.sum(1) * width / batch["true_line_flux"][:, LINE["[O_III] 5007"]]
    assert rows.sum() >= 5
    # The stars' Fe 5015 absorption takes half an Angstrom away.
    assert np.abs(np.median(ratio[rows]) - 1) < 0.05
    assert np.abs(ratio[rows] - 1).max() < 0.15


def test_case_b_without_dust():
    rng = np.random.default_rng(0)
    scatter, halpha = rng.standard_normal((50, 10)), rng.random(50) + 0.1
    star_forming = star_forming_lines(halpha, 8 + 0.9 * rng.random(50), scatter)
    nuclei = agn_lines(halpha, rng.random(50) < 0.5, scatter[:, 5:])
    for lines in (star_forming, nuclei):
        np.testing.assert_allclose(lines[:, LINE["H_alpha"]] / lines[:, LINE["H_beta"]], 2.86)
        np.testing.assert_allclose(lines[:, LINE["[O_III] 5007"]] / lines[:, LINE["[O_III] 4959"]], 2.98)
        np.testing.assert_allclose(lines[:, LINE["[N_II] 6583"]] / lines[:, LINE["[N_II] 6548"]], 3.06)


def test_dust_raises_the_balmer_decrement(batch):
    model = SpectrumModel()
    galaxies = draw_galaxies(np.random.default_rng(1), 64)
    forming = galaxies.recent > 0.1
    decrements = []
    for av in (0.0, 0.3, 1.0):
        dusty = replace(galaxies, av=np.full(64, av), ebv_milky_way=np.zeros(64))
        lines = model.components(dusty).disc_lines
        decrements.append((lines[:, LINE["H_alpha"]] / lines[:, LINE["H_beta"]])[forming])
    assert (np.diff(decrements, axis=0) > 0).all()
    assert (decrements[0] > 2.86).all() and (decrements[0] < 2.95).all()
    lines = batch["true_line_flux"]
    lit = lines[:, LINE["H_beta"]] > 0
    assert (lines[lit, LINE["H_alpha"]] / lines[lit, LINE["H_beta"]] > 2.859).all()


def test_star_forming_galaxies_and_seyferts_part_in_the_bpt_diagram(batch):
    lines = np.maximum(batch["true_line_flux"], 1e-30)
    n2 = np.log10(lines[:, LINE["[N_II] 6583"]] / lines[:, LINE["H_alpha"]])
    o3 = np.log10(lines[:, LINE["[O_III] 5007"]] / lines[:, LINE["H_beta"]])
    # Kewley et al. (2001, ApJ 556:121): no starburst lies above.
    above = (n2 > 0.4) | (o3 > 0.61 / (np.minimum(n2, 0.4) - 0.47) + 1.19)
    forming = (batch["true_agn"] == "none") & (batch["true_type"] == "late")
    assert above[forming].mean() < 0.02
    seyferts = (batch["true_agn"] == "seyfert2") & (batch["true_type"] == "green")
    assert above[seyferts].mean() > 0.7


# --- images and photometry ------------------------------------------------------------------------------


@pytest.mark.parametrize("profile, total", [("exponential", 0.99), ("de Vaucouleurs", 0.95)])
def test_mixtures_have_half_their_light_inside_the_half_light_radius(profile, total):
    amplitude, sigma = np.array(MIXTURES[profile]).T
    assert amplitude.sum() == pytest.approx(1, abs=1e-3)
    inside = (amplitude * (1 - np.exp(-0.5 / sigma**2))).sum()
    assert inside == pytest.approx(0.5, abs=0.02)
    x, y = coordinates(np.zeros(1), np.zeros(1))
    one = np.ones(1)
    image = render(profile, 1.0 * one, 0.5 * one, 0.3 * one, x, y)
    assert total < image.sum() < 1.001


def test_position_angle_turns_the_major_axis():
    x, y = coordinates(np.zeros(2), np.zeros(2))
    two = np.ones(2)
    images = render("exponential", 2 * two, 0.3 * two, np.array([0.0, np.pi / 2]), x, y).reshape(2, 64, 64)
    spread_x = (images.sum(1) * AXIS**2).sum(1)
    spread_y = (images.sum(2) * AXIS**2).sum(1)
    assert spread_x[0] > 2 * spread_y[0]
    np.testing.assert_allclose(spread_x[0], spread_y[1], rtol=1e-4)


def test_the_fibre_sees_what_the_image_shows(survey, batch):
    fibre = synthetic_photometry(batch["true_flux"], survey.grid.wave, SDSS.filters[1:4], min_coverage=0.9)
    aperture = (batch["image"] * fibre_weights()).sum((2, 3))
    bright = fibre[:, 1] > 10 ** (0.4 * (22.5 - 18))
    difference = np.abs(2.5 * np.log10(aperture / fibre))[bright]
    assert bright.sum() > 100
    assert (np.median(difference, 0) < 0.015).all()
    assert (np.percentile(difference, 90, axis=0) < 0.05).all()


def test_photometry_scatters_as_its_errors_say(survey, batch):
    fibre = synthetic_photometry(batch["true_flux"], survey.grid.wave, SDSS.filters[1:4], min_coverage=0.9)
    chi2 = (batch["photometry"][:, 1:4] - fibre) ** 2 * batch["photometry_ivar"][:, 1:4]
    assert (np.abs(chi2.mean(0) - 1) < 0.2).all()


def test_sky_noise_of_the_images(batch):
    corner = batch["image"][:, :, :6, :6]
    noise = np.median(corner.std((2, 3)), 0)
    np.testing.assert_allclose(noise, [0.019, 0.028, 0.042], rtol=0.15)
    assert PIXEL == SDSS.pixel_scale


# --- populations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, expected", [("early", 1.92), ("late", 1.42), ("starburst", 1.20)])
def test_4000_break_of_each_type(batch, kind, expected):
    """Balogh's definition, in f_nu; with means of f_lambda these are 1.78, 1.32 and 1.12."""
    assert np.median(batch["true_dn4000"][batch["true_type"] == kind]) == pytest.approx(expected, abs=0.08)


def test_4000_break_of_known_spectra():
    z = np.array([0.0, 0.1, 0.0])
    wave = 10 ** (3.5 + 1e-4 * np.arange(5000))
    flat = wave**-2 * np.where(wave / (1 + z[:2, None]) > 3976, 1.5, 1.0)  # f_nu with a step
    flux = np.vstack([flat, flat[:1]])
    np.testing.assert_allclose(dn4000(flux, z, 3.5, 1e-4)[:2], 1.5, rtol=2e-3)
    assert np.isnan(dn4000(flux, np.array([-0.3, 0.5, 2.0]), 3.5, 1e-4)).tolist() == [True, False, True]


def test_colours_follow_sdss(parents):
    z = np.concatenate([g.z for g, _ in parents])
    flux = np.concatenate([c.bulge_bands + c.disc_bands for _, c in parents])
    main = np.concatenate([g.sample == 0 for g, _ in parents])
    magnitude = 22.5 - 2.5 * np.log10(flux)
    for low, high, g_r, r_i in SDSS_COLOURS:
        rows = main & (magnitude[:, 0] < 19.6) & (z > low) & (z < high)
        medians = np.median(-np.diff(magnitude[rows], axis=1), axis=0)
        assert rows.sum() > 20
        assert medians[1] == pytest.approx(g_r, abs=0.1), (low, high)
        assert medians[2] == pytest.approx(r_i, abs=0.06), (low, high)


def test_components_add_up_to_the_drawn_magnitude(parents):
    for galaxies, parts in parents:
        r = 22.5 - 2.5 * np.log10(parts.bulge_bands[:, 2] + parts.disc_bands[:, 2])
        np.testing.assert_allclose(r, galaxies.r, atol=1e-5)


def test_masses_and_star_formation_make_sense(batch, parents):
    drawn = np.concatenate([g.logmass for g, _ in parents])
    implied = np.concatenate([c.logmass for _, c in parents])
    assert np.abs(np.median(implied - drawn)) < 0.15 and np.std(implied - drawn) < 0.35
    rate = {kind: np.median(batch["true_logssfr"][batch["true_type"] == kind]) for kind in GALAXY_TYPES}
    assert rate["early"] < -12 < rate["green"] < -11 < rate["late"] < -9.5 < rate["starburst"]


def test_distances():
    # H0 = 70, Omega_m = 0.3: astropy's FlatLambdaCDM gives these.
    np.testing.assert_allclose(luminosity_distance(np.array([0.1, 0.3])), [460.3, 1553.0], rtol=1e-3)


def test_templates_are_plain_floats():
    stored = load_templates()
    assert stored["flux"].shape == (40, 7360) and np.isfinite(stored["flux"]).all()
    assert (stored["flux"] > 0).all()


# --- noise ----------------------------------------------------------------------------------------------


def test_inverse_variances_are_true(batch):
    good = (batch["mask"] == 0) & (batch["ivar"] > 0)
    chi2 = np.where(good, (batch["flux"] - batch["true_flux"]) ** 2 * batch["ivar"], 0)
    per_object = chi2.sum(1) / good.sum(1)
    assert np.median(per_object) == pytest.approx(1, abs=0.03)
    assert chi2.sum() / good.sum() == pytest.approx(1, abs=0.03)


def test_flags_and_gaps(batch):
    missing = batch["ivar"] == 0
    assert 1e-4 < missing.mean() < 1e-2
    assert (batch["mask"][missing] != 0).all()
    assert 0.003 < (batch["mask"] != 0).mean() < 0.05
    pull = np.abs(batch["flux"] - batch["true_flux"]) * np.sqrt(batch["ivar"])
    assert ((pull > 15) & (batch["mask"] != 0)).sum() > ((pull > 15) & (batch["mask"] == 0)).sum()


def test_signal_to_noise_is_that_of_the_arrays(batch):
    with np.errstate(invalid="ignore"):
        ratio = np.where(batch["ivar"] > 0, batch["true_flux"] * np.sqrt(batch["ivar"]), np.nan)
    np.testing.assert_allclose(np.nanmedian(ratio, 1), batch["true_sn"], rtol=0.1)
    assert 5 < np.median(batch["true_sn"]) < 20
