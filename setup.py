"""Builds tased_ext's libraries with ninja and hands them to setuptools.

What is built, from what and with what: scripts/toolchains.py. Environment: MAX_JOBS, SOURCE_DATE_EPOCH (the time that an sdist
gives its files, in seconds since 1970), and the variables named there.
"""

import gzip
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
BUILD = Path("build", "ninja")

sys.path.insert(0, str(ROOT / "scripts"))
from toolchains import SOURCES, Toolchain, choose_toolchains, fail, sources


def write_ninja(path: Path, toolchains: dict[str, Toolchain]) -> None:
    try:
        from ninja import Writer, escape
    except ImportError:
        fail("building tased_ext takes ninja: pip install ninja")
    ccache = ["ccache"] if shutil.which("ccache") else []
    with path.open("w") as file:
        ninja = Writer(file)
        ninja.variable("builddir", str(BUILD))
        for library, (_, compiler, compile_flags, link_flags) in toolchains.items():
            compile_command = escape(shlex.join([*ccache, *compiler, *compile_flags]))
            compile_command += " -MD -MF $out.d -c $in -o $out"
            link_command = f"{escape(shlex.join(compiler))} $in {escape(shlex.join(link_flags))} -o $out"
            ninja.rule(f"compile{library}", compile_command, "compile $in", depfile="$out.d", deps="gcc")
            ninja.rule(f"link{library}", link_command, "link $out")
            objects = [ninja.build(f"{BUILD}/{name}.o", f"compile{library}", name)[0] for name in sources(library)]
            ninja.build(f"{BUILD}/{library}.so", f"link{library}", objects)


def compile_libraries(toolchains: dict[str, Toolchain]) -> None:
    """Leaves them in BUILD, which is kept: the next build compiles only what has changed."""
    jobs = os.environ.get("MAX_JOBS", "")
    if jobs and not jobs.isdecimal():
        fail(f"MAX_JOBS must be a number of jobs, but is {jobs}")
    (ROOT / BUILD).mkdir(parents=True, exist_ok=True)
    write_ninja(ROOT / BUILD / "build.ninja", toolchains)
    command = [sys.executable, "-m", "ninja", "-f", str(BUILD / "build.ninja"), *([f"-j{jobs}"] if jobs else [])]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        fail("tased_ext does not compile; the compiler's words are above")


class BuildLibraries(build_ext):
    """Gives setuptools those of the libraries that can be built, and clears away what an earlier build left of the others."""

    def build_extensions(self) -> None:
        toolchains = choose_toolchains()
        compile_libraries(toolchains)
        for extension in self.extensions:
            library = extension.name.split(".")[-1]
            target = Path(self.get_ext_fullpath(extension.name))
            target.unlink(missing_ok=True)
            if library in toolchains:
                self.mkpath(str(target.parent))
                self.copy_file(str(ROOT / BUILD / f"{library}.so"), str(target))
        self.extensions = [extension for extension in self.extensions if extension.name.split(".")[-1] in toolchains]

    def copy_extensions_to_source(self) -> None:
        for library in SOURCES:
            (ROOT / "tased_ext" / f"{library}.abi3.so").unlink(missing_ok=True)
        super().copy_extensions_to_source()


class SameBytes(sdist):
    """An sdist that depends on the sources alone: not on when, where and by whom it is made, nor on their umask."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.formats != ["gztar"]:
            fail(f"an sdist is a gztar, but --formats asks for {','.join(self.formats)}")
        seconds = os.environ.get("SOURCE_DATE_EPOCH", "315532800")  # else 1980, the first year that a zip file can tell
        if not seconds.isdecimal():
            fail(f"SOURCE_DATE_EPOCH must be seconds since 1970, but is {seconds}")
        self.seconds = int(seconds)

    def make_archive(
        self,
        base_name: str,
        format: str,
        root_dir: str | None = None,
        base_dir: str | None = None,
        owner: str | None = None,
        group: str | None = None,
    ) -> str:
        def without_circumstances(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = self.seconds
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        path = f"{base_name}.tar.gz"
        folder = Path(root_dir or ".")
        self.mkpath(os.path.dirname(path))
        with (
            open(path, "wb") as file,
            gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=self.seconds) as compressed,
            tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for packed in sorted((folder / str(base_dir)).rglob("*")):
                archive.add(packed, str(packed.relative_to(folder)), recursive=False, filter=without_circumstances)
        return path


if __name__ == "__main__":
    setup(
        ext_modules=[Extension(f"tased_ext.{name}", sources(name), py_limited_api=True) for name in SOURCES],
        cmdclass={"build_ext": BuildLibraries, "sdist": SameBytes},
        options={"bdist_wheel": {"py_limited_api": "cp310"}},
    )
