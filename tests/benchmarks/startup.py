"""How long the package, its command and a first explorer take to start; run it by itself.

Fresh processes, in turn. The last line is one JSON object, times in seconds: the median of 15 for the package and its
command, less the median of ``python -c pass``; of 5 for a first explorer (from the start of the process to the columns
and thumbnails that its first view is drawn from; the shipped run, with its images if CIFAR10_ROOT names them).
``first_explorer_vs_import_torch`` is that over a process that only imports torch, pair by pair; both whole processes.
"""

from __future__ import annotations

import functools
import subprocess
import sys

from tests.benchmarks.timing import interleaved, report

SMALL = {
    "bare": ["-c", "pass"],
    "import_workbench": ["-c", "import workbench"],
    "help": ["-m", "workbench", "--help"],
}
EXPLORER = (
    "import sys, workbench; first = workbench.Explorer(workbench.open_example()).first; "
    "assert first.get('thumbnails'), 'no thumbnails: set CIFAR10_ROOT'; "
    "print([name for name in ('torch', 'torchvision', 'scipy.stats', 'matplotlib') if name in sys.modules])"
)
LARGE = {"explorer": ["-c", EXPLORER], "torch": ["-c", "import torch"]}


def run(arguments: list[str]) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout


def main() -> None:
    small = interleaved({name: functools.partial(run, words) for name, words in SMALL.items()}, 15)
    large = interleaved({name: functools.partial(run, words) for name, words in LARGE.items()}, 5)
    bare = small.seconds("bare")
    loaded = "import sys, workbench; print('torch' in sys.modules or 'numpy' in sys.modules)"
    figures = {
        "first_explorer_vs_import_torch": large.ratio("explorer", "torch"),
        "first_explorer_s": large.seconds("explorer"),
        "import_torch_s": large.seconds("torch"),
        "first_explorer_imports": run(LARGE["explorer"]).strip(),
        "import_workbench_s": small.seconds("import_workbench") - bare,
        "help_s": small.seconds("help") - bare,
        "bare_interpreter_s": bare,
        "import_brings_torch_or_numpy": run(["-c", loaded]).strip() == "True",
    }
    report("startup", figures)


if __name__ == "__main__":
    main()
