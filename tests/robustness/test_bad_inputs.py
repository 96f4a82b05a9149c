"""Every bad input is refused in one sentence that says what is wrong; readers survive whatever is altered."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import pix2spec
from pix2spec.data.dataset import write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.models.generator import Settings
from pix2spec.products.catalogue import open_catalogue
from robustness.corpus import CORPUS, READERS, good_inputs, table
from support.tiny import tiny_galaxy


def test_the_corpus_is_large_and_its_names_differ():
    assert len(CORPUS) >= 60 and len({bad.name for bad in CORPUS}) == len(CORPUS)
    assert {"FITS", "JPEG", "Parquet", "CSV", "YAML", "safetensors", "config.json"} <= {
        b.kind for b in CORPUS
    }
    assert table().count("\n") >= 10


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_bad_input_is_refused_in_one_sentence(bad, tmp_path, cli):
    path = bad.write(tmp_path)
    if bad.reader in READERS:
        with pytest.raises(InputError) as caught:
            READERS[bad.reader](path)
        said, file = str(caught.value), str(path)
    else:
        words = bad.reader.format(path=path, out=tmp_path / "out").split()
        code, out, said = cli(*words)
        listed = "failed:" in said or "data check" in bad.reader  # one of a batch, with its reason
        assert code == (1 if "data check" in bad.reader else 3 if listed else 2), said
        said, file = said + (out if listed else ""), path.name
        assert listed or (said.startswith("pix2spec: ") and said.count("\n") == 1)
    assert re.search(bad.says, said), said
    assert file in said or re.search(r"(failed|problem): (tiny-\d|a )", said)  # the file, or its object
    assert "Traceback" not in said and len(said) < 2000


# ------------------------------------------------------------------------------- whatever is altered

damage = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "insert", "double"]), st.floats(0, 1), st.integers(0, 255)),
    min_size=1,
    max_size=5,
)


def damaged(raw: bytes, changes) -> bytes:
    raw = bytearray(raw)
    for how, place, value in changes:
        at = int(place * len(raw))
        if how == "flip" and raw:
            raw[at - 1] ^= value
        elif how == "cut":
            del raw[at : at + 16 * value]
        elif how == "insert":
            raw[at:at] = bytes([value]) * 9
        elif how == "double":
            raw[at:at] = raw[at : at + 4 * value]
    return bytes(raw)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return good_inputs(tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize("reader", sorted(READERS))
def test_good_input_is_read(good, reader):
    READERS[reader](good[reader])


@pytest.mark.parametrize("reader", sorted(READERS))
def test_damaged_input_is_read_or_refused(good, reader, tmp_path):
    """Never another error than InputError, which names no other file."""
    whole, file = good[reader], good[reader] / "config.json" if reader == "model" else good[reader]
    raw = file.read_bytes()
    name = file.name

    @given(damage)
    @settings(
        max_examples=15,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def check(changes):
        place = tmp_path / name
        place.write_bytes(damaged(raw, changes))
        if reader == "model":
            (tmp_path / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes())
        try:
            READERS[reader](tmp_path if reader == "model" else place)
        except InputError as error:
            assert str(tmp_path) in str(error) and "\n" not in str(error)

    check()


# ------------------------------------------------------------------------- bad rows among good ones


def spoiled(galaxy, k: int):
    """A pair that cannot be used, in one of several ways."""
    nothing = {"photometry": None, "photometry_ivar": None}
    nan = np.full(5, np.nan, np.float32)
    return replace(galaxy, truth={}, **[
        {"image": None} | nothing,
        {"image": np.full_like(galaxy.image, np.nan)} | nothing,
        {"image": np.zeros_like(galaxy.image)} | nothing,
        {"image": None, "photometry": nan, "photometry_ivar": np.ones(5, np.float32)},
        {"image": None, "photometry_ivar": np.zeros(5, np.float32)},
    ][k % 5])  # fmt: skip


@pytest.mark.slow
def test_five_per_cent_of_bad_rows_cost_no_good_one(tmp_path, cli):
    clean = [replace(galaxy, truth={}) for galaxy in SimulatedSurvey(seed=3).galaxies(60)]
    bad = {7: 0, 30: 1, 59: 3}
    dirty = [spoiled(galaxy, bad[i]) if i in bad else galaxy for i, galaxy in enumerate(clean)]
    for name, galaxies in (("clean", clean), ("dirty", dirty)):
        write_dataset(tmp_path / name, galaxies, DatasetInfo())
        code, _, err = cli(
            "generate",
            tmp_path / name,
            "--out",
            tmp_path / f"{name}-out",
            "-n",
            2,
            "--steps",
            1,
            "--batch",
            4,
        )
        assert code == (3 if name == "dirty" else 0), err
    for i in bad:
        assert f"failed: {clean[i].object_id}: " in err
    ours, theirs = open_catalogue(tmp_path / "dirty-out"), open_catalogue(tmp_path / "clean-out")
    assert set(ours.failures) == {clean[i].object_id for i in bad}
    assert all(len(reason) > 20 for reason in ours.failures.values())
    good = {e.object_id: e for e in theirs}
    assert len(list(ours)) == 57
    for ensemble in ours:
        expected = good[ensemble.object_id]
        # Bad rows leave smaller batches, in which sums of float32 differ in their last digit.
        np.testing.assert_allclose(ensemble.candidates, expected.candidates, rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(ensemble.selected, expected.selected)


# --------------------------------------------------------------------------------- no NaN unflagged

numbers = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-30, 1.0, 30.0, 1e8, 1e30, 3e38])
few = st.lists(numbers, min_size=5, max_size=5).map(lambda values: np.array(values, np.float32))
pixels = st.sampled_from([None, "blob", "negative", "huge", "tiny", "constant", "nan", "zero", "one pixel"])


def odd_image(how, image):
    with np.errstate(over="ignore"):
        return {
            "blob": image,
            "negative": -image,
            "huge": image * np.float32(1e30),
            "tiny": image * np.float32(1e-35),
            "constant": np.full_like(image, 3.0),
            "nan": np.where(image > 0.5, np.nan, image),
            "zero": np.zeros_like(image),
            "one pixel": np.where(np.arange(64) == 3, np.float32(1e8), np.zeros_like(image)),
        }.get(how)


def families(tiny_run, tiny_selector, tiny_factorised_run, tiny_data, folder):
    from pix2spec.data.dataset import Dataset
    from pix2spec.models.baselines.wu_peek.generator import WuPeekGenerator
    from pix2spec.models.presets import load_preset
    from pix2spec.models.registry import build_model
    from pix2spec.training.fit import fit
    from support.tiny import GRID

    yield pix2spec.load(tiny_run, device="cpu"), ("image", "photometry")
    yield pix2spec.load(tiny_run, selector=tiny_selector, device="cpu"), ("image", "photometry")
    yield pix2spec.load(tiny_factorised_run, device="cpu"), ("image", "photometry", "redshift")
    for name in ("mean-spectrum", "nearest-neighbour", "neighbours-25-photometry", "pca-ridge"):
        preset = load_preset(name, ["components=4"] if name == "pca-ridge" else [])
        yield (
            pix2spec.load(fit(preset, Dataset(tiny_data), folder / name, progress=False)),
            ("image", "photometry"),
        )
    preset = load_preset("paper-wu-peek-small")
    model = build_model(preset, GRID, Dataset(tiny_data).info.survey).eval()
    yield WuPeekGenerator(model, {"model": "wu-peek"}, {}), ("image", "photometry")


@pytest.fixture(scope="module")
def generators(tiny_run, tiny_selector, tiny_factorised_run, tiny_data, tmp_path_factory):
    return list(
        families(tiny_run, tiny_selector, tiny_factorised_run, tiny_data, tmp_path_factory.mktemp("fit"))
    )


@pytest.mark.slow
@given(pixels, st.none() | few, few, numbers, numbers, st.sampled_from(["linear", "composite"]))
@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_nan_reaches_an_output_unflagged(generators, how, flux, ivar, z, z_err, kind):
    odd = tiny_galaxy(1)
    odd = replace(
        odd, image=odd_image(how, odd.image), photometry=flux, photometry_ivar=ivar, z=z, z_err=z_err
    )
    for generator, use in generators:
        galaxies = [tiny_galaxy(0), replace(odd, object_id="odd"), tiny_galaxy(2)]
        if kind == "composite" and getattr(generator.model.preset, "image", None) == "linear":
            continue  # a dataset of the wrong kind is refused as a whole
        rule = Settings(n=2, steps=2, use=use, select=generator.default_select)
        for galaxy, made in zip(galaxies, generator.run(galaxies, kind, rule, batch=3), strict=True):
            if isinstance(made, tuple):
                assert galaxy.object_id == "odd" and made[1].startswith("odd: ") and len(made[1]) > 20
                continue
            assert made.object_id == galaxy.object_id
            assert np.isfinite(made.candidates).all() and np.isfinite(made.flux).all()
            assert made.scores is None or np.isfinite(made.scores).all()
            assert made.redshifts is None or np.isfinite(made.redshifts).all()
