"""Can a network tell generated spectra from observed ones?"""

import numpy as np
import torch
from torch import nn

from pix2spec.errors import InputError

__all__ = ["two_sample_accuracy"]

BATCH = 64
SHARES = (0.6, 0.15)  # of the galaxies: for training, and for the choice of the epoch


def _compress(spectra) -> torch.Tensor:
    """Spectra (N, L) divided by their median, at least the noise between neighbours, then arcsinh."""
    spectra = np.asarray(spectra, np.float32)
    noise = np.median(np.abs(np.diff(spectra)), axis=1, keepdims=True) / 0.954
    scale = np.maximum(np.median(spectra, axis=1, keepdims=True), noise)
    return torch.from_numpy(np.arcsinh(spectra / np.where(scale > 0, scale, 1)))


class _Classifier(nn.Module):
    """Convolutions over the spectrum and over what differs between neighbouring pixels."""

    def __init__(self, mean: float, deviation: float, detail: float):
        super().__init__()
        self.mean, self.deviation, self.detail = mean, deviation, detail
        layers, channels = [], 2
        for width, kernel, stride in ((16, 7, 2), (32, 5, 3), (48, 5, 2), (64, 5, 2), (64, 3, 2)):
            layers += [
                nn.Conv1d(channels, width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm1d(width),  # unlike a norm of each spectrum, it leaves their noise levels apart
                nn.LeakyReLU(0.1),
            ]
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * channels, 1))

    def forward(self, x):
        """Logits (n,) that spectra (n, L) are generated."""
        x = x[:, None]
        smooth = nn.functional.avg_pool1d(x, 5, 1, 2, count_include_pad=False)
        x = self.body(torch.cat([(x - self.mean) / self.deviation, (x - smooth) / self.detail], 1))
        return self.head(torch.cat([x.mean(-1), x.amax(-1)], 1))[:, 0]


def _split(groups: np.ndarray, rng) -> list[np.ndarray]:
    """Indices of training, validation and test objects; no group is in two of them."""
    _, number = np.unique(groups, return_inverse=True)
    place = rng.permutation(number.max() + 1)[number] / (number.max() + 1)
    first, second = SHARES[0], sum(SHARES)
    return [
        np.flatnonzero(part) for part in (place < first, (place >= first) & (place < second), place >= second)
    ]


@torch.no_grad()
def _correct(model, pair, index) -> np.ndarray:
    """Whether the real and the fake spectrum of each object is recognised, (2, n)."""
    model.eval()
    logits = [torch.cat([model(x[i]) for i in torch.from_numpy(index).split(256)]) for x in pair]
    return np.stack([(logits[0] < 0).numpy(), (logits[1] >= 0).numpy()])


def two_sample_accuracy(
    real: np.ndarray,
    fake: np.ndarray,
    seed: int = 0,
    epochs: int = 12,
    groups: np.ndarray | None = None,
) -> tuple[float, float]:
    """Accuracy of a classifier trained to tell real from fake: a two-sample test.

    Near 0.5, the classifier found no difference between the distributions (Lopez-Paz & Oquab 2017,
    arXiv:1610.06545). It is a small convolutional network; the epoch that does best on 15 % of the galaxies
    is scored on another 25 %.

    Parameters
    ----------
    real, fake : array (N, L)
        Observed spectra, and generated ones of the same objects with noise like the observed. Missing
        pixels must be filled alike in both. Each spectrum is divided by its own median.
    seed : int
        Of the split and the network.
    epochs : int
        Passes over the training galaxies.
    groups : array (N,), optional
        Galaxy of each pair; by default, each pair is one of its own. No galaxy is on two sides of the split.

    Returns
    -------
    accuracy : float
        Fraction of test spectra, real and fake in equal numbers, that are recognised.
    error : float
        Its standard error, from the scatter between galaxies.
    """
    real, fake = np.asarray(real), np.asarray(fake)
    if real.shape != fake.shape or real.ndim != 2:
        raise InputError("spectra", f"real {real.shape} and fake {fake.shape} are not pairs of spectra")
    groups = np.arange(len(real)) if groups is None else np.asarray(groups)
    rng = np.random.default_rng(seed)
    train, validation, test = _split(groups, rng)
    if not min(len(train), len(validation), len(test)):
        raise InputError("spectra", "there are too few galaxies to train and test on", "give at least ten")
    pair = [_compress(real), _compress(fake)]
    sample = torch.cat([x[train[:1000]] for x in pair])
    scales = sample.mean(), sample.std(), sample.diff().std()

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _Classifier(*(float(s) for s in scales))
        optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
        steps = -(-len(train) // (BATCH // 2))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, epochs=epochs, steps_per_epoch=steps)
        best, chosen = -1.0, None
        for _ in range(epochs):
            model.train()
            order = [torch.from_numpy(rng.permutation(train)).split(BATCH // 2) for _ in pair]
            for i, j in zip(*order):
                logits = model(torch.cat([pair[0][i], pair[1][j]]))
                label = torch.cat([torch.zeros(len(i)), torch.ones(len(j))])
                optimiser.zero_grad()
                nn.functional.binary_cross_entropy_with_logits(logits, label).backward()
                optimiser.step()
                schedule.step()
            accuracy = _correct(model, pair, validation).mean()
            if accuracy > best:
                best, chosen = accuracy, {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(chosen)
        correct = _correct(model, pair, test).mean(0)

    accuracy = correct.mean()
    _, number = np.unique(groups[test], return_inverse=True)
    by_galaxy = np.bincount(number, correct - accuracy)
    return float(accuracy), float(np.sqrt((by_galaxy**2).sum()) / len(test))
