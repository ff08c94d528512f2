"""What strangers' files and names may not do, where one example shows it; `tests/fuzz` has many."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from PIL import Image

from tased_net import cli
from tased_net.data import DataError
from tased_net.data.matlab import read_points
from tased_net.data.truth import read_density
from tased_net.video import video_name

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?")


@pytest.mark.parametrize(
    "options", [{}, {"do_compression": True}, {"format": "4"}, {"long_field_names": True}], ids=str
)
@pytest.mark.parametrize("sparse", [False, True])
def test_matlab_s_matrices_are_read_as_scipy_reads_them(tmp_path: Path, options: dict[str, Any], sparse: bool) -> None:
    random = np.random.default_rng(0)
    for number, kind in enumerate(TYPES):
        shape = tuple(random.integers(2, 300, 2))
        values: Any = (random.integers(0, 100, shape) * (random.random(shape) < 0.1)).astype(kind)
        if options.get("format") == "4" and kind in ("i1", "i8", "u4", "u8", "?"):
            continue  # which level 4 has not
        if sparse:
            values = scipy.sparse.csc_matrix(values.astype("f8"))
        file = tmp_path / f"{number}.mat"
        scipy.io.savemat(file, {"I": values, "other": np.ones((3, 3)), "text": "a"}, **options)
        expected = scipy.io.loadmat(file)["I"]
        expected = expected.toarray() if scipy.sparse.issparse(expected) else expected
        assert np.array_equal(read_points(file), expected != 0)


def test_an_image_is_never_handed_to_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would have Ghostscript draw PostScript, whatever the file is called."""
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    file = tmp_path / "0001.png"
    Image.new("RGB", (32, 32)).save(file, format="EPS")
    with pytest.raises(DataError, match="damaged, or not what its name says"):
        read_density(str(file))
    assert not (tmp_path / "ran").exists()


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0001.png")
    with pytest.raises(DataError, match=r"0001\.png"):
        read_density(str(tmp_path / "0001.png"))


@pytest.mark.parametrize("address", ["http://host/a/%2e%2e", "file:///a/..", "http://host/a/%2E%2E?x"])
def test_a_url_does_not_name_a_folder_outside_of_the_output(address: str) -> None:
    assert video_name(address) == "_"


@pytest.mark.parametrize("method", ["..", "a/b", "..\\..\\a", "C:a", "a\nb"])
def test_a_submission_unpacks_into_its_own_folder(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pack", str(tmp_path), "--data", str(tmp_path), "--method", method]) == 2
    assert "want the name of a folder" in capsys.readouterr().err


def test_a_link_that_leads_to_itself_is_no_submission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert cli.main(["pack", str(tmp_path / "loop"), "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_messages_have_no_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[2J\n\u202eb"
    assert cli.main(["data", str(tmp_path / name), "--dataset", "folder"]) == 2
    with pytest.raises(SystemExit):
        cli.main(["data", str(tmp_path), "--dataset", name, name])
    said = capsys.readouterr().err
    assert r"a\x1b[2J\n\u202eb: no such folder" in said
    assert not set(said) & {"\x1b", "\u202e"}


def test_an_image_of_a_palette_that_is_not_there_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "0001.png"
    Image.new("P", (32, 32)).save(file, transparency=0)
    data = file.read_bytes()
    start, end = data.index(b"PLTE") - 4, data.index(b"tRNS") - 4
    file.write_bytes(data[:start] + data[end:])
    with pytest.raises(DataError, match="damaged, or not what its name says"):
        read_density(str(file))


@pytest.mark.parametrize("seed", ["-1", "²", "9" * 5000, str(2**63)])
def test_a_seed_that_is_none_is_refused(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["compare", "a", "b"],
        ["evaluate", "a", "--data", "b", "--dataset", "folder"],
        ["predict", "a", "-o", "b"],
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main([*command, f"--seed={seed}"])
        assert caught.value.code == 2
        assert "want a whole number from 0 to 2**63 - 1" in capsys.readouterr().err
