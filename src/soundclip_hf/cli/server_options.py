"""Options of the commands that ask a model on a server."""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import UsageError

if TYPE_CHECKING:
    from ..data.inference.server import Server

PriceOption = Annotated[float, typer.Option(min=0.0, help="Price of a million tokens.")]


@dataclass(frozen=True)
class RequestOptions:
    """How models are asked. `with_options` makes each field an option of a command."""

    api_key_env: Annotated[str, typer.Option(help="Environment variable with the key, if the server needs one.")] = (
        "OPENAI_API_KEY"
    )
    cache: Annotated[
        Path | None,
        typer.Option(help="File of the answers, for later runs.  [default: a .sqlite file beside the output]"),
    ] = None
    concurrency: Annotated[int, typer.Option(min=1, help="Most requests in flight, for each server.")] = 8
    requests_per_minute: Annotated[
        float | None, typer.Option(min=0.01, help="Most requests per minute, for each server.")
    ] = None
    tokens_per_minute: Annotated[
        float | None, typer.Option(min=0.01, help="Most tokens per minute, for each server.")
    ] = None
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for one answer.")] = 120.0
    attempts: Annotated[int, typer.Option(min=1, help="Most tries per request.")] = 6
    max_cost: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Most that answers may cost, for each server, over all runs with this cache; needs prices."
        ),
    ] = None
    input_price: PriceOption = 0.0
    output_price: PriceOption = 0.0
    seed: Annotated[int, typer.Option(min=0, help="Sent with each request.")] = 0
    max_tokens: Annotated[
        int, typer.Option(min=1, help="Most tokens of one answer, its reasoning included; longer ones are cut off.")
    ] = 1024
    extra_body: Annotated[
        str | None,
        typer.Option(metavar="JSON", help='More of each request, such as {"top_p": 0.9}; it overrides what is sent.'),
    ] = None

    def server(self, base_url: str, model: str) -> "Server":
        """
        Raises:
            UsageError: There is a budget without prices, or an option of the server cannot be used.
        """
        from ..data.inference.credentials import read_key
        from ..data.inference.server import Server
        from ..settings import SettingError

        if self.max_cost is not None and not (self.input_price or self.output_price):
            raise UsageError("--max-cost needs --input-price and --output-price, per million tokens")
        try:
            return Server(
                base_url,
                model,
                api_key=read_key(self.api_key_env),
                budget=self.max_cost,
                extra_body=_json_option(self.extra_body),
                **{name: getattr(self, name) for name in SERVER_OPTIONS},
            )
        except SettingError as error:
            raise UsageError(str(error)) from error


@dataclass(frozen=True)
class ClipRequestOptions(RequestOptions):
    """The same for models that get clips."""

    frames: Annotated[int, typer.Option(min=1, help="Number of frames of a clip that are sent.")] = 4


# What `Server` has under the same name.
SERVER_OPTIONS = (
    *("concurrency", "requests_per_minute", "tokens_per_minute", "timeout", "attempts"),
    *("input_price", "output_price", "seed", "max_tokens"),
)


def _json_option(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--extra-body: is no JSON ({error})") from error


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `options` of a command, a `RequestOptions`, by one parameter for each field.

    typer reads the options of a command from its signature, and several commands have these.
    """
    signature, parameters = inspect.signature(command), list[inspect.Parameter]()
    kind: type[RequestOptions] = signature.parameters["options"].annotation
    for parameter in signature.parameters.values():
        keyword = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        if parameter.name != "options":
            parameters.append(keyword)
            continue
        for field in fields(kind):
            parameters.append(keyword.replace(name=field.name, default=field.default, annotation=field.type))

    @wraps(command)
    def run(**values: Any) -> None:
        options = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values, options=options)

    vars(run)["__signature__"] = signature.replace(parameters=parameters)
    return run


__all__ = ["ClipRequestOptions", "RequestOptions", "with_options"]
