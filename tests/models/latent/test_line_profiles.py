"""Emission lines against the integrals and moments of Gaussians."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.core.lines import LIGHT_SPEED_KM_S, LINE_GROUPS
from pix2spec.models.latent.line_profiles import EmissionLines

START, SIZE, STEP = 3.55, 4500, 1e-4  # 3548 to 10,000 Angstrom: every line at rest, and at z = 0.45
LINES = EmissionLines(STEP)
NAMES = list(LINE_GROUPS)
TOTAL = torch.tensor([sum(strength for _, strength in lines) for lines in LINE_GROUPS.values()])


def wave(start=START, size=SIZE):
    return 10 ** (start + STEP * torch.arange(size, dtype=torch.float64))


def alone(group, zeta=0.0, width=100.0, start=START, size=SIZE):
    """One spectrum with one group of unit flux."""
    spectra = torch.zeros(1, size)
    flux = torch.zeros(1, len(LINES))
    flux[0, NAMES.index(group)] = 1
    LINES.add(spectra, start, torch.tensor([zeta], dtype=torch.float64), flux, torch.tensor([width]))
    return spectra[0].double()


def test_templates_of_unit_flux_integrate_to_their_lines_strengths():
    for width in (10, 150, 400):
        flux = torch.trapezoid(LINES.templates(START, SIZE, width).double(), wave(), dim=1)
        torch.testing.assert_close(flux.float(), TOTAL, rtol=1e-5, atol=0)


@given(zeta=st.floats(0, 0.16), width=st.floats(5, 450))
def test_added_lines_integrate_to_their_flux_at_any_redshift(zeta, width):
    for group in ("[O_II]", "H_beta", "H_alpha"):
        flux = torch.trapezoid(alone(group, zeta, width), wave()) / 10**zeta  # observed wavelengths
        assert flux.item() == pytest.approx(TOTAL[NAMES.index(group)].item(), rel=1e-5)


@given(zeta=st.floats(0, 0.15), width=st.floats(5, 450), seed=st.integers(0, 9))
def test_added_lines_are_the_templates(zeta, width, seed):
    flux = torch.rand(1, len(LINES), generator=torch.Generator().manual_seed(seed))
    spectra = torch.zeros(1, SIZE)
    LINES.add(spectra, START, torch.tensor([zeta], dtype=torch.float64), flux, torch.tensor([width]))
    expected = flux @ LINES.templates(START - zeta, SIZE, width)
    torch.testing.assert_close(spectra, expected, rtol=1e-4, atol=1e-5 * expected.max().item())


@pytest.mark.parametrize(("group", "ratio"), [("[O_III]", 0.335), ("[N_II]", 0.327), ("[O_I]", 0.33)])
def test_doublets_keep_their_ratio(group, ratio):
    (strong, _), (weak, _) = LINE_GROUPS[group]
    spectrum, x = alone(group, width=50.0), wave()
    fluxes = []
    for line in (weak, strong):
        near = (x - line).abs() < 12
        fluxes.append(torch.trapezoid(spectrum[near], x[near]).item())
    assert fluxes[0] / fluxes[1] == pytest.approx(ratio, rel=1e-4)


@pytest.mark.parametrize("width", [0.0, 30.0, 120.0, 400.0])
def test_widths_add_to_the_instruments_in_quadrature(width):
    spectrum = alone("H_beta", zeta=0.0321456, width=width)
    velocity = LIGHT_SPEED_KM_S * (torch.log(wave()) - math.log(4862.68) - 0.0321456 * math.log(10))
    share = spectrum / spectrum.sum()
    mean = (share * velocity).sum()
    assert abs(mean.item()) < 0.1  # km/s
    second = (share * (velocity - mean) ** 2).sum().sqrt()
    assert second.item() == pytest.approx(math.hypot(width, 64.0), rel=2e-4)


def test_lines_outside_the_grid_change_nothing():
    start, size = math.log10(5100), 500  # 5100 to 5722 Angstrom: no line at rest
    spectra = torch.rand(2, size, generator=torch.Generator().manual_seed(0))
    before = spectra.clone()
    LINES.add(spectra, start, torch.zeros(2).double(), torch.ones(2, len(LINES)), torch.tensor([50.0, 150.0]))
    assert torch.equal(spectra, before)


def test_a_line_beyond_the_edge_still_shows_its_wing():
    inside, outside = math.log10(4862.68) - 1.4 * STEP, math.log10(4862.68) + 1.4 * STEP
    for start in (inside, outside):
        spectrum, whole = alone("H_beta", start=start, size=50), alone("H_beta", start=start - 0.01, size=150)
        torch.testing.assert_close(spectrum, whole[100:])
    assert spectrum[0] > 0.1 * whole.max() and whole.argmax() < 100


def test_lines_add_to_what_is_there_and_to_each_other():
    zeta, width = torch.tensor([0.05, 0.1]).double(), torch.tensor([100.0, 200.0])
    a, b = (torch.rand(2, len(LINES), generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    together, in_turn = torch.ones(2, SIZE), torch.ones(2, SIZE)
    LINES.add(together, START, zeta, a + b, width)
    LINES.add(in_turn, START, zeta, a, width)
    LINES.add(in_turn, START, zeta, b, width)
    torch.testing.assert_close(together, in_turn, rtol=1e-5, atol=1e-6)


def test_every_line_is_where_it_belongs():
    for group, lines in LINE_GROUPS.items():
        spectrum = LINES.templates(START, SIZE, 20)[NAMES.index(group)].numpy()
        for line, _ in lines:
            pixel = (np.log10(line) - START) / STEP
            around = np.arange(round(pixel) - 3, round(pixel) + 4)
            centroid = (spectrum[around] * around).sum() / spectrum[around].sum()
            if group != "[O_II]":  # its lines overlap
                assert centroid == pytest.approx(pixel, abs=0.05), line
