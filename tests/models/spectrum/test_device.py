"""The default model on a GPU that does not exist: see `tests.support.pretend_gpu`."""

import astropy.units as u
import numpy as np
import pytest
import torch
from tests.support.pretend_gpu import pretend_gpu

import pix2spec
from pix2spec.core.stretches import STRETCHES
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.models.generator import Settings
from pix2spec.models.shared.device import to_device, to_host
from pix2spec.models.spectrum.graph import MANY

FIBRE = {"g": (17.6 * u.ABmag, 0.02), "r": (16.9 * u.ABmag, 0.02), "i": (16.5 * u.ABmag, 0.02)}
CONSTANT = 100  # numbers, of which a transfer need not be pinned


def galaxy(name="one", **changes):
    return pix2spec.Galaxy(name, **{"photometry": FIBRE, "kind": "fibre"} | changes)


def in_narrow_bands(name="narrow"):
    """A galaxy in 14 filters of 100 Angstrom."""
    curves = {f"at {w}": ([w - 1, w, w + 100, w + 101], [0, 1, 1, 0]) for w in range(4400, 8600, 300)}
    return galaxy(name, photometry=dict.fromkeys(curves, (60.0, 1.2)), filters=curves)


def simulated(kind):
    """A galaxy of the simulated survey, of which the network sees the picture, or its shape."""
    made = next(SimulatedSurvey(9).galaxies(1))
    if kind == "composite":
        return galaxy(made.object_id, image=STRETCHES["sdss"].shown(made.image))
    return made


@pytest.fixture(scope="module")
def generators(folder_with_flows):
    """A tiny model on the CPU, and on the GPU that does not exist."""
    folder = folder_with_flows
    with pretend_gpu():
        there = pix2spec.load(folder, device="cuda")
    here = pix2spec.load(folder, device="cpu")
    assert there.model.basis.mean.is_cuda and there.default_batch == 256
    assert there.graph.after == MANY and here.graph is None
    return here, there


CASES = {
    "fluxes": ([galaxy("a"), galaxy("b")], "linear", {}),
    "guidance": ([galaxy("a"), galaxy("b")], "linear", {"guidance": 2.0, "sampler": "heun"}),
    "a redshift that is given": ([galaxy(z=0.08, z_err=0.0)], "linear", {"use": ("photometry", "redshift")}),
    "a redshift alone": ([galaxy(z=0.1, photometry=None)], "linear", {"use": ("redshift",)}),
    "dust in front": ([galaxy("dusty", extinction=0.1), galaxy("clear")], "linear", {}),
    "many narrow bands": ([in_narrow_bands(), galaxy()], "linear", {}),
    "a picture": ([simulated("linear")], "linear", {"use": ("image",)}),
    "a shape, and choice": ([simulated("composite")], "composite", {"shape": True, "reweigh": True}),
    "scores": ([galaxy()], "linear", {"select": "best"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_gpu_makes_the_same_candidates(generators, case):
    some, kind, options = CASES[case]
    settings = Settings(n=5, **options)
    wanted = generators[0].generate_batch(some, kind, settings)
    with pretend_gpu() as gpu:
        made = generators[1].generate_batch(some, kind, settings)
    for a, b in zip(made, wanted):
        np.testing.assert_allclose(a.candidates, b.candidates, rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(a.redshifts, b.redshifts, rtol=1e-6)
        assert a.flags == b.flags
    assert all(at_once or size < CONSTANT for size, at_once in gpu.sent)
    assert all(at_once for _, at_once in gpu.fetched)


def test_transfers_are_counted_by_batch_and_not_by_galaxy(generators, monkeypatch):
    monkeypatch.setattr("pix2spec.models.spectrum.draw.REDRAWS", 0)  # of candidates of an untrained network
    counts = []
    for some in ([galaxy("a")], [galaxy(name) for name in "abcdefgh"]):
        for _ in range(2):  # tables of filters are kept
            with pretend_gpu() as gpu:
                generators[1].generate_batch(some, "linear", Settings(n=4))
        counts.append((len(gpu.sent), len(gpu.fetched), gpu.waits))
    assert counts[0] == counts[1] and counts[0][1] == 4


def test_rankers_codes_are_the_same_on_a_gpu(generators):
    wanted = generators[0].queries([galaxy()], "linear", Settings())
    with pretend_gpu():
        made = generators[1].queries([galaxy()], "linear", Settings())
    np.testing.assert_allclose(made, wanted, rtol=1e-5)


def test_tensors_of_two_devices_do_not_mix():
    here = torch.ones(3)
    with pretend_gpu() as gpu:
        there = to_device(here, "cuda")
        assert there.is_cuda and gpu.sent == [(3, True)]
        for mistake in (lambda: there + here, lambda: there[torch.tensor([0])], there.numpy):
            with pytest.raises(RuntimeError):
                mistake()
        np.testing.assert_array_equal(to_host(2 * there)[0], [2, 2, 2])
    assert to_device(here, "cpu") is here and np.shares_memory(to_host(here)[0], here.numpy())


@pytest.mark.parametrize("name, told", [("cuda", "torch finds no GPU"), ("cudo", "'cudo' is no device")])
def test_a_device_that_is_not_there_is_named(monkeypatch, name, told):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match=f"`device`: {told}"):
        pix2spec.load("default", device=name)
