import time

import pytest

from pix2spec.data.dataset import Dataset
from pix2spec.generate.demo import DEMO_SEED, demo
from pix2spec.products.catalogue import open_catalogue
from pix2spec.training.spectrum.adapt import REPLAY_SEED
from pix2spec.training.spectrum.bank import BASIS_SEED, SEED


@pytest.mark.slow
def test_the_demo_makes_what_it_promises(tmp_path):
    start = time.monotonic()
    summary = demo(tmp_path / "demo", progress=False)
    assert time.monotonic() - start < 60
    assert (summary.n_ok, summary.n_failed) == (6, 0)
    catalogue = open_catalogue(tmp_path / "demo")
    assert len(catalogue) == 6
    for ensemble in catalogue:
        assert ensemble.candidates.shape == (25, 3598) and ensemble.scores is None
        assert ensemble.selected.tolist() == list(range(25)) and ensemble.redshifts.shape == (25,)
    assert len(list((tmp_path / "demo" / "spectra").glob("*.fits"))) == 6
    assert (tmp_path / "demo" / "spectra.png").stat().st_size > 100_000
    # The model never saw these galaxies: the simulated ones of its training have other seeds.
    ids = Dataset(tmp_path / "demo" / "galaxies").batch(slice(None), ["object_id"])["object_id"]
    assert all(str(DEMO_SEED) in object_id for object_id in ids)
    assert DEMO_SEED not in (SEED, BASIS_SEED, REPLAY_SEED)
