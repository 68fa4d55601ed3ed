"""A server as a configuration file describes it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar

from ...settings import SettingError
from .credentials import endpoint, read_key
from .server import Server, ServerOptions, check_prices


@dataclass(frozen=True, repr=False)
class ServerSettings(ServerOptions):
    """A model on a server, and the instructions that it gets.

    Attributes:
        api_key_env: Environment variable with the key. The key itself is never written down.
        max_cost: Most that the answers of the server may cost in one stage of a build, over all runs. It needs the
            prices.
        instructions: Text file that replaces our instructions.
        prompt_id: Name of these instructions, such as "mine/1".

    Raises:
        SettingError: A value is missing or out of range.
    """

    base_url: str = ""
    model: str = ""
    api_key_env: str = field(default="OPENAI_API_KEY", kw_only=True)
    max_cost: float | None = field(default=None, kw_only=True)
    instructions: str | None = field(default=None, kw_only=True)
    prompt_id: str | None = field(default=None, kw_only=True)

    shared_limits: ClassVar[tuple[str, ...]] = (*ServerOptions.shared_limits, "max_cost")

    def __post_init__(self) -> None:
        if not self.base_url or not self.model:
            raise SettingError("base_url and model are needed: the address of the server, and its name for the model")
        super().__post_init__()
        endpoint(self.base_url, None)
        check_prices(self, "max_cost")
        if (self.instructions is None) != (self.prompt_id is None):
            raise SettingError("instructions and prompt_id belong together: other instructions need another prompt_id")

    def server(self, processes: int = 1) -> Server:
        """The server as one process sees it.

        Args:
            processes: How many ask the server at the same time; each gets an equal share of its limits. At most
                `concurrency`, since each process sends at least one request at a time.

        Raises:
            SettingError: As of `credentials.read_key`.
        """
        options = {option.name: getattr(self, option.name) for option in fields(ServerOptions)}
        options["concurrency"] = max(1, self.concurrency // processes)
        for name in ("requests_per_minute", "tokens_per_minute"):
            options[name] = None if options[name] is None else options[name] / processes
        return Server(**options, api_key=read_key(self.api_key_env), budget=self.max_cost)

    def prompt_arguments(self) -> dict[str, str]:
        """The arguments of a prompt that replace our instructions; empty if ours are used.

        Raises:
            SettingError: The file of instructions cannot be read.
        """
        if self.instructions is None:
            return {}
        try:
            text = Path(self.instructions).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"instructions={self.instructions!r}: cannot be read ({error})") from error
        return {"instructions": text, "prompt_id": str(self.prompt_id)}


__all__ = ["ServerSettings"]
