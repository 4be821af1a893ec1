# Each target is a thin call; the commands themselves are in the README.
PYTHON3 ?= python3
PYTHON := .venv/bin/python
SHELL := /bin/sh

TABLES := table2 table3 table4 table5 table6

IMAGES := image-cpu image-cuda image-torch

.PHONY: help setup caffe demo data weights $(TABLES) $(IMAGES) lint test test-nets test-images fuzz
.PHONY: bench bench-gpu
help:
	@echo "make demo    everything once, on a synthetic database: runs/demo/report.html"
	@echo "make data    DATABASE=ckplus ROOT=/path/to/CK+: index, align, the LMDBs of all folds"
	@echo "make table2  the paper's Table II from data/ckplus and data/casia_webface; table3 ... table6"
	@echo "             QUICK=1: everything in minutes on small synthetic databases;"
	@echo "             SYNTHETIC=1: what docs/results.md reports, in hours"
	@echo "make weights pre-training on a synthetic CASIA-WebFace: weights/synthetic"
	@echo "make test    lint, and all tests, against BVLC Caffe itself"
	@echo "make lint    ruff and shellcheck alone"
	@echo "make test-nets   AlexNet to DenseNet in both engines, in minutes: runs/nets.md"
	@echo "make fuzz    the random tests with new seeds, until one fails or Ctrl-C"
	@echo "make caffe   install BVLC Caffe 1.0 for this user, and say how to use it"
	@echo "make image-cpu, image-cuda, image-torch: container images (docker/README.md);"
	@echo "             make test-images tries all three"
	@echo "make setup   the Python environment alone, in .venv"
	@echo "make bench   measure faces, data preparation and engines into bench/results.md"
	@echo "make bench-gpu   nine minutes on a GPU: runs/bench-gpu/report.md (docs/gpu.md)"

setup: .venv/installed
.venv/installed: pyproject.toml
	@$(PYTHON3) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { \
	  echo "error: $(PYTHON3) is not Python 3.11 or 3.12; name one: make PYTHON3=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "setting up .venv"
	@$(PYTHON3) -m venv .venv
	@$(PYTHON) -m pip install --quiet --editable '.[torchcaffe,analysis,test]'
	@touch $@

caffe: setup
	@docker/bvlc_caffe.sh
	@echo "to use it here:  . .venv/bin/activate && caffe train -solver prototxt/solver_s1r1.prototxt"

DEMO := data/demo
demo: setup
	[ -d $(DEMO)/CK+ ] || $(PYTHON) -m data_prep synthesize ckplus $(DEMO)/CK+ --subjects 60 --sequences 6 --frames 8
	$(PYTHON) -m data_prep index ckplus $(DEMO)/CK+ -o $(DEMO)
	$(PYTHON) -m data_prep align $(DEMO)/index.csv -o $(DEMO)/faces
	$(PYTHON) python/train_folds.py --index $(DEMO)/faces/index.csv --net s1r1 --folds 0,1 --prototxt prototxt/short --batch 16 --run runs/demo
	$(PYTHON) python/eval_folds.py runs/demo

data: setup
	@test -n "$(DATABASE)" -a -n "$(ROOT)" || { \
	  echo "error: say which database and where: make data DATABASE=ckplus ROOT=/path/to/CK+" >&2; exit 1; }
	@$(PYTHON) -m data_prep prepare $(DATABASE) "$(ROOT)" -o data/$(DATABASE) $(OPTIONS)

SCALE := $(if $(QUICK),--quick,$(if $(SYNTHETIC),--synthetic))
$(TABLES): setup
	@$(PYTHON) python/reproduce.py $@ $(SCALE)

weights: setup
	@$(PYTHON) python/reproduce.py weights --synthetic

SHELL_SCRIPTS := .ci/run $(wildcard docker/*.sh docker/steps/*.sh tests/*.sh tests/*/*.sh)
lint: setup
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --quiet --check || { \
	  echo "error: the files above are not laid out as ruff does; run .venv/bin/ruff format" >&2; exit 1; }
	@.venv/bin/shellcheck -x $(SHELL_SCRIPTS)

test: lint caffe
	@tests/chromium.sh
	@tests/bvlc_tests.sh
	$(PYTHON) -m pytest

test-nets: setup caffe
	LARGE_NETS=all $(PYTHON) -m pytest -s tests/parity/test_large_nets.py

RANDOM_TESTS := $(addprefix tests/parity/test_,schema.py layers.py net.py data.py python_layers.py dropout.py snapshots.py) \
  tests/test_in_caffe.py tests/torchcaffe/test_fusion.py tests/data_prep/faces/test_align.py \
  $(addprefix tests/data_prep/lmdbs/test_,augment.py lmdb.py) tests/gcnet_base/test_protocol.py
fuzz: setup caffe
	while seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ') && echo "TEST_SEED=$$seed" && \
	  TEST_SEED=$$seed $(PYTHON) -m pytest -q $(RANDOM_TESTS); do :; done

image-cpu image-cuda: image-%: setup
	@docker/image.sh build bvlc-$*

image-torch: setup
	@docker/image.sh build torch

test-images: setup caffe
	$(PYTHON) -m pytest -s tests/images/images.py

bench: setup caffe
	@$(PYTHON) -m pip install --quiet --editable '.[torchcaffe,analysis,test,bench]'
	$(PYTHON) bench/synthetic_faces.py
	$(PYTHON) bench/data.py
	$(PYTHON) bench/engines.py

bench-gpu: setup
	@[ -d bench/luggage ] || $(PYTHON) bench/gpu_luggage.py
	@$(PYTHON) bench/gpu.py
