"""Track a model, serve it over HTTP with MLflow, and ask it.

python examples/serve.py
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from titans_seq import TitansDNAClassifier
from titans_seq.domains.genomics import load_chloroplast
from titans_seq.pipelines.log import log_model
from titans_seq.tracking import track

sequences, labels = load_chloroplast()
model = TitansDNAClassifier(max_epochs=1, kmer_size=4, random_state=0).fit(sequences, labels)

with tempfile.TemporaryDirectory() as folder:
    store = f"sqlite:///{Path(folder) / 'mlflow.db'}"
    os.chdir(folder)
    with track(store, "example", "coding or not", model.get_params()) as run:
        uri = log_model(run, model.save("model"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where uvicorn is
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "--port", str(port)],
        env=os.environ | {"MLFLOW_TRACKING_URI": store, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        question = json.dumps({"dataframe_records": [{"sequence": sequence} for sequence in sequences[:3]]})
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", question.encode(), {"Content-Type": "application/json"}
        )
        for _ in range(120):
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    print(json.dumps(json.load(response)["predictions"], indent=1))
                break
            except OSError:
                time.sleep(0.5)
        else:
            raise SystemExit("the server did not answer")
    finally:
        server.terminate()
        server.wait()
    os.chdir("/")
