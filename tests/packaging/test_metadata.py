"""The installed distribution: one version, both packages typed, the command, and every import among the requirements."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tased_ext
import tased_net

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (tased_ext, tased_net)
DISTRIBUTIONS = {"PIL": "pillow", "skvideo": "scikit-video"}  # where it is not the module's name


def test_version_has_a_single_source() -> None:
    written = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert written is not None
    versions = {importlib.metadata.version("tased-net"), *(package.__version__ for package in PACKAGES)}
    assert versions == {written[1]}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_typed(package: object) -> None:
    assert Path(package.__file__).with_name("py.typed").exists()


def test_names_and_modules_load_when_they_are_asked_for() -> None:
    code = """
import sys
import tased_net
assert "torch" not in sys.modules
assert set(tased_net.__all__) <= set(dir(tased_net))
assert all(hasattr(tased_net, name) for name in tased_net.__all__)
assert tased_net.metrics.nss is sys.modules["tased_net.metrics"].nss
assert not hasattr(tased_net, "nothing")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_tased_is_the_command_line() -> None:
    from tased_net import cli

    (command,) = importlib.metadata.entry_points(group="console_scripts", name="tased")
    assert command.load() is cli.main


def imports(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports when it runs."""
    tree = ast.parse(path.read_text())
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0}
    return {name.partition(".")[0] for name in names}


def test_plain_install_brings_every_import() -> None:
    required = importlib.metadata.requires("tased-net") or []
    # What these extras bring is imported only where it is used, with a sentence where it is missing: test_pretrained.py and
    # test_evaluate.py.
    brought = {
        re.split(r"[^\w-]", line)[0]
        for line in required
        if "extra ==" not in line or re.search("extra == .(cluster|hub|metrics).", line)
    }
    files = [path for package in PACKAGES for path in Path(package.__file__).parent.glob("**/*.py")]
    third_party = set().union(*map(imports, files)) - sys.stdlib_module_names - {"tased_ext", "tased_net"}
    assert {DISTRIBUTIONS.get(name, name) for name in third_party} <= brought


def test_python_m_tased_ext_prints_what_a_bug_report_needs() -> None:
    output = subprocess.run(
        [sys.executable, "-m", "tased_ext"], check=True, capture_output=True, text=True, cwd=ROOT.parent
    ).stdout
    facts = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in output.splitlines())
    expected = tased_ext.build_info()
    libraries = expected.pop("libraries")
    assert facts == {name.replace("_", " "): str(fact) for name, fact in expected.items()} | libraries


def test_the_page_on_dependencies_has_each_with_its_range() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    project = text[text.index("\ndependencies = [") : text.index("\ntest = [")]
    required = re.findall(r'"([\w-]+)(?:\[.*?\])?([<>=][^";]*)?["; ]', project)
    page = (ROOT / "docs" / "dependencies.md").read_text()
    told = re.findall(r"^\|(?: \w+ \|)? ([\w-]+) \| ((?:[<>=]\S+)|any) \|", page, re.MULTILINE)
    assert told == [(name, bounds or "any") for name, bounds in required]
