"""Reproduce and extend the paper's comparison: Table 1 and Figure 2 of arXiv:2211.05556."""
