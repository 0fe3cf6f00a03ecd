"""Stream through a memory without end: whole, in pieces, or from a file, the numbers are the same.

python examples/stream_memory.py
"""

import tempfile
from pathlib import Path

import torch

import titans_seq as ts

torch.manual_seed(0)
config = ts.BackboneConfig(variant="mag", dim=64, layers=2, heads=4, window=32, chunk_size=16)
network = ts.TitansBackbone(config).eval()
x = torch.randn(1, 5_000, 64)

with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
    whole, _ = network(x)

    state, parts = None, []
    for piece in x.split(700, dim=1):
        y, state = network(piece, state)
        parts.append(y)
    print(f"largest difference between whole and pieces: {(torch.cat(parts, 1) - whole).abs().max():.1e}")
    print(f"the state has {state.nbytes / 1024:.0f} KiB, after 5,000 tokens as after 50")

    path = Path(folder) / "state.safetensors"
    ts.save_state(state, path, config)
    y, _ = network(x[:, :10], ts.load_state(path, config))
    again, _ = network(x[:, :10], state)
    print(f"from the file on: {(y - again).abs().max():.1e}")
