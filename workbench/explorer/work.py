"""Long work beside the kernel's own: one thread, progress, a way to stop it, and failures that are reported."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from workbench.errors import WorkbenchError

Found = TypeVar("Found")
IDLE_S = 60.0
Report = Callable[[dict[str, Any], list[bytes]], None]


@dataclass
class Job:
    """One piece of work; ``run`` returns its answer and checks ``stopped`` between its steps."""

    name: str
    run: Callable[[Job], tuple[dict[str, Any], list[bytes]]]
    report: Report
    stopped: threading.Event = field(default_factory=threading.Event)

    def progress(self, words: str) -> None:
        """Report what is being done."""
        self.report({"progress": words}, [])


def answer(run: Callable[[], Found]) -> Found | tuple[dict[str, Any], list[bytes]]:
    """What a piece of work gives; if it fails, a message in ``error`` and, for an unforeseen failure, ``trace``."""
    try:
        return run()
    except WorkbenchError as error:
        return {"error": str(error)}, []
    except Exception as error:  # noqa: BLE001  a view must show every failure: in a thread it would be lost
        return {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}, []


class Worker:
    """Runs jobs one after another in a separate thread; a new job of the same name stops the older one.

    The thread ends when it has been idle for a minute, and so releases the run.
    """

    def __init__(self) -> None:
        self._jobs: queue.Queue[Job] = queue.Queue()
        self._lock = threading.Lock()
        self._latest: dict[str, Job] = {}
        self._thread: threading.Thread | None = None

    def start(self, job: Job) -> None:
        """Queue a job, after stopping one of the same name that is queued or running."""
        with self._lock:
            self._stop(job.name)
            self._latest[job.name] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="workbench", daemon=True)
                self._thread.start()
            self._jobs.put(job)

    def stop(self, name: str) -> None:
        """Stop the job of that name after its current step; do nothing if there is none."""
        with self._lock:
            self._stop(name)

    def _stop(self, name: str) -> None:
        if name in self._latest:
            self._latest.pop(name).stopped.set()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._jobs.empty():  # otherwise a job has just arrived
                        self._thread = None
                        return
                continue
            if job.stopped.is_set():
                job.report({"stopped": True}, [])
                continue
            reply, buffers = answer(lambda job=job: job.run(job))  # type: ignore[misc]
            job.report({"stopped": True} if job.stopped.is_set() else reply, buffers)
