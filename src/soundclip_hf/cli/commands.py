"""Every command of `soundclip`, in one Typer application. What is heavy is imported inside the commands."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .align import SETTINGS_FOLLOW, align
from .apps.demo import demo
from .apps.serve import serve
from .apps.space import space
from .ave2 import ave2
from .convert import convert
from .describe import describe
from .env import env
from .evaluation import evaluate
from .evaluation.audit import audit
from .evaluation.reproduce import reproduce
from .evaluation.tradeoff import tradeoff
from .finetune import finetune
from .push import push
from .retrieval.embed import embed
from .retrieval.index import index
from .retrieval.search import search
from .samples import samples
from .settings_help import SettingsCommand

# Sections of `soundclip --help`, in the order in which a user meets them.
ASK = "Ask about clips and pictures"
SEARCH = "Search by sound"
MEASURE = "Check and measure a model"
TRAIN = "Train and publish"
DATA = "Make and read data"
HELP = "Get help"
HEADINGS = (ASK, SEARCH, MEASURE, TRAIN, DATA, HELP)
EXAMPLE = """
A first walk, with no network and no files of your own:

\b
  soundclip describe                           what makes the sound of a clip?
  soundclip samples samples                    clips, sounds and questions to try more
  soundclip audit --limit 16                   does the model really hear?
  soundclip finetune --config finetune/tiny    teach it, in some minutes
"""


class Sections(TyperGroup):
    """Lists the commands below one heading for each purpose; `rich_help_panel` names it."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        found: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
        width = max(map(len, self.commands))
        for name, command in self.commands.items():
            text = command.get_short_help_str(formatter.width - width - 6)
            # Padded, so that the texts of all sections stand below each other.
            found[str(getattr(command, "rich_help_panel", None))].append((name.ljust(width), text))
        for heading, rows in found.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


app = typer.Typer(
    cls=Sections,
    help="Sound for LLaVA: ask about pictures and clips, with their sound inside the visual tokens.",
    epilog=EXAMPLE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Boxes would break an error message over several lines.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(no_args_is_help=False, rich_help_panel=ASK)(describe)
app.command(rich_help_panel=ASK, short_help="Open a page in which a model answers.")(demo)
app.command(rich_help_panel=ASK, short_help="Answer the chat requests of OpenAI's clients.")(serve)
app.command(rich_help_panel=SEARCH)(embed)
app.command(rich_help_panel=SEARCH, short_help="Index the clips, sounds and pictures of a folder.")(index)
app.command(rich_help_panel=SEARCH, short_help="Find frames by a sound, and sounds by a picture.")(search)
app.command(rich_help_panel=MEASURE)(audit)
app.add_typer(evaluate, name="eval", rich_help_panel=MEASURE)
app.command(rich_help_panel=MEASURE, short_help="Compare a gain in retrieval with a loss in answers.")(tradeoff)
app.add_typer(reproduce, name="reproduce", rich_help_panel=MEASURE)
app.command(
    cls=SettingsCommand,
    context_settings=SETTINGS_FOLLOW,
    rich_help_panel=TRAIN,
    short_help="Train a projector between an audio encoder and CLIP.",
)(align)
app.command(
    cls=SettingsCommand,
    context_settings=SETTINGS_FOLLOW,
    rich_help_panel=TRAIN,
    short_help="Teach a model to answer about sound.",
)(finetune)
app.command(rich_help_panel=TRAIN, short_help="Convert an original checkpoint of an audio encoder.")(convert)
app.command(rich_help_panel=TRAIN, short_help="Publish a model or an adapter on the Hub.")(push)
app.command(rich_help_panel=TRAIN, short_help="Write a Hugging Face Space that shows a model.")(space)
app.command(rich_help_panel=DATA, short_help="Write sample files to try the other commands with.")(samples)
app.add_typer(
    ave2, name="ave2", rich_help_panel=DATA, short_help="Make, check and read audio-visual data sets (AVE-2)."
)
app.command(rich_help_panel=HELP, short_help="Print what a bug report needs.")(env)


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
