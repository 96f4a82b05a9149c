"""Random numbers of a batch, the same however many processes share it."""

import hashlib

import numpy as np
import torch

__all__ = [
    "BatchRng",
    "candidate_generator",
]


class BatchRng:
    """Random numbers for the objects of one batch, of which each process has every so many-th.

    They are drawn for the whole batch, and a process takes those of its own objects: a number belongs to
    (key, position in the batch). `generator` is in the same state on all processes, for what they share.

    Parameters
    ----------
    *key : int
        What the numbers are for, such as seed and step.
    share : (int, int)
        Rank of this process and their number: it has the positions rank, rank + number, ...
    """

    def __init__(self, *key: int, share: tuple[int, int] = (0, 1)):
        state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
        self.generator = torch.Generator().manual_seed(int(state >> 1))
        self.share = share

    def normal(self, *shape: int, axis: int = 0, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Standard normal numbers of `shape`, whose `axis` is that of this process's objects."""
        return self._mine(torch.randn, shape, axis, dtype=dtype)

    def uniform(self, *shape: int, axis: int = 0, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Uniform numbers in [0, 1)."""
        return self._mine(torch.rand, shape, axis, dtype=dtype)

    def integers(self, high: int, *shape: int, axis: int = 0) -> torch.Tensor:
        """Integers from 0 to `high` - 1, int64."""
        return self._mine(lambda whole, **kwargs: torch.randint(high, whole, **kwargs), shape, axis)

    def generators(self, n: int) -> list[torch.Generator]:
        """A generator for each of `n` objects of this process."""
        return [torch.Generator().manual_seed(int(seed)) for seed in self.integers(2**62, n)]

    def first(self, n: int) -> int:
        """How many of the first `n` objects of the batch this process has."""
        return len(range(self.share[0], n, self.share[1]))

    def _mine(self, draw, shape: tuple[int, ...], axis: int, **kwargs) -> torch.Tensor:
        rank, number = self.share
        whole = (*shape[:axis], shape[axis] * number, *shape[axis + 1 :])
        numbers = draw(whole, generator=self.generator, **kwargs)
        return numbers[(slice(None),) * axis + (slice(rank, None, number),)]


def candidate_generator(seed: int, object_id: str, candidate: int) -> torch.Generator:
    """Random numbers of one candidate: a pure function of (seed, object id, candidate)."""
    key = hashlib.blake2b(f"{seed}\0{object_id}\0{candidate}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
