"""Spectra a second of pix2spec's networks (``decode_ours.py IN OUT basis|paper``); the input does not matter.

``basis`` decodes vectors of the default model at their redshifts. ``paper`` makes spectra with the preset
`paper-xattn`, whose weights are random, because its time does not depend on them: some DDPM steps are timed
and scaled to 250.
"""

import sys

import numpy as np
import torch

from common import Clock, peak_bytes, write
from pix2spec import Galaxy
from pix2spec.core.survey import SDSS
from pix2spec.data.schema import DEFAULT_GRID
from pix2spec.generate.load import load
from pix2spec.models.generator import Settings
from pix2spec.models.pixel.generator import PixelGenerator
from pix2spec.models.presets import load_preset
from pix2spec.models.registry import build_model
from pix2spec.models.storage import find_model, model_id

SPECTRA, BATCHES = 256, 20
CANDIDATES, STEPS, TIMED = 25, 250, 2


def basis(clock: Clock) -> int:
    """Decode batches of vectors: their number."""
    network = load("default").model.networks[0]
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(SPECTRA, network.dimension, generator=rng).clamp(-2, 2)
    vectors, r = network.normal.inverse(x), torch.ones(SPECTRA)
    zeta = torch.log10(1 + torch.rand(SPECTRA, generator=rng) * 0.3)
    with torch.no_grad():
        network.spectra(vectors, zeta, r)
        clock("answer", lambda: [network.spectra(vectors, zeta, r) for _ in range(BATCHES)])
    return SPECTRA * BATCHES


def paper(clock: Clock) -> int:
    """Make spectra of one galaxy: their number."""
    generator = PixelGenerator(
        build_model(load_preset("paper-xattn"), DEFAULT_GRID, SDSS), {}, {}, "cpu", None
    )
    image = np.random.default_rng(0).random((len(SDSS.image_bands), 64, 64)).astype(np.float32)
    galaxy = Galaxy("one", image=image)
    for name, steps in (("one", 1), ("more", 1 + TIMED)):
        settings = Settings(n=CANDIDATES, select="all", sampler="ddpm", steps=steps, use=("image",))
        clock(name, generator.generate_batch, [galaxy], "linear", settings)
    for seconds in (clock.wall, clock.processor):
        seconds["answer"] = seconds["one"] + (STEPS - 1) * (seconds["more"] - seconds["one"]) / TIMED
    return CANDIDATES


VERSIONS = {"basis": lambda: model_id(find_model("default")), "paper": lambda: "preset of this version"}

if __name__ == "__main__":
    torch.set_num_threads(1)
    clock = Clock()
    made = {"basis": basis, "paper": paper}[sys.argv[3]](clock)
    cost = {"wall": clock.wall, "processor": clock.processor, "peak_bytes": peak_bytes()}
    write(sys.argv[2], {}, cost | {"spectra": made, "version": VERSIONS[sys.argv[3]]()})
