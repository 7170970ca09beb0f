"""Makes sure that there is a Chromium for the browser tests, and says so if there can't be."""

import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Path of the browser, None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def main() -> int:
    if chromium() is None and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                words = done.stderr.strip().splitlines() or ["no reason given"]
                print(f"could not run {' '.join(command)}: {words[-1]}")
                break
    if chromium() is None:
        print("Chromium is not installed and could not be: the browser tests are skipped. Install it and run again.")
    else:
        print(f"browser tests use {chromium()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
