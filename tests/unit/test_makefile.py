"""Targets of the Makefile that start a server start it as they are written."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def command_of(target: str, port: int) -> str:
    """What ``make TARGET`` would run last, without the set-up."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", f"PORT={port}", "LAB_OPTIONS=--no-browser", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().splitlines()[-1]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(("target", "page"), [("app", "/"), ("lab", "/api/status")])
def test_a_server_answers(target: str, page: str, tmp_path: Path) -> None:
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("make has not set up .venv")
    port, log = free_port(), tmp_path / "log"
    command = command_of(target, port)
    if target == "app":
        command += " --no-browser"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            ["bash", "-c", command.replace(" && ", " && exec ")],
            cwd=ROOT,
            stdout=stream,
            stderr=stream,
            env=os.environ | {"CIFAR10_ROOT": str(tmp_path / "none")},
        )
    try:
        status, end = 0, time.monotonic() + 90
        while not status and time.monotonic() < end and server.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=5) as answer:
                    status = answer.status
            except urllib.error.HTTPError as error:  # it answers, and asks for its token
                status = error.code
            except OSError:
                time.sleep(0.2)
        said = log.read_text(errors="replace")
        assert status in (200, 302, 403), said[-3000:]
        assert re.search(r"token=\w+", said), said[-3000:]
    finally:
        server.terminate()
        server.wait(30)
