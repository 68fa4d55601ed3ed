"""`soundclip demo`: a page to ask a model about clips, in a browser."""

import contextlib
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...extras import require
from .. import options
from ..output import CliError, UsageError, note, reporting, result, warn
from ..retrieval.search import load_dual_of, open_index

if TYPE_CHECKING:
    from ...demo.desk import Desk
    from ...demo.examples import Example
    from ...demo.searching import Library
    from ..loading import ModelChoice

PORT = 7860
SYNTHETIC = "This model knows synthetic scenes alone: its answers about real pictures and sounds mean nothing."


def demo(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Hub id or folder of a SoundLlava or an adapter.  [default: the bundled tiny model]",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of MODEL.")] = None,
    encoder: options.EncoderOption = None,
    host: options.HostOption = "127.0.0.1",
    port: options.PortOption = PORT,
    share: Annotated[
        bool, typer.Option("--share", help="Also make a public link for a week, through a server of Gradio.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = False,
    index: Annotated[
        Path | None,
        typer.Option(help="Folder of `soundclip index` that the page searches.  [default: the examples]"),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(help="Folder of clips that the page offers to begin with.  [default: synthetic clips]"),
    ] = None,
    top_k: options.TopKOption = None,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """
    Open a page in which a model answers questions about clips, pictures and sounds.

    The page shows which patches the sound keeps, how the answer changes with silence and with another sound, and
    searches by sound and by picture. Nothing is asked of the network, but by --share and by a MODEL on the Hub. Ctrl-C
    ends it.

    \b
      soundclip demo
      soundclip demo org/soundclip-whisper --index idx --device cuda

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        require("gradio", "matplotlib", what="soundclip demo", extra="demo")
        if examples is not None and not examples.is_dir():
            raise UsageError(f"--examples {examples}: {'is not a folder' if examples.exists() else 'no such folder'}")
        address = free_port(host, port)
        with contextlib.ExitStack() as stack:
            from ..loading import ModelChoice

            choice = ModelChoice(model, revision, encoder, None, device, dtype, option="MODEL")
            desk, folder = make_desk(choice, index, examples, top_k, stack)

            from ...demo.page import launch, make_page

            page = make_page(desk, SYNTHETIC if choice.is_synthetic() else None)
            with contextlib.redirect_stdout(sys.stderr):  # what Gradio says is no result
                url = launch(page, host=host, port=address, share=share, open_browser=open_browser, folders=[folder])
            stack.callback(page.close, verbose=False)
            if share and "127.0.0.1" in url:
                warn("--share: no public link was made; the page is on this machine alone")
            if as_json:
                result({"url": url})
            else:
                print(url, flush=True)
            note("ready; Ctrl-C ends it")
            _wait_for_the_end()


def _wait_for_the_end() -> None:
    """Return at Ctrl-C or a signal to end, which is how a server is meant to stop, so that what is temporary goes."""
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: ended.append(number))
    while not ended:
        time.sleep(0.2)


def make_desk(
    choice: "ModelChoice",
    index: Path | None,
    examples: Path | None,
    top_k: int | None,
    stack: contextlib.ExitStack,
) -> "tuple[Desk, str]":
    """
    Load what the page asks, and the folder of its examples. What is temporary is removed when `stack` is closed.

    Raises:
        CliError: If something cannot be found or loaded, naming it, or `top_k` does not fit the model.
    """
    from ...demo.desk import Desk
    from ...demo.examples import examples_of, write_examples
    from ..loading import load

    made = None if index is None else open_index(index)
    answering = load(choice)
    if examples is None:
        examples = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soundclip-demo-")))
        offered = write_examples(examples)
    else:
        offered = examples_of(examples)
    library = _library(choice, index, made, offered, examples)
    try:
        desk = Desk(answering, library, offered, top_k)
    except ValueError as error:
        raise UsageError(str(error).replace("top_k=", "--top-k ")) from error
    return desk, str(examples.resolve())


def _library(choice: "ModelChoice", index: Path | None, made: Any, offered: "list[Example]", folder: Path) -> "Library":
    from ...demo.searching import Library, embed_examples
    from ..dual_encoder import load_dual

    if index is None:
        return embed_examples(load_dual(choice, warn_of_synthetic=False), offered, folder)
    blocks, settings = made
    # The index says which model made it: it may be another than the one that answers.
    dual = load_dual_of(index, settings, None, choice.device, choice.dtype)
    return Library(dual, blocks, Path(settings["folder"]), settings["frame"], settings["frames"])


def free_port(host: str, port: int) -> int:
    """
    A port on which nobody listens.

    Args:
        port: The one that is wanted; 0 for any.

    Raises:
        CliError: If it is in use, or the machine has no such address.
    """
    with _socket(host) as found:
        try:
            found.bind((host, port))
        except OSError as error:
            if port and error.errno in (98, 48):
                raise CliError(f"--port {port}: is in use on {host}; choose another, or 0 for a free one") from error
            raise CliError(f"--host {host} --port {port}: {error.strerror}; choose another") from error
        return int(found.getsockname()[1])


@contextlib.contextmanager
def _socket(host: str) -> Iterator[Any]:
    try:
        family, kind, protocol, _, _ = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"--host {host}: is no address of this machine ({error.strerror})") from error
    with socket.socket(family, kind, protocol) as found:
        # As the server itself does: a port whose last connections are being closed is free.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield found


__all__ = ["PORT", "demo", "free_port", "make_desk"]
