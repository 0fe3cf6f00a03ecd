"""Search hyper-parameters of a forecaster with two workers, and look at the winner.

    python examples/sweep.py

It runs `titans-seq sweep run` in a temporary folder: a killed worker is replaced, and --resume would go on.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    command = [
        sys.executable, "-m", "titans_seq.cli", "sweep", "run", "--domain", "genomics", "--trials", "3",
        "--workers", "2",
        "--vary", "memory_depth=1:2", "learning_rate=1e-3:1e-2:log", "--set", "max_epochs=1", "kmer_size=4",
        "--study", "example", "--output", "best", "--tracking-uri", "off", "--json",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    best = result["best"]
    print(f"trial {best['trial']} of {result['complete'] + result['pruned']} is best: {best['varied']}")
    print(f"on the part that no trial has seen: mcc {result['test']['mcc']:.2f}")
    print("files:", ", ".join(sorted(path.name for path in (Path(folder) / "best").iterdir())))
