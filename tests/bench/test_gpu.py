"""The report on a GPU, from results that real runs of pytest leave and from constructed ones; none of it was run on a GPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import gpu, plan, targets
from bench.gpu_report import Unreadable, failures_in, findings_of, markdown, pytest_results
from bench.results import Outcome
from bench.works import AUX_SITES, Row

ROOT = Path(__file__).resolve().parents[2]
FACTS = {"GPU 0": "a stand-in", "driver": "1.2", "torch": "9.9", "tased-net": "0, commit abc"}
CLEAN = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"

TESTS = """
import pytest

pytestmark = pytest.mark.cuda

def test_good():
    pass

@pytest.mark.parametrize("one", ["a|b"])
def test_bad(one):
    assert one == "c", "the map | is wrong\\nand more"

def test_skipped():
    pytest.skip("fewer than two GPUs")

@pytest.fixture
def broken():
    raise RuntimeError("no such device")

def test_errs(broken):
    pass
"""


def run_pytest(folder: Path, text: str) -> Path:
    """What pytest writes about these tests."""
    file = folder / "test_made.py"
    file.write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
    ]
    subprocess.run([*command, f"--junitxml={folder / 'tests.xml'}", str(file)], check=False, capture_output=True)
    return folder / "tests.xml"


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return pytest_results(run_pytest(tmp_path_factory.mktemp("tests"), TESTS))


def outcome(site: str, **seconds: float) -> Outcome:
    chosen = next(one for one in AUX_SITES if one.name == site)
    row = Row("site", "aux_pool", "inference", chosen, "contiguous", threads=1, compiled=True)
    return Outcome.of(row, {name: [value] * 3 for name, value in seconds.items()})


def operations() -> dict[str, Any]:
    """As bench.ops writes it: i2 at 90 % of a copy's bandwidth, i1 at half of it."""
    outcomes = [
        outcome("i2", ours=1.0, eager=21.0, compiled=4.0, floor=0.9),
        outcome("i1", ours=2.0, eager=3.0, floor=1.0),
    ]
    judgements = targets.judge(targets.CUDA, outcomes)
    made = {"rows": [one.to_json() for one in outcomes], "targets": [one.to_json() for one in judgements]}
    parsed: dict[str, Any] = json.loads(json.dumps(made))
    return parsed


NETWORK = {
    "machine": {"clip": [32, 224, 384]},
    "rows": [
        {
            "precision": "float32",
            "way": "shared",
            "seconds": 0.0025,
            "x_eager": 2.5,
            "x_compiled": None,
            "gflop": 88.2,
            "of_product_rate": 0.5,
        }
    ],
}


# ----------------------------------------------------------------------------------------------------- reading results


def test_what_pytest_wrote_is_counted_and_failures_are_named(tests: dict[str, Any]) -> None:
    assert (tests["passed"], tests["failed"], tests["skipped"]) == (1, 2, 1)
    said = {one["name"].rpartition("::")[2]: one["says"] for one in tests["failures"]}
    assert said["test_bad[a|b]"] == "AssertionError: the map | is wrong"
    assert "RuntimeError: no such device" in said["test_errs"]
    assert tests["skips"] == {"fewer than two GPUs": 1}


def test_results_that_are_not_whole_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"pytest left no results in .*: .*No such file"):
        pytest_results(tmp_path / "tests.xml")
    (tmp_path / "tests.xml").write_text("<testsuites><testsuite>")
    with pytest.raises(Unreadable, match="no element found"):
        pytest_results(tmp_path / "tests.xml")


@pytest.mark.parametrize(
    ("line", "findings"),
    [
        ("========= ERROR SUMMARY: 0 errors", 0),
        ("========= ERROR SUMMARY: 1 error", 1),
        ("========= ERROR SUMMARY: 31 errors", 31),
        ("========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)", 2),
    ],
)
def test_the_summary_of_compute_sanitizer_tells_its_findings(line: str, findings: int) -> None:
    assert findings_of(f"========= COMPUTE-SANITIZER\n{line}\n") == findings


def test_a_log_without_a_summary_is_an_error() -> None:
    with pytest.raises(Unreadable):
        findings_of("========= COMPUTE-SANITIZER\n========= Error: No attachable process found.\n")


@pytest.mark.parametrize(
    ("log", "status", "told"),
    [
        (CLEAN, 0, {"findings": 0}),
        (CLEAN, 1, {"broke_off": "the tests under it ended with status 1"}),
        (CLEAN.replace("0 err", "3 err"), gpu.FOUND, {"findings": 3}),
        ("", 255, {"broke_off": "no summary in its log (exit status 255)"}),
        (None, 127, {"broke_off": "No such file or directory (exit status 127)"}),
    ],
)
def test_a_tool_that_did_not_come_to_its_end_has_found_nothing(
    log: str | None, status: int, told: dict[str, Any], tmp_path: Path
) -> None:
    if log is not None:
        (tmp_path / "log").write_text(log)
    assert gpu.sanitized(tmp_path / "log", status) == told


# ---------------------------------------------------------------------------------------------------------- the report


def test_a_report_tells_failures_first_and_then_everything(tests: dict[str, Any]) -> None:
    text = markdown(
        {
            "machine": {"date": "1 January 2026", **FACTS},
            "tests": tests,
            "sanitizers": {"memcheck": {"findings": 0, "log": "m.log"}, "racecheck": {"findings": 2, "log": "r.log"}},
            "operations": operations(),
            "network": NETWORK,
        }
    )
    head = text.partition("| driver | 1.2 |")[0]
    assert "- tests: 2 failed\n- racecheck: 2 findings\n" in head
    for line in (
        "1 passed, 2 failed, 1 skipped",
        "test_bad[a|b]`: AssertionError: the map | is wrong",
        "| 1 | fewer than two GPUs |",
        "| memcheck | nothing found | m.log |",
        "1 of 2 bounds reached",
        "| aux_pool | i1 | contiguous | float32 | at most 1.18x the floor | 2 |",
        "| aux_pool | i2 | contiguous | float32 | 21.00 | 4.00 | 90% |",
        "| aux_pool | i1 | contiguous | float32 | 1.50 | - | 50% |",
        "| float32 | shared | 2.50 | 2.50 | - | 88.2 | 50% |",
    ):
        assert line in text
    for rows in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):  # or it would not be shown as a table
        assert len({line.replace("\\|", "").count("|") for line in rows.splitlines()}) == 1


def test_what_was_not_run_is_told() -> None:
    text = markdown({"machine": FACTS, "sanitizers": {}, "network": {"broke_off": "it ended with status 1"}})
    assert "- network: it ended with status 1" in text
    assert "Not run: `make test-gpu`." in text
    assert "Not run: `make test-gpu`, where compute-sanitizer is on the path" in text
    assert "Not measured: `make bench-gpu`." in text


def test_a_missed_bound_is_no_failure() -> None:
    report = {"machine": FACTS, "operations": operations(), "sanitizers": {}}
    assert failures_in(report) == []
    assert "Nothing that was run has failed." in markdown(report)


def test_an_earlier_stage_stays_while_machine_and_sources_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "build" / "gpu-report.md"
    gpu.update(file, FACTS, {"sanitizers": {}, "network": NETWORK})
    report = gpu.update(file, FACTS, {"operations": operations()})
    assert report.keys() == {"machine", "sanitizers", "network", "operations"}
    assert json.loads(file.with_suffix(".json").read_text()) == report
    assert file.read_text() == markdown(report)
    assert gpu.update(file, {**FACTS, "driver": "1.3"}, {"network": NETWORK}).keys() == {"machine", "network"}
    file.with_suffix(".json").write_text("{")
    assert gpu.update(file, FACTS, {"network": NETWORK}).keys() == {"machine", "network"}
    assert sorted(path.name for path in file.parent.iterdir()) == ["gpu-report.json", "gpu-report.md"]


# --------------------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("count", "cuda", "library", "sentence"),
    [
        (0, None, "x.so", "this PyTorch is a build without CUDA: install one"),
        (0, "13.0", "x.so", "PyTorch finds no CUDA GPU: see what nvidia-smi says"),
        (
            1,
            "13.0",
            "not loaded: no module",
            "tased_ext's CUDA library is not loaded: no module: `make clean`, and build",
        ),
    ],
)
def test_without_a_gpu_there_is_one_sentence(count: int, cuda: str | None, library: str, sentence: str) -> None:
    with pytest.raises(gpu.NoGpu, match=f"^{re.escape(sentence)}"):
        gpu.check(count, cuda, library)
    gpu.check(1, "13.0", "x.so")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(("what", "target"), [("tests", "make test-gpu"), ("speed", "make bench-gpu")])
def test_the_command_refuses_without_a_gpu_and_writes_nothing(
    what: str, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.main([what, "--out", str(tmp_path / "build")]) == 2
    out, message = capsys.readouterr()
    assert (out, message.count("\n")) == ("", 1)
    assert message.startswith(f"error: {target} needs an NVIDIA GPU, but ")
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("target", ["test-gpu", "bench-gpu"])
def test_make_refuses_without_a_gpu_before_it_builds(target: str, tmp_path: Path) -> None:
    command = ["make", "-C", str(ROOT), target, "GPUS=", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"error: make {target} needs an NVIDIA GPU, but nvidia-smi finds none." in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which the command believes to find a GPU, and which has a compute-sanitizer of three lines."""
    monkeypatch.setattr(gpu, "check", lambda *_: None)
    monkeypatch.setattr(gpu, "machine", lambda: FACTS)
    program = tmp_path / "bin" / "compute-sanitizer"
    program.parent.mkdir()
    # Finds one error with racecheck, and ends as the real one does: with its status, or that of the program.
    program.write_text(
        "#!/bin/sh\n"
        'tool=$2; while [ "$1" != --log-file ]; do shift; done; log=$2\n'
        'n=0; [ $tool = racecheck ] && n=1; echo "========= ERROR SUMMARY: $n errors" > "$log"; exit $((n * 86))\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "build"


def test_tests_and_tools_end_in_one_report(
    pretended: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (pretended.parent / "test_one.py").write_text(TESTS.replace("assert one", "assert True or one"))
    run, commands = subprocess.run, []

    def without_the_tests(command: list[str], **options: Any) -> Any:
        """pytest, but on one small file instead of the suite, whose tests that need a GPU would all be skipped."""
        commands.append(command)
        if command[1:3] == ["-m", "pytest"]:
            command = [*command, "-c", os.devnull, str(pretended.parent / "test_one.py")]
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", without_the_tests)
    assert gpu.main(["tests", "--out", str(pretended)]) == 1
    report = json.loads((pretended / "gpu-report.json").read_text())
    assert (report["tests"]["passed"], report["tests"]["failed"]) == (2, 1)
    assert {tool: one["findings"] for tool, one in report["sanitizers"].items()} == {
        "memcheck": 0,
        "racecheck": 1,
        "synccheck": 0,
        "initcheck": 0,
    }
    assert "tests: 1 failed\nracecheck: 1 findings\nWritten: " in capfd.readouterr().out
    assert commands[0][1:5] == ["-m", "pytest", "-m", "cuda"]
    assert all(command[-1] == "tests/ops" for command in commands[1:])


def test_a_bench_that_breaks_off_leaves_its_sentence_and_the_rest(
    pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def bench(command: list[str], **_: Any) -> Any:
        commands.append(command)
        module, folder = command[2], Path(command[command.index("--out") + 1])
        if module == "bench.network":
            return subprocess.CompletedProcess(command, 1)
        (folder / "ops.json").write_text(json.dumps(operations()))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", bench)
    assert gpu.main(["speed", "--out", str(pretended)]) == 1
    report = json.loads((pretended / "gpu-report.json").read_text())
    assert report["operations"] == operations()
    assert report["network"] == {"broke_off": "python -m bench.network ended with status 1"}
    assert gpu.main(["speed", "--quick", "--out", str(pretended)]) == 0
    assert [command[2:5] for command in commands] == [
        ["bench.ops", "--device", "cuda"],
        ["bench.network", "--device", "cuda"],
        ["bench.ops", "--device", "cuda"],
    ]
    assert commands[2][-1] == "--quick"


def test_a_sample_on_a_gpu_has_tased_nets_maps() -> None:
    sites = {row.site.name for row in plan.quick(plan.rows("cuda"))}
    assert {"i2", "i1", "192x16x28x48"} <= sites


def test_the_template_of_the_issue_names_the_report() -> None:
    template = (ROOT / ".github" / "ISSUE_TEMPLATE" / "gpu-report.md").read_text(encoding="utf-8")
    for name in ("make test-gpu", "make bench-gpu", "build/gpu-report.md", "build/gpu-report.json"):
        assert name in template
