"""Runs jobs in worker processes that may be killed, and yields the results as they come.

Each worker is an executor of its own, so a death breaks nothing but the job that was running. The library pebble does
the same in one pool, but its workers outlive a parent that is killed, and every installation would need it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from typing import Generic, TypeVar

J = TypeVar("J")
R = TypeVar("R")
# Of a job whose worker dies.
ATTEMPTS = 3
# So many seconds are left for a job that is nearly done, when the caller is interrupted.
GRACE = 1.0


@dataclass(frozen=True)
class Crashed:
    """In place of the result of a job on which worker processes die."""

    detail: str


def run(function: Callable[[J], R], jobs: Iterable[J], workers: int | None = None) -> Iterator[tuple[J, R | Crashed]]:
    """Call a function on each job in worker processes.

    A worker that dies (kill -9, out of memory, a crash inside a codec) costs its own job alone. The job runs again
    after all others, with no job beside it; if its workers keep dying, it comes back as `Crashed`.

    Args:
        function: Importable, as it is looked up in the workers. What it raises is raised here, as soon as the jobs
            that are running have ended.
        jobs: Read as needed, so it may be long. They must be picklable.
        workers: Processes; None means one for each core that this process may use.

    Returns:
        `(job, result)` pairs in the order in which they finish. If the caller is interrupted, or reads no further, the
        workers end.
    """
    pool: _Workers[J, R] = _Workers(function, workers or len(os.sched_getaffinity(0)))
    source, again = iter(jobs), deque[tuple[J, int]]()
    running: dict[Future[R], tuple[int, J, int]] = {}
    try:
        while True:
            for worker, job in zip([*pool.idle], source):
                running[pool.submit(worker, job)] = worker, job, 1
            if not running and again:
                worker, (job, attempt) = pool.idle[0], again.popleft()
                running[pool.submit(worker, job)] = worker, job, attempt
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, job, attempt = running.pop(future)
                pool.idle.append(worker)
                try:
                    result: R | Crashed = future.result()
                except BrokenProcessPool:
                    if attempt < ATTEMPTS:
                        again.append((job, attempt + 1))
                        continue
                    result = Crashed(f"its worker process died {ATTEMPTS} times, the last time while it ran alone")
                yield job, result
    except (GeneratorExit, KeyboardInterrupt):
        pool.end_now()
        raise
    finally:
        pool.close()


class _Workers(Generic[J, R]):
    """Executors of one process each, by number; those in `idle` have no job."""

    def __init__(self, function: Callable[[J], R], count: int) -> None:
        self.function, self.idle = function, [*range(count)]
        # Threads and locks of the caller would be inherited half-way by a fork; a server that has imported the
        # function's module makes workers at once.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([__name__, getattr(function, "func", function).__module__])
        # Each worker holds one end of a pipe, and ends when the other end is closed, as it is when this process dies.
        self.watched, self.lifeline = self.context.Pipe(duplex=False)
        self.executors = [self._executor() for _ in range(count)]

    def submit(self, worker: int, job: J) -> Future[R]:
        self.idle.remove(worker)
        try:
            return self.executors[worker].submit(self.function, job)
        except BrokenProcessPool:  # by its last job, or since
            self.executors[worker] = self._executor()
            return self.executors[worker].submit(self.function, job)

    def end_now(self) -> None:
        self.lifeline.close()

    def close(self) -> None:
        """Wait for the jobs that are running."""
        for executor in self.executors:
            executor.shutdown()
        self.lifeline.close()
        self.watched.close()

    def _executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self.context, _end_with, (self.watched,))


def _end_with(watched: connection.Connection) -> None:
    # Ctrl-C reaches workers too, and may end a library's callback instead of the job, which then goes on with half of
    # its input. The parent ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_after, args=(watched,), daemon=True).start()


def _exit_after(watched: connection.Connection) -> None:
    connection.wait([watched])
    time.sleep(GRACE)
    os._exit(1)


__all__ = ["Crashed", "run"]
