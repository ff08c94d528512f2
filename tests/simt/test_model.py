"""docs/cuda-model.md says what the kernels move today."""

from __future__ import annotations

import re

import pytest
import torch

from cases import FULL
from simt import model
from simt.harness import Kernels
from simt.sites import SITES

NUMBER = re.compile(r"\d+\.\d+")
SECTIONS = [(name, dtype) for name in SITES for dtype in model.DTYPES] if FULL else [("i0", torch.float32)]


@pytest.mark.parametrize(("name", "dtype"), SECTIONS, ids=str)
def test_the_model_is_what_the_kernels_move(kernels: Kernels, name: str, dtype: torch.dtype) -> None:
    """To a percent: `python -m simt.report --write` counts it anew."""
    counted = model.section(kernels, name, dtype)
    _, title, rest = counted.partition(counted.splitlines()[0])
    _, found, written = model.DOCUMENT.read_text(encoding="utf-8").partition(title)
    assert found, f"no section {title}"
    written = written[: len(rest) + 100].partition("\n## ")[0].rstrip()
    assert NUMBER.sub("#", written) == NUMBER.sub("#", rest.rstrip())
    numbers = ([float(number) for number in NUMBER.findall(text)] for text in (written, rest))
    assert next(numbers) == pytest.approx(next(numbers), rel=0.01, abs=0.11)


def test_the_document_calls_itself_a_model() -> None:
    text = model.DOCUMENT.read_text(encoding="utf-8")
    assert "a model" in text.splitlines()[0]
    assert "Nothing here was measured" in text
