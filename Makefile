# `make help` says what there is. Needs make, bash and Python 3.11 or newer; everything else is set up when it is first wanted.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON  ?= python3
BIN     := .venv/bin
# more than cores: many tests wait for a browser or a process
WORKERS ?= 4
# options of `jingles generate`, e.g. make jingle JINGLE='--midi tune.mid --instrument violin'; without any: the built-in demo curves
JINGLE  ?=
# a folder or a .tar.gz of MIDI files that the shipped models are trained on; without one, on the built-in generator's melodies
MIDI    ?=
BENCH   ?=
# how long `make gpu-train` may take
MINUTES ?= 8
# of the machine that `make gpu-pack` packs for: a file with the names of its packages, and its version of Python
HAVE    ?=
GPU_PYTHON ?= 3.12
# General MIDI programs that the spectral codec's decoder is trained with: half piano, violin and trumpet, half others
PROGRAMS := 0,0,0,0,0,0,40,40,40,40,40,40,56,56,56,56,56,56,6,11,12,16,19,24,42,45,46,48,52,60,65,68,71,73,75
# General MIDI programs that the model `sound` hears
SOUND_PROGRAMS := 0,6,11,12,16,19,24,40,42,45,46,48,52,56,60,65,68,71,73,75
# JupyterLab's defaults here, which a user's own settings go before: drawings are saved in the notebook
LABCONFIG := $(CURDIR)/nbs/explore/.jupyter
STARTED := $(shell date +%s)

# PyTorch's threads would otherwise spin while they wait, and slow down whatever else runs; 0.2 ms of it make sampling 1.8 times as fast
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 20000
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK = 1

PACKAGING := settings.ini setup.py pyproject.toml constraints.txt
INSTALL   := $(BIN)/pip install --progress-bar off -c constraints.txt -e
# packages of which only the weights are used: what they ask for would break the rest
EMBEDDING := $(shell sed -n 's/^embedding_packages = //p' settings.ini)

.PHONY: help venv dev jingle system test check nbtest pytest gpu-check lab app bench docs readme check-readme export weights gpu-train gpu-font gpu-pack wheel clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- set-up: each stamp is older than the files that decide what is installed, or nothing is done

$(BIN)/pip:
	@PYTHON=$(PYTHON) bash .ci/system venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv .venv

$(BIN)/.stamp-base: $(PACKAGING) | $(BIN)/pip
	@echo "installing into .venv what a jingle needs (a minute or two)"
	@$(INSTALL) . | grep --line-buffered -v 'already satisfied' || [ $${PIPESTATUS[0]} = 0 ]
	@touch $@

$(BIN)/.stamp-lab: $(PACKAGING) | $(BIN)/pip
	@echo "installing into .venv what the notebooks need (a minute or two)"
	@$(INSTALL) '.[lab]' | grep --line-buffered -v 'already satisfied' || [ $${PIPESTATUS[0]} = 0 ]
	@touch $(BIN)/.stamp-base $@

$(BIN)/.stamp-dev: $(PACKAGING) | $(BIN)/pip
	@echo "installing into .venv what training and the tests need (a few minutes)"
	@$(INSTALL) '.[dev]' | grep --line-buffered -v 'already satisfied' || [ $${PIPESTATUS[0]} = 0 ]
	@$(BIN)/pip install --progress-bar off --no-deps -c constraints.txt $(EMBEDDING) || echo "without these packages no Frechet audio distance is measured; the rest works"
	@touch $(BIN)/.stamp-base $(BIN)/.stamp-lab $@

venv: $(BIN)/.stamp-base  ## .venv with what making a jingle needs; nothing is done when it is up to date

dev: $(BIN)/.stamp-dev  ## .venv with everything: training, notebooks, tests

system:  ## the system packages that the tests need (FluidSynth, a SoundFont, SLURM, Chromium), where missing and allowed
	@PYTHON=$(PYTHON) bash .ci/system venv fluidsynth soundfont slurm chromium

# --- use

jingle: $(BIN)/.stamp-base  ## out/jingle.wav and out/jingle.png from the shipped weights (JINGLE='...': options of `jingles generate`)
	@start=$$(date +%s); $(BIN)/jingles generate --force --out out/jingle.wav $(JINGLE); end=$$(date +%s); \
	echo "out/jingle.wav is the sound, out/jingle.png its control curves above its mel spectrogram:" \
	    "made in $$((end - start)) s, $$((end - $(STARTED))) s with set-up"

lab: $(BIN)/.stamp-lab  ## JupyterLab at the notebooks to explore with
	JUPYTER_CONFIG_PATH="$(LABCONFIG)$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" $(BIN)/jupyter lab $$([ "$$(id -u)" != 0 ] || echo --allow-root) nbs/explore

app: $(BIN)/.stamp-lab  ## the studio as a page of its own in the browser, without notebooks, with limits for visitors
	$(BIN)/voila nbs/explore/app.ipynb --MappingKernelManager.cull_idle_timeout=600 --MappingKernelManager.cull_interval=60

# --- tests

# the slowest first, one test file or chapter after the other to whichever process is free
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder --durations=30

test: system dev check  ## everything: set-up, export check, chapters and pytest together
	$(PYTEST)

check: dev  ## modules are what the notebooks export, notebooks are clean, README.md is up to date
	@$(BIN)/python tests/export.py
	@$(BIN)/python tests/readme.py --check

nbtest: dev  ## run the chapters; what they print is what is saved in them (MEND=1: save it, MEND=all: also numbers and pictures)
	$(PYTEST) -m chapter

pytest: dev  ## run the rest of tests/; says which tests took longest
	$(PYTEST) -m 'not chapter'

gpu-check: dev  ## on a machine with a CUDA GPU: does it do what the CPU does? Under 3 minutes
	@$(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available() and "gpu-check: PyTorch sees no CUDA GPU here")'
	OMP_NUM_THREADS=1 $(BIN)/pytest -m cuda -n auto --maxprocesses 8 -rA --durations=10 tests/test_gpu.py

bench: dev  ## measure speed (BENCH='name ...': only those)
	@$(BIN)/python tests/bench --json out/bench.json $(BENCH)

# --- write

export: dev  ## notebooks -> jingles/*.py, and clean the notebooks
	@$(BIN)/python tests/export.py --write

readme: dev  ## nbs/index.ipynb -> README.md and nbs/images/readme_*
	@$(BIN)/python tests/readme.py

docs: dev  ## the book as a site in _docs, from what is saved in the notebooks: open _docs/index.html, no server is needed
	@$(BIN)/python tests/docs.py

check-readme: dev  ## is README.md up to date?
	@$(BIN)/python tests/readme.py --check

weights: system dev  ## train the shipped models again, from nothing: hours (MIDI=folder of MIDI files)
	$(BIN)/jingles export data/audio --format audio --train 2400 --valid 300 --seed 1 $(if $(MIDI),--midi '$(MIDI)')
	$(BIN)/jingles train-codec --data data/audio --out runs/codec
	cp runs/codec/model.safetensors runs/codec/config.json jingles/weights/codec/
	$(BIN)/jingles export data/codec --train 5000 --valid 400 --seed 2 $(if $(MIDI),--midi '$(MIDI)')
	$(BIN)/jingles train-codes --data data/codec --out jingles/weights/codec
	$(BIN)/jingles train-codec --data data/audio --format spectral --steps 5500 --lr 1.5e-3 --out runs/spectral
	$(BIN)/jingles export data/gm --format audio --playing expressive --invented 0.35 --train 2400 --valid 60 --seed 1 --programs $(PROGRAMS) $(if $(MIDI),--midi '$(MIDI)')
	$(BIN)/jingles train-codec --data data/gm --format spectral --tune-decoder runs/spectral --steps 2400 --lr 4e-4 --out runs/tuned-start
	$(BIN)/jingles export data/gm-more --format audio --playing expressive --invented 0.35 --train 3600 --valid 60 --seed 11 --programs $(PROGRAMS) $(if $(MIDI),--midi '$(MIDI)')
	$(BIN)/jingles train-codec --data data/gm-more --format spectral --tune-decoder runs/tuned-start --steps 6000 --lr 4e-4 --out runs/tuned-more
	$(BIN)/jingles train-codec --data data/gm-more --format spectral --tune-decoder runs/tuned-more --steps 6000 --lr 4e-4 --out runs/tuned
	cp runs/tuned/model.safetensors runs/tuned/config.json jingles/weights/spectral/
	$(BIN)/jingles export data/notes --format spectral --playing expressive --invented 0.35 --train 6000 --valid 200 --seed 3 $(if $(MIDI),--midi '$(MIDI)')
	$(BIN)/jingles train-codes --data data/notes --out jingles/weights/spectral
	$(BIN)/jingles train --data data/notes --preset notes --out runs/notes-start
	$(BIN)/jingles train --data data/notes --preset notes --set start_from=runs/notes-start --set lr=5e-4 --set steps=6500 --out runs/notes
	cp runs/notes/model.safetensors runs/notes/config.json runs/notes/data.json jingles/weights/notes/
	$(BIN)/jingles evaluate $(if $(MIDI),--midi '$(MIDI)') --force --out jingles/weights/notes/metrics.json
	$(BIN)/jingles train --data data/notes --preset notes-few --out runs/notes-few
	$(BIN)/jingles export data/sound --format spectral --playing expressive --invented 0.35 --train 4000 --valid 160 --seed 4 --programs $(SOUND_PROGRAMS) $(if $(MIDI),--midi '$(MIDI)')
	$(BIN)/jingles train --data data/sound --preset sound --set injection=concat --out runs/sound-start
	$(BIN)/jingles train --data data/sound --preset sound --set start_from=runs/sound-start --set lr=5e-4 --set steps=4500 --out runs/sound
	for model in notes-few sound; do \
	    cp runs/$$model/model.safetensors runs/$$model/config.json runs/$$model/data.json jingles/weights/$$model/; \
	    $(BIN)/jingles evaluate --model $$model $(if $(MIDI),--midi '$(MIDI)') --force --out jingles/weights/$$model/metrics.json; \
	done

gpu-train: dev  ## train the shipped models in MINUTES=8 on one GPU, from nothing (MIDI=folder of MIDI files); see gpu/README.md
	$(BIN)/python gpu/train.py out/gpu --minutes $(MINUTES) $(if $(MIDI),--midi '$(MIDI)')

gpu-font: dev  ## out/font.zip: the instruments that the shipped models need, cut from the installed SoundFont, for a machine without it
	@mkdir -p out
	@$(BIN)/python gpu/soundfont.py "$$($(BIN)/python -c 'from jingles.data.synth import find_soundfont; print(find_soundfont())')" out/font.zip --programs $(PROGRAMS) --keys 36:96

gpu-pack: dev  ## out/gpu-pack: what `make gpu-train` needs on a machine without the internet, below 64 MiB (MIDI=folder, HAVE=list of its packages, GPU_PYTHON=3.12)
	@rm -rf out/gpu-pack
	@$(BIN)/python gpu/pack.py out/gpu-pack --python $(GPU_PYTHON) --programs $(PROGRAMS) $(if $(MIDI),--midi '$(MIDI)') $(if $(HAVE),--have '$(HAVE)')

wheel: $(BIN)/pip  ## dist/jingles-*.whl, weights included
	@rm -rf build
	$(BIN)/pip wheel . --no-deps -w dist
	@rm -rf build

clean:  ## remove what is quickly made again (never .venv, data or runs)
	rm -rf out build dist *.egg-info .pytest_cache _docs _proc
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
