"""Luminosities of emission lines of star-forming regions and active nuclei."""

import numpy as np

from pix2spec.core.lines import LINES

__all__ = [
    "BROAD",
    "agn_lines",
    "star_forming_lines",
]

# Broad lines of Seyfert 1 nuclei relative to broad Halpha, in the order of LINES.
_BROAD = {"H_alpha": 1, "H_beta": 0.33, "H_gamma": 0.15, "H_delta": 0.07, "He_I 5876": 0.05}
BROAD = np.array([_BROAD.get(name, 0.0) for name in LINES])


def spectrum_of_gas(halpha, n2, o3, s2, o1, o2, he2, ne3):
    """Line luminosities without dust, from Halpha and a few logarithmic ratios.

    Hydrogen lines follow Case B at 10^4 K (Osterbrock & Ferland 2006), so that Halpha / Hbeta = 2.86.
    Doublets with a common upper level have fixed ratios.

    Parameters
    ----------
    halpha : array (n,)
        Luminosity of Halpha, in any unit.
    n2, s2, o1 : array (n,)
        log10 of [N II] 6583, [S II] 6716+6730 and [O I] 6300 over Halpha.
    o3, o2 : array (n,)
        log10 of [O III] 5007 and [O II] 3725+3727 over Hbeta.
    he2, ne3 : array (n,) or float
        He II 4685 over Hbeta; [Ne III] 3868 over [O III] 5007.

    Returns
    -------
    array (n, lines)
        Luminosities in the unit of `halpha` and in the order of `LINES`.
    """
    hbeta = halpha / 2.86
    oxygen3, oxygen2 = 10**o3 * hbeta, 10**o2 * hbeta
    nitrogen, sulphur, oxygen1 = 10**n2 * halpha, 10**s2 * halpha, 10**o1 * halpha
    values = {
        "H_alpha": halpha,
        "H_beta": hbeta,
        "H_gamma": 0.468 * hbeta,
        "H_delta": 0.259 * hbeta,
        "H_epsilon": 0.159 * hbeta,
        "H_zeta": 0.105 * hbeta,
        "He_I 5876": 0.12 * hbeta,
        "He_I 6678": 0.034 * hbeta,
        "He_II 4685": he2 * hbeta,
        "[N_II] 6583": nitrogen,
        "[N_II] 6548": nitrogen / 3.06,
        "[O_III] 5007": oxygen3,
        "[O_III] 4959": oxygen3 / 2.98,
        "[O_III] 4363": 0.012 * oxygen3,
        "[Ne_III] 3868": ne3 * oxygen3,
        "[S_II] 6716": 0.58 * sulphur,
        "[S_II] 6730": 0.42 * sulphur,
        "[O_I] 6300": oxygen1,
        "[O_I] 6363": oxygen1 / 3.03,
        "[O_II] 3725": 0.42 * oxygen2,
        "[O_II] 3727": 0.58 * oxygen2,
        "[O_II] 7320": 0.04 * oxygen2,
        "[Ar_III] 7135": 0.06 * hbeta,
        "[S_III] 9069": 0.25 * hbeta,
    }
    return np.stack([values[name] for name in LINES], axis=1)


def star_forming_lines(halpha, oxygen, scatter):
    """Line luminosities of H II regions. Their ratios follow the oxygen abundance.

    [N II] is the N2 calibration of Pettini & Pagel (2004, MNRAS 348:L59); [O III] lies on the star-forming
    sequence of Kewley et al. (2013, ApJ 774:L10).

    Parameters
    ----------
    halpha : array (n,)
        Luminosity of Halpha.
    oxygen : array (n,)
        12 + log10 O/H.
    scatter : array (n, 5 or more)
        Standard normal numbers that scatter the ratios.

    Returns
    -------
    array (n, lines)
    """
    n2 = np.clip((oxygen - 8.90) / 0.57, -1.8, -0.35) + 0.06 * scatter[:, 0]
    o3 = np.clip(0.61 / (np.minimum(n2, -0.3) + 0.08) + 1.10, -0.9, 0.85) + 0.10 * scatter[:, 1]
    s2 = np.interp(oxygen, [7.9, 8.3, 8.6, 8.95], [-0.85, -0.5, -0.42, -0.55]) + 0.06 * scatter[:, 2]
    o1 = s2 - 1.05 + 0.1 * scatter[:, 3]
    o2 = np.interp(oxygen, [7.9, 8.3, 8.6, 8.95], [0.35, 0.55, 0.45, 0.15]) + 0.07 * scatter[:, 4]
    return spectrum_of_gas(halpha, n2, o3, s2, o1, o2, he2=0.0, ne3=0.08)


def agn_lines(halpha, liner, scatter):
    """Luminosities (n, lines) of the narrow lines of active nuclei (Kewley et al. 2006, MNRAS 372:961).

    Nuclei are LINERs where `liner` (n,) is True, and Seyfert nuclei elsewhere. `halpha` and `scatter` are as
    in `star_forming_lines`.
    """
    n2 = np.where(liner, 0.08, -0.02) + 0.12 * scatter[:, 0]
    o3 = np.where(liner, 0.22, 0.80) + 0.15 * scatter[:, 1]
    s2 = np.where(liner, 0.02, -0.20) + 0.10 * scatter[:, 2]
    o1 = np.where(liner, -0.60, -0.90) + 0.12 * scatter[:, 3]
    o2 = np.where(liner, 0.70, 0.45) + 0.12 * scatter[:, 4]
    return spectrum_of_gas(halpha, n2, o3, s2, o1, o2, he2=np.where(liner, 0.03, 0.2), ne3=0.07)
