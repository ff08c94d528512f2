"""The tests over the range of versions that is supported, each in an environment of its own and from an unpacked sdist.

nox --list                                                  what there is
nox --session "tests-3.12(torch='2.10', build='cpu')"       one of them
nox --session oldest -- tests/net                           with arguments for pytest

A Python that is not there is skipped (--error-on-missing-interpreters: is an error). Which build of torch comes is pip's choice;
for the CPU's, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu. A session that got the other build ends at once. With
CUDA's build, a CUDA toolkit is needed, and a GPU for the tests that need one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.options.default_venv_backend = "venv"

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
TORCH = {"2.10": "torch==2.10.*", "newest": "torch"}
# Where 3.11 is the newest Python for which all of the oldest packages have wheels.
PYTHON_OF_THE_OLDEST = "3.11"


def run_tests(session: nox.Session, build: str, torch: str, *packages: str, warnings: str = "error") -> None:
    """Installs the package with what its tests take, and these versions; then runs the tests.

    `warnings` is what becomes of them: Python's -W.
    """
    folder = Path(session.create_tmp())
    session.install(torch, "setuptools>=77", "ninja", "numpy", *packages)
    cuda = session.run("python", "-c", "import torch; print(torch.version.cuda)", silent=True)
    if (str(cuda).strip() == "None") != (build == "cpu"):
        session.error(f"pip chose a torch for CUDA {str(cuda).strip()}, but this session takes its build for {build}")
    shutil.rmtree(folder / "sdist", ignore_errors=True)
    session.run("python", "setup.py", "--quiet", "sdist", "--dist-dir", str(folder / "sdist"))
    shutil.rmtree(folder / "sources", ignore_errors=True)
    shutil.unpack_archive(next((folder / "sdist").glob("*.tar.gz")), folder / "sources")
    session.chdir(next((folder / "sources").iterdir()))
    use_cuda = "0" if build == "cpu" else "1"
    session.install("--no-build-isolation", "--editable", ".[test]", *packages, env={"USE_CUDA": use_cuda})
    session.run("python", "-m", "pytest", "-n", "auto", "--dist", "worksteal", "-W", warnings, *session.posargs)


@nox.session(python=PYTHONS)
@nox.parametrize("build", ["cpu", "cuda"])
@nox.parametrize("torch", list(TORCH))
def tests(session: nox.Session, torch: str, build: str) -> None:
    """The newest packages, beside the oldest and the newest torch."""
    run_tests(session, build, TORCH[torch])


@nox.session(python=PYTHON_OF_THE_OLDEST)
def oldest(session: nox.Session) -> None:
    """Every package at the lower bound that pyproject.toml gives it."""
    wanted = map(Requirement, nox.project.load_toml("pyproject.toml")["project"]["dependencies"])
    here = [
        one for one in wanted if one.marker is None or one.marker.evaluate({"python_version": PYTHON_OF_THE_OLDEST})
    ]
    bounds = [f"{one.name}=={item.version}" for one in here for item in one.specifier if item.operator == ">="]
    bounds = [bound for bound in bounds if not bound.startswith("torch==")]
    # Old packages do what those beneath them have since come to warn of.
    run_tests(session, "cpu", TORCH["2.10"], *bounds, warnings="default")
