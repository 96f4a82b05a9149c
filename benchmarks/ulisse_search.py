"""Time the search of ULISSE, and count how many true neighbours it finds with fewer components.

    python benchmarks/ulisse_search.py [--items 500000] [--components 128] [--data SIM_TRAIN]

The search among random features with a decaying spectrum is timed. `--data` names a folder of simulated
galaxies; then the neighbours of images in all features of the network are compared with those in fewer.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from pix2spec.data.dataset import Dataset
from pix2spec.models.baselines.pretrained import PretrainedFeatures
from pix2spec.models.baselines.search import nearest
from pix2spec.models.presets import load_preset
from pix2spec.runtime.progress import progress_bar

K, QUERIES = 25, 256


def timing(items: int, components: int, queries: int) -> None:
    rng = torch.Generator().manual_seed(0)
    decay = torch.arange(1, components + 1) ** -0.5
    index = torch.randn(items, components, generator=rng) * decay
    query = torch.randn(queries, components, generator=rng) * decay
    squares = (index**2).sum(1)  # once for all searches, as the method does
    nearest(index, query[:8], K, squares)  # warm
    began, cpu = time.perf_counter(), time.process_time()
    for some in query.split(QUERIES):  # as `generate` asks
        nearest(index, some, K, squares)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    per = 1000 / queries
    text = f"{wall * per:.2f} s of wall time, {cpu * per:.2f} s of processor time"
    print(f"1,000 searches among {items:,} x {components}: {text} ({torch.get_num_threads()} threads)")


def agreement(data: Path, n: int, size: int | None, numbers: list[int]) -> None:
    section = load_preset("ulisse").network.model_copy(update={"size": size})
    features, dataset = PretrainedFeatures(section), Dataset(data)
    found = features.open()
    print(f"{n} images of {data}, {found.arch} ({found.weights}), pictures of {features.size} pixels")
    parts = []
    for start in progress_bar(range(0, n, QUERIES), "features", True, -(-n // QUERIES)):
        batch = dataset.batch(np.arange(start, min(start + QUERIES, n)), ["image"])
        parts.append(features.measure(batch, dataset.info.image_kind))
    x = F.normalize(torch.from_numpy(np.concatenate(parts)))
    stored, query = x[n // 4 :], x[: n // 4]
    exact, _ = nearest(stored, query, K)
    centre = stored.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(stored.T))
    for components in numbers:
        axes = vectors[:, -components:]
        near, _ = nearest((stored - centre) @ axes, (query - centre) @ axes, K)
        shared = [len(set(a) & set(b)) / K for a, b in zip(near.tolist(), exact.tolist())]
        first = (near[:, 0] == exact[:, 0]).float().mean()
        kept = values[-components:].sum() / values.sum()
        print(
            f"  {components:4} components, {100 * kept:.1f} % of the variance: "
            f"{100 * np.mean(shared):.1f} % of the {K} nearest agree, {100 * first:.1f} % of the nearest"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--components", type=int, nargs="+", default=[128])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--data", type=Path, help="simulated pairs, for the agreement")
    parser.add_argument("--images", type=int, default=4096, help="of them")
    parser.add_argument("--size", type=int, help="pixels of pictures; as the network wants by default")
    args = parser.parse_args()
    for components in args.components:
        timing(args.items, components, args.queries)
    if args.data:
        agreement(args.data, args.images, args.size, args.components)


if __name__ == "__main__":
    main()
