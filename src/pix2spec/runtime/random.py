"""Random numbers for batches, independent of the number of processes that share a batch."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

__all__ = [
    "BatchRng",
    "candidate_generator",
    "normal_rows",
    "object_generator",
    "object_uniforms",
]


class BatchRng:
    """Random numbers for the objects of one batch that several processes share.

    Each process draws the numbers of the full batch and keeps those of its own objects. A number therefore
    depends only on the key and the object's position in the batch.

    Parameters
    ----------
    *key : int
        Integers that identify the batch, such as seed and step.
    share : (int, int)
        Rank of this process and number of processes. The process has the objects at the positions rank,
        rank + number, rank + 2 * number and so on.

    Attributes
    ----------
    generator : torch.Generator
        Its state is the same in all processes, so that they can draw common numbers.
    """

    def __init__(self, *key: int, share: tuple[int, int] = (0, 1)):
        state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
        self.generator = torch.Generator().manual_seed(int(state >> 1))
        self.share = share

    def normal(self, *shape: int, axis: int = 0, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Standard normal numbers of `shape`. The objects of this process are along `axis`."""
        return self._own_share(torch.randn, shape, axis, dtype=dtype)

    def uniform(self, *shape: int, axis: int = 0, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Uniform numbers in [0, 1) of `shape`. The objects of this process are along `axis`."""
        return self._own_share(torch.rand, shape, axis, dtype=dtype)

    def integers(self, high: int, *shape: int, axis: int = 0) -> torch.Tensor:
        """Integers (int64) from 0 to `high` - 1 of `shape`. The objects of this process are along `axis`."""
        return self._own_share(lambda full, **kwargs: torch.randint(high, full, **kwargs), shape, axis)

    def generators(self, n: int) -> list[torch.Generator]:
        """Random generators for `n` objects of this process."""
        return [torch.Generator().manual_seed(int(seed)) for seed in self.integers(2**62, n)]

    def first(self, n: int) -> int:
        """Number of objects that this process has among the first `n` objects of the batch."""
        return len(range(self.share[0], n, self.share[1]))

    def _own_share(self, draw, shape: tuple[int, ...], axis: int, **kwargs) -> torch.Tensor:
        """Draw numbers for the full batch and return those of this process's objects, of `shape`."""
        rank, number = self.share
        full = (*shape[:axis], shape[axis] * number, *shape[axis + 1 :])
        numbers = draw(full, generator=self.generator, **kwargs)
        return numbers[(slice(None),) * axis + (slice(rank, None, number),)]


def candidate_generator(seed: int, object_id: str, candidate: int) -> torch.Generator:
    """Random generator of one candidate spectrum. It depends on seed, object id and number alone."""
    return torch.Generator().manual_seed(_candidate_key(seed, object_id, candidate) >> 1)


def object_generator(seed: int, object_id: str, purpose: str) -> torch.Generator:
    """Random generator of an object for one purpose, such as the noise of its candidates, drawn in order."""
    return torch.Generator().manual_seed(_candidate_key(seed, f"{purpose}\0{object_id}", 0) >> 1)


def object_uniforms(seed: int, object_id: str, purpose: str, n: int) -> np.ndarray:
    """Uniform numbers (n,) in [0, 1) of an object for one purpose; the first do not depend on `n`."""
    return torch.rand(n, dtype=torch.float64, generator=object_generator(seed, object_id, purpose)).numpy()


def normal_rows(
    rows: int | Sequence[int], length: int, generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """Standard normal numbers (rows, `length` or a few more), which generators draw in turn.

    Each generator draws consecutive rows: as many as `rows` says for it, or an equal share. A row does not
    depend on later rows of its generator: torch draws normal numbers in blocks of 16, and rows hold whole
    blocks.
    """
    each = [rows // len(generators)] * len(generators) if isinstance(rows, int) else list(rows)
    numbers = torch.empty(sum(each), -(-length // 16) * 16)
    for part, generator in zip(numbers.split(each), generators):
        torch.randn(part.shape, generator=generator, out=part)
    return numbers


def _candidate_key(seed: int, object_id: str, candidate: int) -> int:
    key = hashlib.blake2b(f"{seed}\0{object_id}\0{candidate}".encode(), digest_size=8).digest()
    return int.from_bytes(key, "little")
