"""Where the repository and the real data beside it lie."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SHARED = Path(os.environ.get("PIX2SPEC_SHARED", ROOT.parent / "shared" / "data"))
