"""How often classifiers tell simulated from real pictures, in 5-fold cross-validation."""

import numpy as np
import torch
from torch import nn

FOLDS = 5
EPOCHS, BATCH, RATE = 8, 64, 3e-3
WIDTHS = 16, 32, 48, 64


def accuracy(by_fold) -> tuple[float, float]:
    """Mean and standard error of the share of right answers, an array (n,) for each fold."""
    right = np.concatenate(by_fold)
    return float(right.mean()), float(right.std() / np.sqrt(len(right)))


def folds(n: int, seed: int) -> np.ndarray:
    """Fold (n,) of each picture."""
    return np.random.default_rng(seed).permutation(n) % FOLDS


def by_numbers(real: np.ndarray, made: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Boosted trees on numbers (n, K) of pictures."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    x, y = np.concatenate([real, made]), np.repeat([0, 1], [len(real), len(made)])
    fold, right = folds(len(x), seed), []
    for k in range(FOLDS):
        trees = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, random_state=seed)
        trees.fit(x[fold != k], y[fold != k])
        right.append(trees.predict(x[fold == k]) == y[fold == k])
    return accuracy(right)


def network() -> nn.Sequential:
    """A small convolutional network that sees all pixels."""
    layers: list[nn.Module] = []
    channels = 3
    for width in WIDTHS:
        layers += [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, 1)
    )


def by_pixels(real: np.ndarray, made: np.ndarray, seed: int = 0, epochs: int = EPOCHS) -> tuple[float, float]:
    """A convolutional network on pictures (n, 3, 64, 64), turned and mirrored at random."""
    x = torch.from_numpy(np.concatenate([real, made]).astype(np.float32))
    x = torch.sqrt(x / 255) * 2 - 0.5  # faint pixels matter as much as bright ones
    y = torch.from_numpy(np.repeat([0.0, 1.0], [len(real), len(made)]).astype(np.float32))
    fold = torch.from_numpy(folds(len(x), seed))
    right = [_right(x, y, fold == k, seed + k, epochs) for k in range(FOLDS)]
    return accuracy(right)


def _right(x: torch.Tensor, y: torch.Tensor, held: torch.Tensor, seed: int, epochs: int) -> np.ndarray:
    torch.manual_seed(seed)
    model, train = network(), torch.nonzero(~held)[:, 0]
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    steps = epochs * -(-len(train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(epochs):
        for rows in train[torch.randperm(len(train))].split(BATCH):
            shown = torch.rot90(x[rows], int(torch.randint(4, ())), (2, 3))
            shown = shown.flip(3) if torch.rand(()) < 0.5 else shown
            loss = nn.functional.binary_cross_entropy_with_logits(model(shown)[:, 0], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        answer = torch.cat([model(part)[:, 0] for part in x[held].split(256)])
    return ((answer > 0) == (y[held] > 0.5)).numpy()
