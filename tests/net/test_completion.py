"""Help that fits the terminal, and shells that complete what it lists."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tased_net import cli
from tased_net.commands import main

COMMANDS = [module.__name__.rpartition(".")[2] for module in main.COMMANDS]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_fits_the_terminal(
    command: tuple[str, ...], columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = printed(capsys, *command, "--help")
    assert [line for line in text.splitlines() if len(line) > columns] == []


# A word of the command line each; what the last may become is printed.
COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_tased tased "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("pr", ["predict"]),
        ("predict str", ["street.mp4"]),
        ("predict street.mp4 -o ou", ["out"]),
        ("predict street.mp4 -o out --weights we", ["weights.pt"]),
        ("predict street.mp4 -o out --format overlay n", ["npz"]),
        ("predict street.mp4 --norm", ["--normalize"]),
        ("evaluate --dataset dh", ["dhf1k"]),
        ("data D", ["DHF1K"]),
        ("train --encoder-weights we", ["weights.pt"]),
    ],
)
def test_bash_completes_commands_options_values_and_files(
    line: str,
    completed: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("street.mp4", "weights.pt"):
        Path(name).touch()
    for name in ("out", "DHF1K"):
        Path(name).mkdir()
    Path("script").write_text(printed(capsys, "--print-completion", "bash"), encoding="utf-8")
    words = ["tased", *line.split()]
    bash = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE, "bash", "./script", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert bash.stdout.split() == completed, bash.stderr


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_take_their_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "script"
    script.write_text(printed(capsys, "--print-completion", shell), encoding="utf-8")
    assert "contact-sheet" in script.read_text(encoding="utf-8")
    if shutil.which(shell) is not None:
        parsed = subprocess.run([shell, "-n", script], check=False, capture_output=True, text=True, timeout=30)
        assert (parsed.returncode, parsed.stderr) == (0, "")
