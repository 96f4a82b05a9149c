"""Generation with the default model's family, with a tiny model and the shipped redshift model."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import torch
from tests.support.tiny import tiny_spectrum_model

import pix2spec
from pix2spec.core.photometry import synthetic_photometry
from pix2spec.core.stretches import STRETCHES
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.models.generator import Settings
from pix2spec.models.storage import save_model

FIBRE = {"g": (17.6 * u.ABmag, 0.02), "r": (16.9 * u.ABmag, 0.02), "i": (16.5 * u.ABmag, 0.02)}


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "model"
    save_model(folder, tiny_spectrum_model(), {"trained_on": "nothing"})
    return pix2spec.load(folder, device="cpu")


def galaxy(name="one", **changes):
    return pix2spec.Galaxy(name, **{"photometry": FIBRE, "kind": "fibre"} | changes)


def test_a_candidate_depends_on_its_seed_galaxy_and_number_alone(generator):
    both = generator.generate_batch([galaxy("a"), galaxy("b")], "linear", Settings(n=5, seed=3))
    alone = generator.generate_batch([galaxy("b")], "linear", Settings(n=3, seed=3))[0]
    np.testing.assert_allclose(alone.candidates, both[1].candidates[:3], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(alone.redshifts, both[1].redshifts[:3], rtol=1e-5)
    assert np.abs(both[0].candidates - both[1].candidates).max() > 0


@pytest.mark.parametrize(
    "options", [{"n": 5}, {"n": 1}, {"n": 3, "guidance": 2.0}, {"n": 4, "sampler": "heun"}]
)
def test_networks_draw_as_one_what_they_draw_one_after_the_other(generator, monkeypatch, options):
    some, settings = [galaxy("a"), galaxy("b")], Settings(**options)
    together = generator.generate_batch(some, "linear", settings)
    monkeypatch.setattr("pix2spec.models.spectrum.generator.TOGETHER", 0)
    for one, other in zip(together, generator.generate_batch(some, "linear", settings)):
        np.testing.assert_allclose(one.candidates, other.candidates, rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(one.chi2, other.chi2, rtol=1e-3)


def test_filters_beside_those_of_others_in_the_batch_change_nothing(generator):
    other = galaxy(
        "other", photometry={"wise2010-W1": 15.5 * u.ABmag, "lsst2023-r": 17 * u.ABmag, "z": 16 * u.ABmag}
    )
    alone = generator.generate_batch([galaxy()], "linear", Settings(n=4))[0]
    beside = generator.generate_batch([other, galaxy()], "linear", Settings(n=4))[1]
    # Rounding moves the steep flanks of lines by 1e-4 of a pixel.
    np.testing.assert_allclose(alone.candidates, beside.candidates, rtol=2e-3, atol=1e-4)


def test_an_exact_redshift_is_every_candidates(generator):
    made = generator.generate(galaxy(z=0.08, z_err=0.0), n=6, use=("photometry", "redshift"))
    np.testing.assert_allclose(made.redshifts, 0.08)


def test_a_redshift_with_an_error_is_a_condition(generator):
    made = generator.generate(galaxy(z=0.11, z_err=0.004), n=64, use=("photometry", "redshift"))
    assert abs(np.median(made.redshifts) - 0.11) < 0.01 and 0 < made.redshifts.std() < 0.008


def test_fibre_fluxes_fix_the_amplitude(generator):
    made = generator.generate(galaxy(), n=16, noise="none")
    r = synthetic_photometry(made.candidates, generator.grid.wave, ["sdss2010-r"])[:, 0]
    assert np.abs(np.log10(r / 10 ** (0.4 * (22.5 - 16.9)))).max() < 0.2
    assert "amplitude-from-photometry" in made.flags and made.unit.startswith("1e-17")


def test_a_redshift_alone_gives_relative_spectra(generator):
    made = generator.generate(pix2spec.Galaxy("z", z=0.1), n=3, use=("redshift",))
    assert "relative-flux" in made.flags and made.is_finite


def test_a_picture_alone_is_an_input(generator):
    batch = SimulatedSurvey(9).sample(1)
    made = generator.generate(pix2spec.Galaxy("p", image=batch["image"][0]), n=3)
    assert "amplitude-from-image" in made.flags and made.is_finite


@pytest.mark.parametrize("use", [("image",), ("image", "photometry")])
def test_linear_pictures_are_seen_with_their_fluxes_or_those_that_are_given(generator, use):
    simulated = next(SimulatedSurvey(9).galaxies(1))
    bare = replace(simulated, truth={}, photometry=None, photometry_ivar=None)
    bright = {band: (400.0, 4.0) for band in "gri"}
    other = pix2spec.Galaxy("o", image=bare.image, photometry=bright, kind="fibre")

    def seen(galaxy):
        settings = Settings(n=2, use=use)
        return generator._restrict(generator._prepared(galaxy, "linear"), "linear", settings)[0]

    assert all(seen(galaxy).image is not None for galaxy in (simulated, bare, other))
    assert seen(bare).measured.filters[0] == "sdss2010-g"
    is_own = use == ("image",)  # the fluxes that were given may not be used: those of the picture are
    assert ("photometry-from-picture" in seen(other).flags) == is_own
    r = seen(other).measured.flux[1]
    assert (r == pytest.approx(simulated.photometry[2], rel=0.1)) == is_own


def test_colour_pictures_are_seen_for_their_shapes_alone(generator, composite):
    for shape in (False, True):
        settings = Settings(n=2, use=("image",), shape=shape)
        prepared = generator._prepared(galaxy(image=composite), "composite")
        seen = generator._restrict(prepared, "composite", settings)[0]
        assert (seen.image is not None) == shape and seen.measured.filters[0] == "sdss2010-g"


def test_a_picture_with_bad_pixels_is_not_seen(generator):
    image = SimulatedSurvey(9).sample(1)["image"][0].copy()
    image[1, 30:34, 30:34] = np.nan
    (made,) = generator.generate_batch([pix2spec.Galaxy("spoilt", image=image)], "linear", Settings(n=2))
    assert "image-unusable" in made.flags and "photometry-from-picture" in made.flags


def test_nothing_is_refused(generator):
    with pytest.raises(InputError, match="it has none of: photometry"):
        generator.generate(pix2spec.Galaxy("nothing"), use=("photometry",))
    with pytest.raises(InputError, match="beyond the model's range"):
        generator.generate(galaxy(z=0.6), use=("photometry", "redshift"))


def test_dust_in_front_of_the_fluxes_is_in_front_of_the_spectra(generator):
    clear = generator.generate(
        galaxy(z=0.05, extinction="dereddened"), n=4, noise="none", use=("photometry", "redshift")
    )
    behind = {
        name: (value[0] + 0.4 * a * u.mag, value[1]) for (name, value), a in zip(FIBRE.items(), (0, 0, 0))
    }
    dusty = generator.generate(
        galaxy(z=0.05, photometry=behind, extinction=0.1), n=4, noise="none", use=("photometry", "redshift")
    )
    ratio = dusty.candidates[:, 200].mean() / dusty.candidates[:, -200].mean()
    assert ratio == pytest.approx(
        clear.candidates[:, 200].mean() / clear.candidates[:, -200].mean(), rel=0.15
    )


def test_only_networks_that_never_saw_a_fold_are_used(generator):
    assert generator.without(1).members == [1]
    with pytest.raises(InputError, match="all networks were trained on fold 7"):
        generator.without(7)


def test_candidates_have_a_misfit(generator):
    made = generator.generate(galaxy(), n=8)
    assert 0 <= made.chi2 < 9 and made.noise_free.shape == made.candidates.shape
    wild = {"g": (17.6 * u.ABmag, 0.01), "r": (14.0 * u.ABmag, 0.01), "i": (17.5 * u.ABmag, 0.01)}
    assert "photometry-misfit" in generator.generate(galaxy(photometry=wild), n=8).flags


def test_guidance_strengthens_what_is_known(generator):
    settings = {"n": 8, "noise": "none", "use": ("photometry", "redshift")}
    plain, strong = (generator.generate(galaxy(z=0.05), guidance=g, **settings) for g in (1.0, 2.0))
    assert strong.is_finite and np.abs(strong.candidates - plain.candidates).max() > 0
    assert replace(Settings(), guidance=2.0).guidance == 2.0


def test_weighed_candidates_agree_better_with_the_fluxes(generator):
    plain, weighed = (generator.generate(galaxy(), n=12, noise="none", reweigh=w) for w in (False, True))
    r_i = [
        synthetic_photometry(made.candidates, generator.grid.wave, ["sdss2010-r", "sdss2010-i"])
        for made in (plain, weighed)
    ]
    off = [np.abs(-2.5 * np.log10(flux[:, 0] / flux[:, 1]) - 0.4).mean() for flux in r_i]
    assert len(weighed) == 12 and off[1] < off[0]


def test_of_two_kinds_in_a_filter_each_question_takes_its_own(generator):
    from pix2spec.data.measurements import Measurements

    names = tuple(f"sdss2010-{band}" for band in "gri")
    flux = np.array([40.0, 90.0, 130.0])
    both = Measurements(
        names * 2, np.r_[2 * flux, flux], 0.02 * np.r_[2 * flux, flux], ("model",) * 3 + ("fibre",) * 3
    )
    total, fibre = both.of(range(3)), both.of(range(3, 6))
    made = [
        generator.generate(
            pix2spec.Galaxy(
                "one", photometry=some.flux, photometry_ivar=some.ivar, filters=some.filters, kind=some.kinds
            ),
            n=6, noise="none",
        )
        for some in (both, total, fibre)
    ]  # fmt: skip
    np.testing.assert_allclose(made[0].redshifts, made[1].redshifts, rtol=1e-5)
    r = [synthetic_photometry(e.candidates, generator.grid.wave, ["sdss2010-r"]).mean() for e in made]
    assert r[0] == pytest.approx(r[2], rel=0.2) and "photometry-misfit" not in made[0].flags


# ------------------------------------------------------------------------------------------- shapes


@pytest.fixture(scope="module")
def typed(generator):
    """The generator, with a model of shapes that takes strong lines for those of late types."""
    shapes = generator.shapes
    with torch.no_grad():
        shapes.line_mean.zero_()
        shapes.line_sd.fill_(1)
        shapes.line_bias.zero_()
        shapes.line_weight.copy_(torch.tensor([-2.0] * 13 + [0.0]))
    return generator


@pytest.fixture(scope="module")
def composite():
    return STRETCHES["sdss"].shown(SimulatedSurvey(seed=5).sample(1)["image"][0])


def test_candidates_are_kept_as_often_as_their_lines_agree_with_the_picture(typed, composite, monkeypatch):
    seen = {}

    def weights(self, pictured, lines, fold=-1):
        seen.update(pictured=pictured, strong=lines.mean(2)[0] > lines.mean(2)[0].median())
        return torch.where(lines.mean(2) > lines.mean(2).median(), 0.0, -50.0)

    monkeypatch.setattr(type(typed.shapes), "log_weights", weights)
    pictured = [galaxy(image=composite)]
    made = typed.generate_batch(pictured, "composite", Settings(n=16, shape=True))[0]
    every = typed.generate_batch(pictured, "composite", Settings(n=64))[0]
    assert torch.isfinite(seen["pictured"]).all()
    strong = seen["strong"].numpy()
    assert np.isin(made.redshifts, every.redshifts[strong]).all()
    assert not np.isin(made.redshifts, every.redshifts[~strong]).any()


def with_type(typed, monkeypatch, logit):
    monkeypatch.setattr(
        type(typed.shapes), "of_pictures", lambda self, images, scale: torch.full((1,), logit)
    )


def test_shapes_in_linear_pictures_choose_nothing(typed, monkeypatch):
    image = SimulatedSurvey(seed=5).sample(1)["image"][0]
    with_type(typed, monkeypatch, -4.0)
    seen = [galaxy(image=image)]
    made = [typed.generate_batch(seen, "linear", Settings(n=4, shape=s))[0] for s in (True, False)]
    np.testing.assert_array_equal(made[0].candidates, made[1].candidates)


def test_a_choice_by_shape_does_not_depend_on_the_batch(typed, composite):
    settings, other = Settings(n=4, noise="none", shape=True), galaxy("other")
    both = typed.generate_batch([other, galaxy(image=composite)], "composite", settings)
    alone = [typed.generate_batch([g], "composite", settings)[0] for g in (other, galaxy(image=composite))]
    for a, b in zip(both, alone):
        np.testing.assert_allclose(a.redshifts, b.redshifts, rtol=1e-5)
        np.testing.assert_allclose(a.candidates, b.candidates, rtol=2e-3, atol=1e-4)
