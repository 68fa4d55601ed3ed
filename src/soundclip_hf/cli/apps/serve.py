"""`soundclip serve`: answer OpenAI-style chat requests about pictures, sounds and clips."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import options
from ..output import CliError, UsageError, note, one_line, reporting

if TYPE_CHECKING:
    import socket

MIB = 2**20


def serve(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Hub id (also org/name@revision) or folder of a SoundLlava, an adapter or a LLaVA; tiny is the "
            "bundled model. Requests call the model by this name.",
        ),
    ] = "tiny",
    encoder: options.EncoderOption = None,
    sound_adapter: Annotated[
        list[str] | None,
        typer.Option(
            "--sound-adapter",
            metavar="NAME=REPO",
            help="A further sound adapter, which requests choose by its name (sound_adapter). Repeat it for several.",
        ),
    ] = None,
    host: options.HostOption = "127.0.0.1",
    port: options.PortOption = 8000,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="How many tokens an answer may have.")] = 512,
    allowed_local_media_path: Annotated[
        Path | None,
        typer.Option(
            help="Folder whose files requests may name, as paths or file:// URLs.  [default: none; URLs alone]"
        ),
    ] = None,
    max_request_mib: Annotated[int, typer.Option(min=1, help="How many MiB the body of a request may have.")] = 64,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    debug: options.DebugOption = False,
) -> None:
    """
    Answer OpenAI-style chat requests about pictures, sounds and clips.

    This is the server of transformers (transformers serve) with one model, which hears. It answers
    /v1/chat/completions, /v1/models and /health until Ctrl-C. docs/serving.md has the clients.

    \b
      soundclip serve
      soundclip serve org/my-adapter@v1 --port 8001 --dtype bfloat16
      soundclip serve org/my-adapter --sound-adapter rain=org/rain-adapter

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        from ...extras import require

        require("fastapi", "openai", "uvicorn", what="soundclip serve")
        adapters = _named(sound_adapter or [])
        folder = _folder(allowed_local_media_path)
        where = _listen(host, port)
        with where:
            from ...modeling.processing_soundllava import SoundLlavaProcessor
            from ...serving.app import run
            from ...serving.handler import ChatHandler, ServerSettings
            from ...serving.served_model import ServedModel
            from ..loading import ModelChoice, load

            loaded = load(ModelChoice(model, encoder=encoder, device=device, dtype=dtype, option="MODEL"))
            processors: dict[str, Any] = {}
            for name, source in adapters.items():
                try:
                    loaded.model.load_sound_adapter(source, name)
                    processors[name] = SoundLlavaProcessor.from_pretrained(source)
                except Exception as error:  # damaged files raise whatever their reader raises
                    raise CliError(f"--sound-adapter {name}={source}: cannot be loaded ({one_line(error)})") from error
            handler = ChatHandler(ServedModel(loaded, model, processors), ServerSettings(max_new_tokens, folder))
            address = f"http://{f'[{host}]' if ':' in host else host}:{where.getsockname()[1]}/v1"
            run(handler, where, max_request_mib * MIB, lambda: note(f"{model} answers at {address} (Ctrl-C stops it)"))


def _named(adapters: list[str]) -> dict[str, str]:
    """`NAME=REPO` of each adapter as a dictionary."""
    found: dict[str, str] = {}
    for given in adapters:
        name, equals, source = given.partition("=")
        if not name or not equals or not source:
            raise UsageError(f"--sound-adapter {given}: give NAME=REPO, such as rain=org/rain-adapter")
        if name in found:
            raise UsageError(f"--sound-adapter {given}: {name} is given twice; give each adapter a name of its own")
        found[name] = source
    return found


def _folder(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        reason = "is not a folder" if path.exists() else "no such folder"
        raise UsageError(f"--allowed-local-media-path {path}: {reason}")
    return None if path is None else path.resolve()


def _listen(host: str, port: int) -> "socket.socket":
    """The port, before a model is loaded for it."""
    from ...serving.listening import listen

    try:
        return listen(host, port)
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise CliError(f"--host {host} --port {port}: {reason}; give another, or stop what listens there") from error


__all__ = ["serve"]
