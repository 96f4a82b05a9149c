"""Exact search for nearest neighbours, by matrix products."""

import torch

__all__ = ["nearest"]

GROUP = 64  # stored items that are first compared by the nearest of them
WORK = 2**25  # distances held at a time


def nearest(index: torch.Tensor, query: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k items of `index` nearest to each query in Euclidean distance, nearest first.

    The k nearest lie in the k groups whose nearest members are nearest, so that only those are sorted.

    Parameters
    ----------
    index : tensor (N, D)
    query : tensor (B, D)
    k : int
        At most N.

    Returns
    -------
    found : tensor (B, k), int64
    distance : tensor (B, k)
    """
    n, whole = len(index), len(index) // GROUP * GROUP
    squares = (index**2).sum(1)
    tail = torch.arange(whole, n, device=index.device)
    within = torch.arange(GROUP, device=index.device)
    found, distance = [], []
    for q in query.split(max(1, WORK // n)):
        ranks = torch.addmm(squares, q, index.T, alpha=-2)  # squared distances, less |query|^2
        best = ranks[:, :whole].unflatten(1, (whole // GROUP, GROUP)).amin(-1)
        groups = best.topk(min(k, whole // GROUP), largest=False).indices
        members = (groups[:, :, None] * GROUP + within).flatten(1)
        members = torch.cat([members, tail.expand(len(q), -1)], 1)
        found.append(members.gather(1, ranks.gather(1, members).topk(k, largest=False).indices))
        # The differences themselves: a difference of squares cannot tell a duplicate from its like.
        distance.append((index[found[-1]] - q[:, None]).square().sum(-1).sqrt())
    distance, order = torch.cat(distance).sort(stable=True, dim=1)
    return torch.cat(found).gather(1, order), distance
