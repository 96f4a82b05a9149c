"""The dense part of a batch: the same as what the CPU does in small blocks, in one graph."""

import math
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import pix2spec
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.models.generator import Settings
from pix2spec.models.shared.stack import stacked
from pix2spec.models.spectrum import graph
from pix2spec.models.spectrum.graph import dense_spectra
from pix2spec.models.spectrum.network import spectra_of


@pytest.fixture(scope="module")
def generator(folder_with_flows):
    return pix2spec.load(folder_with_flows, device="cpu")


def galaxies(count):
    rng = np.random.default_rng(0)
    return [
        pix2spec.Galaxy(f"g{k}", photometry=rng.uniform(20, 90, 5), photometry_ivar=np.ones(5), kind="fibre")
        for k in range(count)
    ]


def agree(made, wanted):
    for one, other in zip(made, wanted, strict=True):
        np.testing.assert_allclose(one.noise_free, other.noise_free, rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(one.candidates, other.candidates, rtol=2e-3, atol=1e-4)
        np.testing.assert_array_equal(one.redshifts, other.redshifts)


def test_flows_matter_here(generator, monkeypatch):
    made = generator.generate_batch(galaxies(1), "linear", Settings(n=4))[0]
    monkeypatch.setattr("pix2spec.models.spectrum.flow.SpectrumFlow.correction", lambda self, x, *_: 0 * x)
    without = replace(generator).generate_batch(galaxies(1), "linear", Settings(n=4))[0]
    assert np.abs(made.noise_free - without.noise_free).max() > 0.1 * without.noise_free.mean()


def test_dense_spectra_are_those_of_the_networks(model_with_flows):
    model = model_with_flows
    torch.manual_seed(1)
    network = stacked(list(model.networks), without=["noise"])
    vectors = network.normal.inverse(1.5 * torch.randn(2, 40, network.dimension))
    zeta, r = torch.log10(1 + 0.45 * torch.rand(2, 40)), 10 ** torch.randn(2, 40)
    made = dense_spectra(network, vectors, zeta, r)
    every = (values.flatten(0, 1) for values in (vectors, zeta, r))
    wanted = spectra_of(model.networks, np.repeat([0, 1], 40), *every).unflatten(0, (2, 40))
    for one, other in zip(made, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * float(other.max()))


@pytest.mark.parametrize("options", [{}, {"guidance": 2.0}, {"reweigh": True}, {"sampler": "heun"}])
def test_a_batch_at_once_is_that_in_blocks(generator, options):
    settings = Settings(n=5, **options)
    at_once = replace(generator)
    at_once.graph = graph.Graph(math.inf)
    wanted = generator.generate_batch(galaxies(3), "linear", settings)
    agree(at_once.generate_batch(galaxies(3), "linear", settings), wanted)


@pytest.mark.slow
def test_a_catalogue_is_compiled_once(generator, monkeypatch):
    graphs = []

    def backend(module, inputs):
        graphs.append(module)
        return module

    def compiled(function):
        return torch.compile(function, fullgraph=True, dynamic=False, backend=backend)

    monkeypatch.setattr(graph, "_compiled", compiled)
    at_once = replace(generator, compiled=True)
    for count in (3, 3, 2, 1):  # smaller batches are filled up
        settings = Settings(n=5, seed=count, steps=2)
        made = at_once.generate_batch(galaxies(count), "linear", settings)
        agree(made, generator.generate_batch(galaxies(count), "linear", settings))
    assert len(graphs) == 1


def test_a_batch_that_cannot_be_compiled_is_made_all_the_same(generator, monkeypatch):
    from torch._dynamo.exc import Unsupported

    def compiled(function):
        def fails(*arguments):
            raise Unsupported("no compiler", "none")

        return fails

    monkeypatch.setattr(graph, "_compiled", compiled)
    at_once, settings = replace(generator, compiled=True), Settings(n=2)
    with pytest.warns(RuntimeWarning, match="without being compiled: no compiler"):
        made = at_once.generate_batch(galaxies(1), "linear", settings)
    agree(made, generator.generate_batch(galaxies(1), "linear", settings))
    assert at_once.graph.after == math.inf


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which(os.environ.get("CXX", "g++")), reason="torch.compile needs a C++ compiler on the CPU"
)
def test_compiled_is_eager(generator):
    at_once, settings = replace(generator, compiled=True), Settings(n=5, steps=2)
    for count in (3, 2):
        made = at_once.generate_batch(galaxies(count), "linear", settings)
        agree(made, generator.generate_batch(galaxies(count), "linear", settings))
    assert at_once.graph.after == 0


@pytest.mark.slow
def test_bfloat16_moves_candidates_by_little_of_their_spread():
    model, settings = pix2spec.load("default", device="cpu"), Settings(n=16)
    some = [replace(galaxy, image=None) for galaxy in SimulatedSurvey(3).galaxies(8)]
    half = replace(model, bfloat16=True)
    made, wanted = (
        np.stack([ensemble.noise_free for ensemble in own.generate_batch(some, "linear", settings)])
        for own in (half, model)
    )
    off = np.abs(made - wanted) / wanted.std(1, keepdims=True)
    assert 1e-4 < np.median(off) < 0.02 and np.quantile(off, 0.99) < 0.3
