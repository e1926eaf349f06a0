# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3.11
RUN := .venv/bin/python
# A file's tests stay together: they share what is costly to make. Left to itself xdist starts the files of few tests
# last, which are the longest here, and one process would end alone.
# Threads of BLAS and OpenMP that wait for a core which another process has took up to three times the time.
TEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo test check format env bench clean

demo: env
	$(RUN) -m demo.run $(if $(FOOTAGE),--footage "$(FOOTAGE)") $(if $(LICENCE),--licence "$(LICENCE)") $(if $(RELEASE),--release "$(RELEASE)")

test: env
	$(TEST)

check: env
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy store processors streams trainer api demo
	$(TEST)

format: env
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

bench: env
	$(RUN) -m tests.bench.segment_ratio
	$(RUN) -m tests.bench.road
	$(RUN) -m tests.bench.streaming
	$(RUN) -m tests.bench.long_footage
	$(RUN) -m tests.bench.perception
	$(RUN) -m tests.bench.bare_models

# The environment is made once from uv.lock and remade when the lock changes. It is compiled at once: the service is
# many processes, and where Python may write no bytecode each of them would compile torch and the rest anew (a child
# that trains: 30 s of processor time to start, 12 s compiled).
env: .venv/.made-from-lock

.venv/.made-from-lock: uv.lock pyproject.toml
	@command -v uv >/dev/null || test -x .uv/bin/uv || ($(PYTHON) -m venv .uv && .uv/bin/pip install --quiet "uv>=0.9")
	PATH="$$PATH:$(CURDIR)/.uv/bin" uv sync --frozen --compile-bytecode --python $(PYTHON)
	@touch $@

clean:
	rm -rf build .pytest_cache .ruff_cache .mypy_cache
