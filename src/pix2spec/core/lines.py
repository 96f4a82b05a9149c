"""Emission lines: their wavelengths, ratios and groups; and constants of spectroscopy."""

__all__ = [
    "LIGHT_SPEED",
    "LINES",
    "LINE_GROUPS",
]

LIGHT_SPEED = 299792.458  # km/s
# Vacuum wavelengths in Angstrom (NIST) and relative strengths. Lines of one group share their upper
# level or follow Case B (Osterbrock & Ferland 2006); what departs from that is left to the continuum.
LINE_GROUPS = {
    "[O_II]": ((3727.09, 0.42), (3729.88, 0.58)),
    "[Ne_III]": ((3869.86, 1.0),),
    "H_delta": ((4102.89, 1.0), (3971.20, 0.61), (3890.15, 0.40)),
    "H_gamma": ((4341.68, 1.0),),
    "He_II": ((4687.02, 1.0),),
    "H_beta": ((4862.68, 1.0),),
    "[O_III]": ((5008.24, 1.0), (4960.30, 0.335)),
    "He_I": ((5877.25, 1.0), (6680.00, 0.28)),
    "[O_I]": ((6302.05, 1.0), (6365.54, 0.33)),
    "[N_II]": ((6585.27, 1.0), (6549.85, 0.327)),
    "H_alpha": ((6564.61, 1.0),),
    "[S_II] 6716": ((6718.29, 1.0),),
    "[S_II] 6730": ((6732.67, 1.0),),
}
INSTRUMENT = 64.0  # km/s: dispersion of the SDSS spectrographs' line spread, R = 1,850 to 2,200
# Vacuum wavelengths in Angstrom (NIST), named as SDSS's line table names them.
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
