"""Throughput and memory, each against stock PyTorch and torch.compile, in one run: see bench/README.md."""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler, which counts memory, reports its own start and stop
