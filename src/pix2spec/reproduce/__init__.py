"""The paper's comparison, Table 1 and Figure 2 of arXiv:2211.05556, made anew and extended."""

from pix2spec.reproduce.compare import table1
from pix2spec.reproduce.figure import figure2

__all__ = ["figure2", "table1"]
