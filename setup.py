"""Compiles the hot leaf modules where a C compiler is at hand; everything else about the package is in pyproject.toml.

A module is compiled when it has a sibling `.pxd`. `REQUIRE_CYTHON=1` makes a failure fatal (wheels, image); `SKIP_CYTHON=1` never
compiles. An editable install does not compile: a stale extension would shadow the edited source.
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
REQUIRE = os.environ.get("REQUIRE_CYTHON") == "1"
# A shift wider than its type compiles, and loses the high half of every LSN.
FLAGS = ["-O2", "-Werror=shift-count-overflow"]
SKIP = os.environ.get("SKIP_CYTHON") == "1"


def hot_modules() -> list[Extension]:
    found = []
    for root in (HERE / "cdc", *sorted((HERE / "connectors").glob("cdc_*"))):
        start = HERE if root.name == "cdc" else HERE / "connectors"
        for header in sorted(root.rglob("*.pxd")):
            source = header.with_suffix(".py")
            if source.exists() and source.name != "__init__.py":
                name = ".".join(source.relative_to(start).with_suffix("").parts)
                place = [str(source.relative_to(HERE))]
                found.append(Extension(name, place, extra_compile_args=FLAGS, optional=not REQUIRE))
    return found


class BuildHot(build_ext):
    def finalize_options(self) -> None:
        if not SKIP and not self.editable_mode and self.distribution.ext_modules:
            from Cython.Build import cythonize

            os.chdir(HERE)
            self.distribution.ext_modules[:] = cythonize(
                self.distribution.ext_modules,
                include_path=[".", "connectors"],
                compiler_directives={"language_level": 3, "annotation_typing": False},
                build_dir="build/cython",
                quiet=True,
            )
            for extension in self.distribution.ext_modules:
                extension.optional = not REQUIRE
        else:
            self.distribution.ext_modules = []
        super().finalize_options()
        self.parallel = os.cpu_count()


setup(ext_modules=[] if SKIP else hot_modules(), cmdclass={"build_ext": BuildHot})
