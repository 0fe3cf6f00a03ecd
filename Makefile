# `make demo` and `make test` need nothing but Python 3.11 to 3.13 and a network the first time.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: demo test test-quick lint check format bench-genomics bench-harness bench-language bench-long-horizon bench-needle \
	bench-recall bench-recall-ablation bench-scaling bench-scan bench-score bench-speed bench-stability \
	bench-streaming bench-sweeps bench-training-memory bench-training-step bench-windows example-surprise example-sweeps

demo: $(STAMP)  ## forecast the embedded weather, compared and tracked, into runs/demo
	$(BIN)/titans-seq forecast --horizon 24 --max-epochs 3 --output runs/demo --force

test: $(STAMP)  ## run the tests, a process for each core
	$(BIN)/python -m pytest $(PARALLEL)

test-quick: $(STAMP)  ## run the tests that need no servers, killed processes or whole runs
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

lint: $(STAMP)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## everything that must hold

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-genomics: $(STAMP)  ## GUE promoters and Cohn enhancers beside k-mers, a CNN, attention and less, 3 seeds
	$(BIN)/titans-seq bench genomics --output benchmarks/results

bench-harness: $(STAMP)  ## a model of wikitext-2 through lm-evaluation-harness: wikitext, LAMBADA, PIQA
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,harness]'
	$(BIN)/titans-seq lm --data "$$($(BIN)/titans-seq data path wikitext2-train)" --carry --max-epochs 4 --output runs/wikitext2 --force
	$(BIN)/titans-seq bench harness --model runs/wikitext2/model --output benchmarks/results

bench-language: $(STAMP)  ## tinyshakespeare, every backbone beside attention, memory carried or not, 3 seeds
	$(BIN)/titans-seq bench language --output benchmarks/results

bench-needle: $(STAMP)  ## a needle in up to 16,384 bytes, every backbone beside windowed attention, 3 seeds
	$(BIN)/titans-seq bench needle --output benchmarks/results

bench-scan: $(STAMP)  ## five million letters of DNA through scan, with its peak memory
	$(BIN)/titans-seq bench scan --output benchmarks/results

bench-score: $(STAMP)  ## a million bytes through score, at constant memory
	$(BIN)/titans-seq bench score --output benchmarks/results

bench-long-horizon: $(STAMP)  ## ETTh1, 96 steps back and ahead, 3 seeds
	$(BIN)/titans-seq bench long-horizon --dataset ETTh1 --context 96 --horizon 96 --seeds 3 --output benchmarks/results

bench-recall: $(STAMP)  ## associative recall: memory, hybrid, sliding-window attention; 3 seeds
	$(BIN)/titans-seq bench recall --output benchmarks/results

bench-recall-ablation: $(STAMP)  ## associative recall without each part of the memory, 3 seeds
	$(BIN)/titans-seq bench recall --table ablation --tasks "ForgettingMQAR (64, 4 + 4)" --steps 600 \
		--output benchmarks/results

bench-scaling: $(STAMP)  ## cost per token from 2,048 to 131,072 tokens, and decoding token by token
	$(BIN)/titans-seq bench scaling --output benchmarks/results

bench-speed: $(STAMP)  ## tokens a second and peak memory beside attention, GRU, Mamba2 and titans-pytorch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,peers]'
	$(BIN)/titans-seq bench speed --output benchmarks/results

bench-stability: $(STAMP)  ## hostile sequences of 100,000 tokens, forward and backward
	$(BIN)/titans-seq bench stability --output benchmarks/results

bench-streaming: $(STAMP)  ## two million tokens through every variant
	$(BIN)/titans-seq bench streaming --output benchmarks/results

bench-sweeps: $(STAMP)  ## overhead of a trial, gain of a second worker, status of 5,000 trials
	$(BIN)/titans-seq bench sweeps --output benchmarks/results

bench-training-step: $(STAMP)  ## where the time of a training step goes
	$(BIN)/titans-seq bench training-step --output benchmarks/results

bench-training-memory: $(STAMP)  ## one training step on 32,768 tokens, plain and with recomputation
	$(BIN)/titans-seq bench training-memory --output benchmarks/results

bench-windows: $(STAMP)  ## windows per second beside TimeSeriesDataSet
	$(BIN)/titans-seq bench windows --output benchmarks/results

example-surprise: $(STAMP)  ## lines of Shakespeare planted in wikitext-2, read by the model of bench-harness
	head -c 1500 "$$($(BIN)/titans-seq data path tinyshakespeare)" > runs/passage.txt
	$(BIN)/titans-seq surprise --model runs/wikitext2/model --data "$$($(BIN)/titans-seq data path wikitext2-valid)" \
		--start 100000 --plant runs/passage.txt --output runs/surprise --force
	mkdir -p benchmarks/surprise
	cp runs/surprise/metrics.json runs/surprise/surprise.png benchmarks/surprise/

example-sweeps: $(STAMP)  ## one sweep per domain on the embedded data, into benchmarks/sweeps
	$(call sweep,timeseries,layers=1 max_epochs=1)
	$(call sweep,genomics,max_epochs=5)
	$(call sweep,language,layers=2 epoch_steps=60 max_epochs=3 carry=true)

define sweep
	$(BIN)/titans-seq sweep run --domain $(1) --set $(2) --trials 10 --workers 2 --study example-$(1) --resume --force \
		--storage sqlite:///runs/examples.db --output runs/example-$(1) --tracking-uri sqlite:///runs/examples-mlflow.db
	mkdir -p benchmarks/sweeps/$(1)
	cd runs/example-$(1) && cp metrics.json trials.csv history.png importances.png ../../benchmarks/sweeps/$(1)/

endef

$(STAMP): pyproject.toml constraints.txt $(wildcard titans_seq/memory/*.cpp titans_seq/memory/*.h)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/titans-seq kernel || echo "the memory will run without its C++ kernel"
	touch $(STAMP)
