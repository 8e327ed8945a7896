"""``python -P -m tests.fuzz [--minutes 1] [target …]``: each target for so long, one after the other; 1 if anything was found.

The fuzzer lives in an environment of its own in the tests' cache, and so does what it learns; seeds are made from the tests' messages, and
inputs worth keeping for everybody lie in tests/fuzz/corpus/<target>/.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.fuzz.targets import TARGETS, Target
from tests.servers.install import build_once, cache_folder

PACKAGES: Final = ("atheris==3.0.0", "orjson", "pydantic", "structlog")
ROOT: Final = Path(__file__).parents[2]
CORPUS: Final = Path(__file__).parent / "corpus"
FOUND: Final = ROOT / "build" / "fuzz"
LIMITS: Final = ("-timeout=5", "-rss_limit_mb=1024", "-max_len=2048")
DONE: Final = re.compile(r"Done (\d+) runs in (\d+) second")


def fuzzer_python() -> Path:
    return build_once(PACKAGES[0].replace("==", "-"), _install) / "bin" / "python"


def _install(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)


def fuzz(python: Path, target: Target, seconds: int) -> bool:
    """Whether nothing was found."""
    learnt = cache_folder() / "fuzz" / target.name
    committed = CORPUS / target.name
    for folder in (learnt, FOUND):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as seeds:
        for number, seed in enumerate(target.seeds()):
            (Path(seeds) / f"seed-{number}").write_bytes(seed)
        corpus = [str(learnt), seeds, *([str(committed)] if committed.is_dir() else [])]
        options = [f"-max_total_time={seconds}", f"-artifact_prefix={FOUND}/{target.name}-", *LIMITS]
        result = subprocess.run(
            [str(python), "-P", "-m", "tests.fuzz.engine", target.name, *options, *corpus],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'connectors'}"},
            cwd=seeds,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    done = DONE.search(result.stdout)
    if result.returncode != 0 or done is None:
        print(f"{target.name}: FOUND, see {FOUND.relative_to(ROOT)}\n{result.stdout[-3000:]}", flush=True)
        return False
    runs, took = int(done[1]), max(1, int(done[2]))
    print(f"{target.name}: {runs} inputs in {took} s, {runs // took}/s, nothing found", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("targets", nargs="*", choices=[[], *(target.name for target in TARGETS)])
    arguments = parser.parse_args()
    python = fuzzer_python()
    chosen = [target for target in TARGETS if target.name in (arguments.targets or [each.name for each in TARGETS])]
    found = [target.name for target in chosen if not fuzz(python, target, round(arguments.minutes * 60))]
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
