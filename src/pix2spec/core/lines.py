"""Spectral lines and the speed of light. Wavelengths are rest-frame vacuum wavelengths in Angstrom."""

__all__ = [
    "LIGHT_SPEED_ANGSTROM_S",
    "LIGHT_SPEED_KM_S",
    "LINES",
    "LINE_GROUPS",
    "OTHER_LINES",
    "SDSS_LINE_SPREAD_KM_S",
    "mean_wavelength",
]

LIGHT_SPEED_M_S = 299792458.0
LIGHT_SPEED_KM_S = LIGHT_SPEED_M_S / 1e3
LIGHT_SPEED_ANGSTROM_S = LIGHT_SPEED_M_S * 1e10
SDSS_LINE_SPREAD_KM_S = 64.0  # dispersion of an unresolved line in SDSS spectra (R = 1,850 to 2,200)

# Emission lines of ionised gas (NIST), with the names of SDSS's line table. Simulated datasets hold the flux
# of each line in this order.
LINES = {
    "[O_II] 3725": 3727.09,
    "[O_II] 3727": 3729.88,
    "[Ne_III] 3868": 3869.86,
    "H_zeta": 3890.15,
    "H_epsilon": 3971.20,
    "H_delta": 4102.89,
    "H_gamma": 4341.68,
    "[O_III] 4363": 4364.44,
    "He_II 4685": 4687.02,
    "H_beta": 4862.68,
    "[O_III] 4959": 4960.30,
    "[O_III] 5007": 5008.24,
    "He_I 5876": 5877.25,
    "[O_I] 6300": 6302.05,
    "[O_I] 6363": 6365.54,
    "[N_II] 6548": 6549.85,
    "H_alpha": 6564.61,
    "[N_II] 6583": 6585.27,
    "He_I 6678": 6680.00,
    "[S_II] 6716": 6718.29,
    "[S_II] 6730": 6732.67,
    "[Ar_III] 7135": 7137.80,
    "[O_II] 7320": 7322.00,
    "[S_III] 9069": 9071.10,
}
# Absorption lines of stars and neutral gas (Vanden Berk et al. 2001; G and Mg b are blends), and [N I]
# emission.
OTHER_LINES = {
    "Ca_K": 3934.8,
    "Ca_H": 3969.6,
    "G": 4305.6,
    "Mg_b": 5176.6,
    "[N_I] 5198": 5199.3,
    "[N_I] 5200": 5201.7,
    "Na_D 5890": 5891.6,
    "Na_D 5896": 5897.6,
}
# The lines of a group have fixed flux ratios, because they share their upper level or follow Case B
# (Osterbrock & Ferland 2006). Models have one free flux per group, in this order. The continuum fits
# deviations from the ratios.
_RELATIVE_FLUXES = {
    "[O_II]": {"[O_II] 3725": 0.42, "[O_II] 3727": 0.58},
    "[Ne_III]": {"[Ne_III] 3868": 1.0},
    "H_delta": {"H_delta": 1.0, "H_epsilon": 0.61, "H_zeta": 0.40},
    "H_gamma": {"H_gamma": 1.0},
    "He_II": {"He_II 4685": 1.0},
    "H_beta": {"H_beta": 1.0},
    "[O_III]": {"[O_III] 5007": 1.0, "[O_III] 4959": 0.335},
    "He_I": {"He_I 5876": 1.0, "He_I 6678": 0.28},
    "[O_I]": {"[O_I] 6300": 1.0, "[O_I] 6363": 0.33},
    "[N_II]": {"[N_II] 6583": 1.0, "[N_II] 6548": 0.327},
    "H_alpha": {"H_alpha": 1.0},
    "[S_II] 6716": {"[S_II] 6716": 1.0},
    "[S_II] 6730": {"[S_II] 6730": 1.0},
}
# Group to the (wavelength, relative flux) of its lines.
LINE_GROUPS = {
    group: tuple((LINES[name], relative_flux) for name, relative_flux in members.items())
    for group, members in _RELATIVE_FLUXES.items()
}


def mean_wavelength(*names: str) -> float:
    """Mean wavelength of some lines of `LINES` or `OTHER_LINES`, for blends."""
    wavelengths = LINES | OTHER_LINES
    return sum(wavelengths[name] for name in names) / len(names)
