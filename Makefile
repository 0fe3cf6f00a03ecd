# `make demo` and `make test` need nothing but Python 3.11 to 3.13 and a network the first time.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: demo test test-quick test-lowest mutants lint docs docs-pictures check format bench-readme bench-recall-ablation bench-speed bench-harness \
	example-surprise what-matters

demo: $(STAMP)  ## forecast the embedded weather, compared and tracked, into runs/demo
	$(BIN)/titans-seq forecast --horizon 24 --max-epochs 3 --output runs/demo --force

test: $(STAMP)  ## run the tests, a process for each core
	$(BIN)/python -m pytest $(PARALLEL)

test-quick: $(STAMP)  ## run the tests that need no servers, killed processes or whole runs
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-lowest:  ## run the quick tests with the lowest versions that pyproject.toml allows, in an environment of its own
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --editable '.[dev]'
	.venv-lowest/bin/python -m pytest $(PARALLEL) -m "not slow"

mutants: $(STAMP)  ## change one thing at a time in states and saved models, and see whether a test notices
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'mutmut>=3.8'
	$(BIN)/mutmut run

lint: $(STAMP)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)  ## build the manual into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

docs-pictures: $(STAMP)  ## draw the pictures of the manual anew
	$(BIN)/python docs/pictures/draw.py

check: lint docs test  ## everything that must hold

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-%: $(STAMP)  ## a benchmark by its name: `make bench-speed`; `python -m benchmarks --help` lists them
	$(BIN)/python -m benchmarks $* --output benchmarks/results

bench-readme: $(STAMP)  ## write benchmarks/README.md anew from the results
	$(BIN)/python -m benchmarks readme

bench-recall-ablation: $(STAMP)  ## associative recall without each part of the memory, 3 seeds
	$(BIN)/python -m benchmarks recall --table ablation --tasks "ForgettingMQAR (64, 4 + 4)" --steps 600 \
		--output benchmarks/results

bench-speed: $(STAMP)  ## tokens a second and peak memory beside attention, GRU, Mamba2 and titans-pytorch
	$(call extra,peers)
	$(BIN)/python -m benchmarks speed --output benchmarks/results

bench-harness: $(STAMP)  ## a model of wikitext-2 through lm-evaluation-harness: wikitext, LAMBADA, PIQA
	$(call extra,harness)
	$(BIN)/titans-seq lm --data "$$($(BIN)/titans-seq data path wikitext2-train)" --carry --max-epochs 4 --output runs/wikitext2 --force
	$(BIN)/python -m benchmarks harness --model runs/wikitext2/model --output benchmarks/results

extra = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,$(1)]'

example-surprise: $(STAMP)  ## lines of Shakespeare planted in wikitext-2, read by the model of bench-harness
	head -c 1500 "$$($(BIN)/titans-seq data path tinyshakespeare)" > runs/passage.txt
	$(BIN)/titans-seq surprise --model runs/wikitext2/model --data "$$($(BIN)/titans-seq data path wikitext2-valid)" \
		--start 100000 --plant runs/passage.txt --output runs/surprise --force
	mkdir -p benchmarks/results/surprise
	cp runs/surprise/metrics.json runs/surprise/surprise.png benchmarks/results/surprise/

what-matters: $(STAMP)  ## the three sweeps of docs/what-matters.md, two hours on two cores, into runs/what-matters-DOMAIN
	$(call sweep,genomics,$$($(BIN)/titans-seq data path gue-core-promoter-all),max_epochs=3 max_minutes=2.5,4$(comma)8$(comma)16$(comma)32,16$(comma)32$(comma)64,1e-3:1e-2)
	$(call sweep,timeseries,$$($(BIN)/titans-seq data path ETTm1),max_epochs=2 max_minutes=1.5,4$(comma)8$(comma)16$(comma)32,16$(comma)32$(comma)64,5e-4:8e-3,--horizon 96)
	$(call sweep,language,$$($(BIN)/titans-seq data path wikitext2-train),layers=2 epoch_steps=60 max_epochs=3 max_minutes=1.5 validation_fraction=0.005,8$(comma)16$(comma)32$(comma)64,64$(comma)96$(comma)128,1e-3:1e-2)

comma := ,
define sweep
	$(BIN)/titans-seq sweep run --domain $(1) --data $(2) --set $(3) $(7) --trials 60 --workers 2 --pruner NopPruner \
		--vary variant=lmm,mac,mag,mal memory_depth=1:3 momentum=true,false forget=true,false initial_step=0.003:0.3:log \
		max_step=0.35:1.0 chunk_size=$(4) dim=$(5) learning_rate=$(6):log --resume --force --tracking-uri off \
		--study what-matters-$(1) --storage sqlite:///runs/what-matters.db --output runs/what-matters-$(1)

endef

$(STAMP): pyproject.toml constraints.txt $(wildcard titans_seq/kernel/*.cpp titans_seq/kernel/*.h)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/titans-seq kernel || echo "the memory will run without its C++ kernel"
	touch $(STAMP)
