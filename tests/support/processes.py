"""A function in a process of its own."""

import multiprocessing
import resource
import signal
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from typing import Any


def process_of_its_own(function: Callable[..., Any], *arguments: Any, preload: Sequence[str] = ()) -> ForkServerProcess:
    """
    Not forked from here: this process may have threads, such as those of a server, whose locks a child would wait for
    for ever. `preload` are modules that are slow to import and that several such processes need.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload])
    return context.Process(target=function, args=arguments)


def without_space(size: int, function: Callable[..., Any], *arguments: Any) -> str:
    """In a process in which no file can be larger than `size` bytes: the error of a function."""
    context = multiprocessing.get_context("forkserver")
    reader, writer = context.Pipe(duplex=False)
    child = process_of_its_own(_without_space, writer, size, function, *arguments)
    child.start()
    writer.close()
    error = reader.recv()
    child.join(60)
    return error


def _without_space(writer: Any, size: int, function: Callable[..., Any], *arguments: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        function(*arguments)
    except Exception as error:
        writer.send(f"{type(error).__name__}: {error}")
    else:
        writer.send("")


__all__ = ["process_of_its_own", "without_space"]
