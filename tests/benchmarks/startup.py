"""How long the package and its command take to start, beyond a bare interpreter; run it by itself.

Each is the median of 15 fresh processes, taken in turn in one run, less the median of ``python -c pass``. The last line
is one JSON object, times in seconds.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

TURNS = 15
COMMANDS = {
    "bare": ["-c", "pass"],
    "import_workbench": ["-c", "import workbench"],
    "help": ["-m", "workbench", "--help"],
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(TURNS):
        for name, arguments in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - begun)
    bare = statistics.median(seconds["bare"])
    loaded = "import sys, workbench; print('torch' in sys.modules or 'numpy' in sys.modules)"
    heavy = subprocess.run([sys.executable, "-c", loaded], check=True, capture_output=True, text=True).stdout.strip()
    figures = {
        "import_workbench_s": round(statistics.median(seconds["import_workbench"]) - bare, 4),
        "help_s": round(statistics.median(seconds["help"]) - bare, 4),
        "bare_interpreter_s": round(bare, 4),
        "import_brings_torch_or_numpy": heavy == "True",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
