"""All proofs that a run goes on in the other place. README.md says what they need.

    python3 examples/torch/test.py [traps | sample | proofs]
"""

import sys
import tempfile
from pathlib import Path

from proofs import proofs
from runs import build
from sample import is_current
from traps import traps

if __name__ == "__main__":
    chosen = sys.argv[1:] or ["traps", "sample", "proofs"]
    build()
    with tempfile.TemporaryDirectory() as folder:
        held = [{"traps": traps, "sample": is_current, "proofs": proofs}[name](Path(folder)) for name in chosen]
    sys.exit(0 if all(held) else 1)
