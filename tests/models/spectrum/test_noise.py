"""Noise of two surveys, of which the brightness of a spectrum chooses one."""

import torch

from pix2spec.models.latent.noise import NoiseModel
from pix2spec.models.spectrum.noise import SurveyNoise

L = 50


def white(sd):
    """A noise model of white noise alone."""
    model = NoiseModel(L, factors=2, bank=4, spikes=1)
    model.law[1:] = 0
    model.law[0] = sd**2
    model.bank[:, 2] = 1  # the level of the white noise
    return model


def generators(n, seed=0):
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def test_bright_spectra_have_the_one_noise_and_faint_ones_the_other():
    noise = SurveyNoise.of(white(1.0), white(9.0), change=10.0, scale=0.05)
    for flux, sd in ((20.0, 1.0), (5.0, 9.0)):
        drawn = noise.sample(torch.full((200, L), flux), generators(200))
        assert abs(float(drawn.std()) / sd - 1) < 0.03


def test_at_the_change_either_is_drawn_as_often():
    noise = SurveyNoise.of(white(0.1), white(100.0), change=10.0, scale=0.3)
    drawn = noise.sample(torch.full((2000, L), 10.0), generators(2000))
    assert abs(float((drawn.std(1) < 1).float().mean()) - 0.5) < 0.04


def test_one_model_alone_serves_all_spectra():
    drawn = SurveyNoise.of(white(1.0)).sample(torch.full((50, L), 1e-9), generators(50))
    assert abs(float(drawn.std()) - 1) < 0.05


def test_a_spectrum_has_the_same_noise_alone_and_among_others():
    noise = SurveyNoise.of(white(1.0), white(9.0), change=10.0, scale=1.0)
    clean = torch.linspace(2, 50, 12)[:, None].expand(12, L).contiguous()
    together = noise.sample(clean, generators(12))
    alone = torch.cat([noise.sample(clean[[k]], generators(1, seed=k)) for k in range(12)])
    torch.testing.assert_close(together, alone)
