"""Every command of `soundclip`, in one Typer application. What is heavy is imported inside the commands."""

from importlib.metadata import version
from typing import Annotated

import typer

from .align import SETTINGS_FOLLOW, align
from .ave2 import ave2
from .convert import convert
from .describe import describe
from .embed import embed
from .env import env
from .evaluation import evaluate
from .evaluation.audit import audit
from .evaluation.reproduce import reproduce
from .evaluation.tradeoff import tradeoff
from .finetune import finetune
from .index import index
from .push import push
from .search import search

app = typer.Typer(
    help="Sound for LLaVA: ask about pictures and clips, with their sound inside the visual tokens.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Boxes would break an error message over several lines.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(no_args_is_help=False)(describe)
app.command()(embed)
app.command()(index)
app.command()(search)
app.command()(convert)
app.command(context_settings=SETTINGS_FOLLOW)(align)
app.command(context_settings=SETTINGS_FOLLOW)(finetune)
app.command()(push)
app.add_typer(ave2, name="ave2")
app.add_typer(evaluate, name="eval")
app.command()(audit)
app.command()(tradeoff)
app.add_typer(reproduce, name="reproduce")
app.command()(env)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"soundclip {version('soundclip-hf')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


__all__ = ["app"]
