"""Fluxes of the basis in filters: against integrals of decoded spectra."""

import numpy as np
import pytest
import torch
from tests.support.tiny import tiny_spectrum_model

from pix2spec.core.filters import Filter
from pix2spec.core.photometry import filter_matrix
from pix2spec.models.spectrum.bands import BandTables

FILTERS = ("sdss2010-r", "sdss2010-i", "panstarrs-r")


@pytest.fixture(scope="module")
def network():
    return tiny_spectrum_model(1).networks[0]


@pytest.mark.parametrize("z", [0.01, 0.0834, 0.21])
def test_fluxes_are_those_of_decoded_spectra(network, z):
    basis, zeta = network.basis, torch.tensor([np.log10(1 + z)])
    h, lines = 0.3 * torch.ones(1, basis.n_components), torch.linspace(1, 9, basis.n_lines)[None]
    spectrum = basis.decode(zeta, h, lines, torch.tensor([120.0]))
    expected = spectrum.numpy()[0] @ filter_matrix(network.grid.wave, FILTERS)
    parts, covered = BandTables(basis, FILTERS).at(torch.arange(3)[None], zeta)
    found = (parts[0] @ torch.cat([torch.ones(1), h[0], lines[0]])).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    assert covered.all()


def test_a_filter_beyond_the_basis_is_not_covered(network):
    tables = BandTables(network.basis, ("sdss2010-r", "galex-nuv", "wise2010-W1"))
    _, covered = tables.at(torch.arange(3)[None], torch.tensor([0.02]))
    assert covered.tolist() == [[True, False, False]]


def test_a_box_is_the_mean_of_its_pixels(network):
    box = Filter("box", np.array([5999.99, 6000, 6100, 6100.01]), np.array([0.0, 1, 1, 0]))
    basis = network.basis
    flat = torch.zeros(1, basis.n_components)
    spectrum = basis.decode(torch.zeros(1), flat, torch.zeros(1, basis.n_lines), torch.tensor([120.0]))[0]
    wave = network.grid.wave
    inside = (wave > 6000) & (wave < 6100)
    light = (spectrum.numpy() * wave)[inside].sum() / wave[inside].sum()  # f_lambda for a photon counter
    nanomaggies = light * 6050**2 / 2.99792458e18 / 3.631e-29 * 1e-17
    found = BandTables(basis, (box,)).at(torch.tensor([[0]]), torch.zeros(1))[0][0, 0, 0]
    np.testing.assert_allclose(found, nanomaggies, rtol=2e-3)
