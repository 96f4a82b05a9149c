"""The programs under test, and what others published of programs that are not run here."""

from peering.running import Peer

TRAINED = "main sample and SDSS"
STAGE = "RAIL's stage, its defaults"
TEMPLATES = ("eazy", "kcorrect", "speclite")

REDSHIFTS = (
    Peer("pix2spec, redshifts", "ours.py", (), "all surveys", "the released redshift model", ("redshifts",)),
    Peer(
        "pix2spec, spectra", "ours.py", (), "all surveys",
        "the whole default model: 25 candidate spectra a galaxy, whose redshifts are scored", ("spectra",),
    ),
    Peer(
        "25 neighbours", "neighbours.py", ("scikit-learn",), TRAINED,
        "scikit-learn; in four colours and r, scaled to unit variance",
    ),
    Peer("RAIL KNearNeigh", "rail_stage.py", ("pz-rail-sklearn",), TRAINED, STAGE, ("knn",)),
    Peer("RAIL FlexZBoost", "rail_stage.py", ("pz-rail-flexzboost",), TRAINED, STAGE, ("flexzboost",)),
    Peer("RAIL CMNN", "rail_stage.py", ("pz-rail-cmnn",), TRAINED, STAGE, ("cmnn",)),
    Peer("RAIL GPz", "rail_stage.py", ("pz-rail-gpz-v1",), TRAINED, STAGE, ("gpz",)),
    Peer(
        "pzflow", "fit_pzflow.py", ("pzflow",), TRAINED,
        "a flow of z and ugriz with its default layers, 100 epochs at most",
    ),
    Peer(
        "eazy", "fit_eazy.py", TEMPLATES, "nothing",
        "kcorrect's 5 templates with an error of 2 %, no prior", ("none",),
    ),
    Peer(
        "eazy, prior", "fit_eazy.py", TEMPLATES, f"N(z given r) of {TRAINED}", "the same with a prior",
        ("training",),
    ),
    Peer(
        "LePHARE", "fit_lephare.py", ("lephare", "kcorrect", "speclite"), "nothing",
        "35 mixtures of kcorrect's templates, 0.05 mag added to errors, no prior",
    ),
)  # fmt: skip

SPECTRA = (
    Peer(
        "pix2spec, basis", "decode_ours.py", (), "",
        "vectors of the default model become spectra of 3,598 pixels", ("basis",),
    ),
    Peer(
        "spender", "decode_spender.py", ("spender",), "",
        "latent vectors become SDSS spectra of 3,921 pixels; random weights", borrows=True,
    ),
    Peer(
        "paper-xattn", "decode_ours.py", (), "",
        "the paper's model: 250 DDPM steps, 2 of them timed; random weights", ("paper",),
    ),
)  # fmt: skip

PUBLISHED = (  # program, time a galaxy, source
    (
        "Bayesian fits of stellar populations by Monte Carlo sampling", "more than 10 to 100 CPU hours",
        "Hahn & Melchior (2022), abstract of arXiv:2203.07391",
    ),
    (
        "Prospector", "0.004 to 0.05 s a likelihood; hours or days a fit are not uncommon",
        "https://prospect.readthedocs.io/en/stable/faq.html",
    ),
    (
        "nested sampling of an 8-parameter model, 14 bands",
        "about 1,700 times as long as a network's 18 galaxies a CPU second: some 90 s",
        "Harvey et al. (2025), abstract of arXiv:2511.10640; the seconds follow from its two numbers",
    ),
)  # fmt: skip
