"""The settings of a server and of what it is told, as a configuration has them."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path

from ...settings import SettingError
from .client import Server


@dataclass(frozen=True)
class ServerSettings:
    """Whom to ask, and with what instructions: as `chat_client.Server`.

    Attributes:
        api_key_env: Variable that holds the key, if there is one. The key itself is never written down.
        max_cost: Of all answers of the stage, over all runs; needs the prices.
        instructions: Text file in place of our own wording; `prompt_id` names it.
    """

    base_url: str = ""
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout: float = 120.0
    attempts: int = 6
    backoff: float = 1.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_tokens: int = 1024
    seed: int = 0
    max_cost: float | None = None
    input_price: float = 0.0
    output_price: float = 0.0
    instructions: str | None = None
    prompt_id: str | None = None

    def __post_init__(self) -> None:
        if not self.base_url or not self.model:
            raise SettingError("base_url and model are needed: where is the server, and what does it call the model?")
        for name in ("concurrency", "attempts", "max_tokens"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}={getattr(self, name)}: give at least 1")
        if self.max_cost is not None and not (self.input_price or self.output_price):
            raise SettingError(f"max_cost={self.max_cost:g} needs input_price and output_price, per million tokens")
        if (self.instructions is None) != (self.prompt_id is None):
            raise SettingError("instructions and prompt_id belong together: other words need another name")

    def server(self, share: int = 1) -> Server:
        """The server for one of `share` processes that ask it at the same time."""
        own = {"api_key_env", "max_cost", "instructions", "prompt_id"}
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in own}
        values["concurrency"] = max(1, self.concurrency // share)
        for name in ("requests_per_minute", "tokens_per_minute"):
            values[name] = None if values[name] is None else values[name] / share
        return Server(**values, api_key=os.environ.get(self.api_key_env), budget=self.max_cost)

    def wording(self) -> dict[str, str]:
        """The arguments of a prompt that replace our wording."""
        if self.instructions is None:
            return {}
        try:
            text = Path(self.instructions).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"instructions={self.instructions!r}: cannot be read ({error})") from error
        return {"instructions": text, "prompt_id": str(self.prompt_id)}


__all__ = ["ServerSettings"]
