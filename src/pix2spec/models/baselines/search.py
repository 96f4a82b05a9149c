"""Exact search for nearest neighbours, by matrix products."""

import torch

__all__ = ["nearest"]

GROUP = 32  # items in a group
BLOCK = 128  # groups in a matrix product: their distances to a batch of queries fit in the CPU's cache
QUERIES = 256  # queries in a batch


def nearest(
    index: torch.Tensor, query: torch.Tensor, k: int, squares: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the k items of `index` nearest to each query in Euclidean distance, nearest first.

    The search sorts groups of items by the distance of their nearest member. The k nearest items lie in the
    first k groups, so that the search sorts only the items of these groups.

    Parameters
    ----------
    index : tensor (N, D)
        Items.
    query : tensor (B, D)
        Queries.
    k : int
        Number of items to find, at most N.
    squares : tensor (N,), optional
        Squared length of each item. Callers that search an index often can compute it once.

    Returns
    -------
    found : tensor (B, k), int64
        Positions of the items in `index`.
    distance : tensor (B, k)
        Their distances.
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
            # Squared distances minus |query|^2, which does not change the order.
            ranks = torch.addmm(squares[rows], q, index[rows].T, alpha=-2)
            best[:, start : start + BLOCK] = ranks.unflatten(1, (-1, GROUP)).amin(-1)
        chosen = best.topk(min(k, groups), largest=False).indices.sort(1).values
        members = (chosen[:, :, None] * GROUP + within).flatten(1)
        members = torch.cat([members, tail.expand(len(q), -1)], 1)
        ranks = squares[members] - 2 * torch.bmm(index[members], q[:, :, None])[..., 0]
        found.append(members.gather(1, ranks.topk(k, largest=False).indices))
        # Distances from differences: by rounding, a difference of squares is not zero for a duplicate.
        distance.append((index[found[-1]] - q[:, None]).square().sum(-1).sqrt())
    distance, order = torch.cat(distance).sort(stable=True, dim=1)
    return torch.cat(found).gather(1, order), distance
