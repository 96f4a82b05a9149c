"""Lines and constants against other sources."""

import re

import pytest
from astropy import constants

from pix2spec.core.lines import (
    LIGHT_SPEED_ANGSTROM_S,
    LIGHT_SPEED_KM_S,
    LINE_GROUPS,
    LINES,
    OTHER_LINES,
    mean_wavelength,
)
from pix2spec.products.spectrum_panel import LINE_LABELS

REFRACTION = 1.000277  # of air; SDSS names lines by their wavelengths in air


def test_light_speed_is_that_of_astropy():
    assert LIGHT_SPEED_KM_S == constants.c.to_value("km/s") == 299792.458
    assert LIGHT_SPEED_ANGSTROM_S == pytest.approx(constants.c.to_value("Angstrom/s"), rel=1e-15)


@pytest.mark.parametrize("name, wave", [*LINES.items(), *OTHER_LINES.items()])
def test_wavelengths_are_those_of_the_names_in_vacuum(name, wave):
    if named := re.search(r"\d{4}", name):
        assert wave == pytest.approx(int(named[0]) * REFRACTION, abs=2)


def test_hydrogen_follows_balmer():
    for n, name in enumerate(("H_alpha", "H_beta", "H_gamma", "H_delta", "H_epsilon", "H_zeta"), 3):
        assert LINES[name] == pytest.approx(1e8 / (109677.58 * (1 / 4 - 1 / n**2)), abs=0.1)


def test_groups_start_with_the_line_that_they_are_named_after():
    wavelengths = set(LINES.values())
    for group, lines in LINE_GROUPS.items():
        assert {wave for wave, _ in lines} <= wavelengths
        names = [name for name in LINES if name.startswith(group)]
        assert lines[0][0] in [LINES[name] for name in names]
    members = [wave for lines in LINE_GROUPS.values() for wave, _ in lines]
    assert len(members) == len(set(members)) == 20


def test_doublets_have_their_ratios_of_transition_rates():
    for group, ratio in (("[O_III]", 2.98), ("[N_II]", 3.05), ("[O_I]", 3.03)):
        (_, strong), (_, weak) = LINE_GROUPS[group]
        assert strong / weak == pytest.approx(ratio, rel=0.01)


def test_labels_stand_where_vanden_berk_et_al_list_the_lines():
    expected = (3728.5, 3934.8, 3969.6, 4102.9, 4305.6, 4862.7, 5008.2, 5176.6, 5894.6, 6564.6, 6725.5)
    assert [wave for _, wave, _ in LINE_LABELS] == pytest.approx(expected, abs=0.05)
    assert mean_wavelength("[O_II] 3725", "[O_II] 3727") == (3727.09 + 3729.88) / 2
