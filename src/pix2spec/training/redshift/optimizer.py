"""Muon for weight matrices and Adam for the other parameters, as one optimiser."""

from collections.abc import Iterable

import torch

__all__ = ["MuonAdam"]


class MuonAdam:
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon), and AdamW where it cannot be used.

    Muon moves weight matrices along orthogonal directions. At the same learning rate its steps are as large
    as those of AdamW (Liu et al. 2025, arXiv:2502.16982).

    Parameters
    ----------
    parameters : iterable of Parameter
        Matrices go to Muon, all others to AdamW.
    lr, weight_decay : float
        Of both; only matrices decay.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], lr: float, weight_decay: float):
        every = list(parameters)
        matrices, others = ([p for p in every if (p.ndim == 2) == wanted] for wanted in (True, False))
        self.muon = torch.optim.Muon(
            matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self.adam = torch.optim.AdamW(others, lr=lr, weight_decay=0.0)
        self.count = len(matrices)

    @property
    def param_groups(self) -> list[dict]:
        """Groups of both; parameters are numbered in this order."""
        return self.muon.param_groups + self.adam.param_groups

    def step(self) -> None:
        """One step of both."""
        self.muon.step()
        self.adam.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.muon.zero_grad()
        self.adam.zero_grad()

    def state_dict(self) -> dict:
        """States by the number of the parameter."""
        second = {self.count + number: state for number, state in self.adam.state_dict()["state"].items()}
        return {"state": self.muon.state_dict()["state"] | second}

    def load_state_dict(self, stored: dict) -> None:
        """Restore `state_dict`."""
        first = {n: state for n, state in stored["state"].items() if n < self.count}
        second = {n - self.count: state for n, state in stored["state"].items() if n >= self.count}
        self.muon.load_state_dict(self.muon.state_dict() | {"state": first})
        self.adam.load_state_dict(self.adam.state_dict() | {"state": second})
