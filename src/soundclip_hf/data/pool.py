"""Runs jobs in worker processes that may be killed, and yields the results as they come.

Each worker is an executor of its own, so a death breaks nothing but the job that was running. The library pebble does
the same in one pool, but its workers outlive a parent that is killed, and every installation would need it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver, resource_tracker
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
        pool.end_now(running)
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
        # The command `soundclip` leaves the import of torch out, which takes seconds; its server does so as well.
        first = ["soundclip_command"] if "soundclip_command" in sys.modules else []
        self.context.set_forkserver_preload([*first, __name__, getattr(function, "func", function).__module__])
        _start_server()
        self.starting = False
        # Each worker holds one end of a pipe, and ends when the other end is closed, as it is when this process dies.
        self.watched, self.lifeline = self.context.Pipe(duplex=False)
        self.executors = [self._executor() for _ in range(count)]

    def submit(self, worker: int, job: J) -> Future[R]:
        self.idle.remove(worker)
        # Stays true where an interrupt comes meanwhile.
        self.starting = True
        try:
            future = self.executors[worker].submit(self.function, job)
        except BrokenProcessPool:  # by its last job, or since
            self.executors[worker] = self._executor()
            future = self.executors[worker].submit(self.function, job)
        self.starting = False
        return future

    def end_now(self, running: Iterable[Future[R]]) -> None:
        self.lifeline.close()
        server = getattr(forkserver._forkserver, "_forkserver_pid", None)
        if self.starting and server is not None:
            # It may still be importing, and would start a worker when this process is gone. Without it, workers that
            # are nearly done would be taken for dead.
            wait(running, timeout=GRACE)
            with suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)

    def close(self) -> None:
        """Wait for the jobs that are running."""
        for executor in self.executors:
            executor.shutdown()
        self.lifeline.close()
        self.watched.close()

    def _executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self.context, _end_with, (self.watched,))


def _start_server() -> None:
    """
    Start the server that makes workers, unless it runs, with Ctrl-C blocked in it and in them.

    Ctrl-C reaches the whole group of processes, and would end their imports with a traceback from each.
    """
    # It unblocks the signal where it has to be started.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        # What came meanwhile is raised here.
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(watched: connection.Connection) -> None:
    # Another part of the program may have started the server. Ctrl-C would end a library's callback instead of the
    # job, which then goes on with half of its input. The parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_after, args=(watched,), daemon=True).start()


def _exit_after(watched: connection.Connection) -> None:
    connection.wait([watched])
    time.sleep(GRACE)
    os._exit(1)


__all__ = ["Crashed", "run"]
