"""Exact search for nearest neighbours, by matrix products."""

import torch

__all__ = ["nearest"]

GROUP = 32  # stored items that are first compared by the nearest of them
BLOCK = 128  # groups at a time: their distances to a batch of queries stay in a processor's cache
QUERIES = 256


def nearest(
    index: torch.Tensor, query: torch.Tensor, k: int, squares: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k items of `index` nearest to each query in Euclidean distance, nearest first.

    The k nearest lie in the k groups whose nearest members are nearest, so that only those are sorted.

    Parameters
    ----------
    index : tensor (N, D)
    query : tensor (B, D)
    k : int
        At most N.
    squares : tensor (N,), optional
        Squared length of each item, for those who search the same index often.

    Returns
    -------
    found : tensor (B, k), int64
    distance : tensor (B, k)
    """
    n, groups = len(index), len(index) // GROUP
    squares = (index**2).sum(1) if squares is None else squares
    tail = torch.arange(groups * GROUP, n, device=index.device)  # items of no group
    within = torch.arange(GROUP, device=index.device)
    found, distance = [], []
    for q in query.split(QUERIES):
        best = torch.empty(len(q), groups, dtype=q.dtype, device=q.device)
        for start in range(0, groups, BLOCK):
            rows = slice(start * GROUP, min(start + BLOCK, groups) * GROUP)
            # Squared distances, less |query|^2.
            ranks = torch.addmm(squares[rows], q, index[rows].T, alpha=-2)
            best[:, start : start + BLOCK] = ranks.unflatten(1, (-1, GROUP)).amin(-1)
        chosen = best.topk(min(k, groups), largest=False).indices.sort(1).values
        members = (chosen[:, :, None] * GROUP + within).flatten(1)
        members = torch.cat([members, tail.expand(len(q), -1)], 1)
        ranks = squares[members] - 2 * torch.bmm(index[members], q[:, :, None])[..., 0]
        found.append(members.gather(1, ranks.topk(k, largest=False).indices))
        # The differences themselves: a difference of squares cannot tell a duplicate from its like.
        distance.append((index[found[-1]] - q[:, None]).square().sum(-1).sqrt())
    distance, order = torch.cat(distance).sort(stable=True, dim=1)
    return torch.cat(found).gather(1, order), distance
