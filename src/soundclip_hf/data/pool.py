"""Jobs in, their results out as they come, from a process pool that outlives workers which are killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")
# Of a job whose worker dies.
ATTEMPTS = 3


@dataclass(frozen=True)
class Crashed:
    """In place of the result of a job on which worker processes die."""

    detail: str


def run(function: Callable[[J], R], jobs: Iterable[J], workers: int | None = None) -> Iterator[tuple[J, R | Crashed]]:
    """Call a function on each job in worker processes, a few jobs ahead at a time.

    A worker that dies (kill -9, out of memory, a crash inside a codec) costs the jobs that were running: they run
    again. A job that takes its worker down even when it runs alone comes back as `Crashed`, and the others go on.

    Args:
        function: Importable, as it is looked up in the workers. What it raises is raised here.
        jobs: Read as needed, so it may be long. They must be picklable.
        workers: Processes; None means one for each core that this process may use.

    Returns:
        `(job, result)` pairs in the order in which they finish.
    """
    count = workers or len(os.sched_getaffinity(0))
    source, deaths = iter(jobs), deque[tuple[J, int]]()
    exhausted = False
    while not exhausted or deaths:
        # Whoever was there when a worker died runs alone, so that each death has one culprit.
        if deaths:
            job, died = deaths.popleft()
            _, broken = yield from _round(function, iter([job]), 1)
            if broken and died + 1 < ATTEMPTS:
                deaths.append((job, died + 1))
            elif broken:
                yield job, Crashed(f"its worker process died {ATTEMPTS} times, the last time while it ran alone")
            continue
        exhausted, broken = yield from _round(function, source, count)
        deaths.extend((job, 1) for job in broken)


def _round(
    function: Callable[[J], R], jobs: Iterator[J], workers: int
) -> Generator[tuple[J, R | Crashed], None, tuple[bool, list[J]]]:
    """Run jobs until there are no more, or the pool breaks; returns whether they ended, and those that were lost."""
    running: dict[Future[R], J] = {}
    # Threads and locks of the caller would be inherited half-way by a fork; a server that has imported the function's
    # module makes workers at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, getattr(function, "func", function).__module__])
    with ProcessPoolExecutor(workers, context, _die_with_parent) as pool:
        ended = False
        try:
            while True:
                while not ended and len(running) < workers:
                    for job in jobs:
                        running[_submit(pool, function, job)] = job
                        break
                    else:
                        ended = True
                if not running:
                    return ended, []
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            done = [future for future in running if future.done() and future.exception() is None]
            for future in done:
                yield running.pop(future), future.result()
            return ended, list(running.values())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for jobs for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _submit(pool: ProcessPoolExecutor, function: Callable[[J], R], job: J) -> Future[R]:
    try:
        return pool.submit(function, job)
    except BrokenProcessPool as error:
        # Found out while submitting: the job counts as one that was running.
        future: Future[R] = Future()
        future.set_exception(error)
        return future


__all__ = ["Crashed", "run"]
