import pytest
import torch

from pix2spec.errors import InputError
from pix2spec.models.pixel.diffusion import make_scheduler, sample, training_loss

ROOT = torch.tensor([[0.8, 0.3, 0.0], [0.0, 0.5, 0.2], [0.0, 0.0, 0.3]])
COVARIANCE, MEAN = ROOT @ ROOT.T, torch.tensor([0.5, -0.3, 0.2])


def exact_denoiser(scheduler):
    """Noise predictor of Gaussian data: epsilon = (x - sqrt(a) E[x0 | x]) / sqrt(1 - a)."""

    def denoiser(x, t):
        a = scheduler.alphas_cumprod[t[0]]
        x = x[:, 0]
        gain = a.sqrt() * COVARIANCE @ torch.linalg.inv(a * COVARIANCE + (1 - a) * torch.eye(3))
        x0 = MEAN + (x - a.sqrt() * MEAN) @ gain.T
        return ((x - a.sqrt() * x0) / (1 - a).sqrt())[:, None]

    return denoiser


def seeds(n, start=0):
    return [torch.Generator().manual_seed(start + i) for i in range(n)]


@pytest.mark.parametrize(
    ("sampler", "steps", "tolerance"),
    [
        # Ancestral steps with the smaller of Ho et al.'s variances lose some: 4 % at 250 steps, ever less.
        pytest.param("ddpm", 250, 0.07, marks=pytest.mark.slow),
        ("ddpm", 120, 0.15),  # does not divide 250
        ("ddim", 100, 0.06),
        ("ddim", 60, 0.10),
        ("dpm++", 20, 0.04),
        ("dpm++", 25, 0.04),
    ],
)
def test_samples_of_a_gaussian_have_its_mean_and_covariance(sampler, steps, tolerance):
    scheduler = make_scheduler(sampler, clip=False)
    x = sample(exact_denoiser(scheduler), (6000, 1, 3), scheduler, steps, seeds(6000))[:, 0]
    # Standard errors at 6,000 samples: 0.01 in the mean, 1.8 % in a variance.
    assert (x.mean(0) - MEAN).abs().max() < 0.035
    error = (torch.cov(x.T) - COVARIANCE).abs().max() / COVARIANCE.diag().mean()
    assert error < tolerance


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_a_sample_depends_on_its_own_seed_alone(sampler):
    scheduler = make_scheduler(sampler, clip=False)
    denoiser = exact_denoiser(scheduler)
    together = sample(denoiser, (6, 1, 3), scheduler, 20, seeds(6))
    alone = torch.cat([sample(denoiser, (1, 1, 3), scheduler, 20, seeds(1, start=i)) for i in range(6)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_training_and_sampling_share_one_noise_schedule():
    training = make_scheduler("ddpm").alphas_cumprod
    for sampler in ("ddim", "dpm++"):
        assert torch.equal(make_scheduler(sampler).alphas_cumprod, training)
    # The cosine schedule of 250 steps: alpha-bar after step 125 (index 124) is one half but for the offset.
    assert training[124].item() == pytest.approx(0.4938, abs=1e-4)


def test_the_loss_counts_valid_pixels_only():
    scheduler = make_scheduler()
    x0, noise = torch.zeros(2, 1, 4), torch.zeros(2, 1, 4)
    mask = torch.tensor([[[1.0, 1, 0, 0]], [[1.0, 1, 1, 1]]])
    guess = torch.tensor([[[1.0, 1, 9, 9]], [[0.0, 0, 0, 2]]])
    loss = training_loss(lambda x, t: guess, x0, mask, torch.tensor([1, 2]), noise, scheduler)
    assert loss.item() == pytest.approx((1 + 1 + 4) / 6)


def test_the_exact_denoiser_beats_others_in_the_training_loss():
    scheduler = make_scheduler(clip=False)
    generator = torch.Generator().manual_seed(0)
    x0 = (MEAN + torch.randn(4000, 3, generator=generator) @ ROOT.T)[:, None]
    noise = torch.randn(x0.shape, generator=generator)
    t, mask = torch.full((4000,), 120), torch.ones_like(x0)
    exact = exact_denoiser(scheduler)
    best = training_loss(exact, x0, mask, t, noise, scheduler)
    assert best < training_loss(lambda x, t: 0.9 * exact(x, t), x0, mask, t, noise, scheduler)
    assert best < training_loss(lambda x, t: exact(x, t) + 0.1, x0, mask, t, noise, scheduler)


def test_unknown_samplers_are_refused():
    with pytest.raises(InputError, match="ddpm, ddim, dpm"):
        make_scheduler("euler")
