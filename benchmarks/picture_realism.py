"""How real do simulated colour pictures look? A classifier, distributions, and a contact sheet.

    python benchmarks/picture_realism.py --data DIR [--number N] [--epochs E] [--out FOLDER]

DIR holds `gz2_images.npz`: colour pictures of real galaxies that Galaxy Zoo 2 made of SDSS. Simulated
galaxies are shown by the steady and by the unruly camera, through the same stretch, resampling and JPEG. Each
classifier is scored in 5-fold cross-validation on N real and N simulated pictures: 50 % is chance.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from realism.classify import EPOCHS, by_numbers, by_pixels
from realism.draw import CLASSES, simulated
from realism.measure import OF_GALAXY, numbers_of

SEED = 6  # the camera was tuned on the galaxies of seed 5
BINS = 3  # of brightness
SHEET = 10, 2  # pictures in a row, rows of each class


def real_pictures(data: Path, n: int) -> np.ndarray:
    """Real pictures (n, 3, 64, 64), channels g, r, i; classes in turn."""
    with np.load(data / "gz2_images.npz") as stored:
        pictures, labels = stored["image64"], stored["label"]
    rng = np.random.default_rng(SEED)
    rows = [rng.permutation(np.flatnonzero(labels == name))[: -(-n // len(CLASSES))] for name in CLASSES]
    return pictures[np.stack(rows, 1).ravel()[:n]][:, ::-1].astype(np.float32)


def sheet(pictures: np.ndarray) -> Image.Image:
    """Pictures of each class in rows, as red, green, blue of i, r, g."""
    columns, rows = SHEET
    lines = []
    for k in range(len(CLASSES)):
        shown = pictures[k :: len(CLASSES)][: columns * rows, ::-1].transpose(0, 2, 3, 1)
        shown = np.pad(shown.astype(np.uint8), ((0, 0), (1, 1), (1, 1), (0, 0)))
        lines += [np.concatenate(list(shown[i : i + columns]), 1) for i in range(0, len(shown), columns)]
    lines = [line for line in lines if line.shape == lines[0].shape]
    return Image.fromarray(np.concatenate(lines)).resize((columns * 132, len(lines) * 132))


def side_by_side(numbers: dict[str, dict[str, np.ndarray]]) -> None:
    """Print quartiles of what describes galaxies, at equal brightness in the picture."""
    edges = np.quantile(numbers["real"]["brightness"], np.linspace(0, 1, BINS + 1)[1:-1])
    for name in OF_GALAXY[1:]:
        print(f"\n{name}: 25, 50, 75 % from bright to faint")
        for source, values in numbers.items():
            place = np.digitize(values["brightness"], edges)
            cells = [np.nanpercentile(values[name][place == k], [25, 50, 75]) for k in range(BINS)]
            print(f"  {source:8s}" + "   ".join(f"{value:6.2f}" for value in np.ravel(cells)))


def run(data: Path, n: int, epochs: int, out: Path) -> None:
    """Print all tables, and write a contact sheet of each kind of pictures."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = {"real": real_pictures(data, n)} | simulated(n, SEED)
    numbers = {name: numbers_of(values) for name, values in pictures.items()}
    tables = {name: np.stack(list(values.values()), 1) for name, values in numbers.items()}
    for name, values in pictures.items():
        sheet(values).save(out / f"{name}.png")
        if name == "real":
            continue
        print(f"{name} camera, told from {n} real pictures")
        for how, found in (
            ("boosted trees on 27 numbers", by_numbers(tables["real"], tables[name])),
            ("convolutional network", by_pixels(pictures["real"], values, epochs=epochs)),
        ):
            print(f"  {how}: {100 * found[0]:.1f} +- {100 * found[1]:.1f} %", flush=True)
    side_by_side(numbers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the real pictures")
    parser.add_argument("--number", type=int, default=1200, help="pictures of each kind")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes of the network over the pictures")
    parser.add_argument("--out", type=Path, default=Path("runs/picture-realism"), help="folder of the sheets")
    arguments = parser.parse_args()
    run(arguments.data, arguments.number, arguments.epochs, arguments.out)
