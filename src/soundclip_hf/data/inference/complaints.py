"""What a server complains about, and what follows: for the run, for one request, or for the parameters of all requests.

The patterns are the wordings of OpenAI and Azure, vLLM, SGLang, llama.cpp, Ollama, TGI, Mistral, Groq, DeepSeek,
OpenRouter and LiteLLM.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .replies import Complaint

log = logging.getLogger(__name__)

# HTTP statuses, beside those from 500 on, after which the same request may succeed.
TEMPORARY = {408, 409, 425, 429}
# Those after which no request will: a key, an address or a model that is wrong, or no money.
HOPELESS = {401, 402, 403, 404, 405, 407, 410}

_MONEY = re.compile(
    r"insufficient[ _](?:quota|balance|credits?|funds)|billing_hard_limit|billing[ _]not[ _]active|payment required|"
    r"out of credits|credit balance is too low|no credits",
    re.IGNORECASE,
)
_ACCESS = re.compile(
    r"(?:invalid|incorrect|missing|expired|no)[ _](?:api[ _-]?key|auth)|"
    r"api[ _]key (?:is )?(?:not valid|invalid|missing)|"
    r"authentication|unauthori[sz]ed|permission[ _]denied|no auth credentials|user not found|"
    r"model[ _]not[ _]found|no such model|unknown model|model\b.{0,80}\b(?:does not exist|not found|is not available)",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"context[ _-]?(?:length|size|window)|exceed_context|max_model_len|prompt is too long|input is too long|"
    r"too many (?:input )?tokens|reduce the length|longer than the model|too large for model|"
    r"maximum (?:sequence|input|prompt) length|tokens` \+ `?max_new_tokens|prompt contains \d+ tokens",
    re.IGNORECASE,
)
_TOKEN_LIMIT = re.compile(
    r"\bmax_(?:completion_)?tokens\b.{0,80}(?:too large|less than or equal|at most|maximum value|exceeds the)",
    re.IGNORECASE,
)
_FORMAT = re.compile(
    r"response_format|json_schema|json_object|json schema|structured|guided|grammar|invalid format", re.IGNORECASE
)
_REFUSED = re.compile(
    r"support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|forbidden|extra|invalid|deprecated|"
    r"unavailable|not available|must be|cannot be|can't be|incompatible|additional propert|not implemented|removed",
    re.IGNORECASE,
)


class Meaning(Enum):
    """What a complaint is about."""

    SERVER = "no request will succeed"
    CONTEXT = "this prompt is too long for the model"
    TOKEN_LIMIT = "no answer may be as long as max_tokens"
    PASSING = "the same request may succeed later"
    REQUEST = "this request will not succeed"


def meaning(complaint: Complaint) -> Meaning:
    """What a complaint means, if it is not about a parameter (`Dialect.learn`)."""
    status, words = complaint.status, f"{complaint.words} {' '.join(complaint.codes)}"
    if status in HOPELESS or _MONEY.search(words):
        return Meaning.SERVER
    if status in (200, 400) and _ACCESS.search(words):
        return Meaning.SERVER
    if _TOKEN_LIMIT.search(words) and "context length" not in words and status < 500:
        return Meaning.TOKEN_LIMIT
    if _CONTEXT.search(words) and status not in (408, 429):
        return Meaning.CONTEXT
    if status in TEMPORARY or status >= 500 or status == 200:
        return Meaning.PASSING
    return Meaning.REQUEST


def refused_parameter(complaint: Complaint, sent: Collection[str]) -> str | None:
    """The parameter of a request that a server does not take; None if the complaint is about something else."""
    if complaint.status in HOPELESS or complaint.status in TEMPORARY:
        return None
    if complaint.status != 422 and meaning(complaint) in (Meaning.SERVER, Meaning.CONTEXT, Meaning.TOKEN_LIMIT):
        return None
    for name in complaint.named:
        if name in sent:
            return name
    words = complaint.words
    places = {}
    if _REFUSED.search(words):
        found = ((name, re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words)) for name in sent)
        places = {name: match.start() for name, match in found if match is not None}
    if not places and "response_format" in sent and _FORMAT.search(words):
        return "response_format"
    # A server that names several, as in a list of what it takes, names the one that is wrong first.
    return min(places, key=places.__getitem__, default=None)


@dataclass
class Dialect:
    """How a server wants the parameters of a request for one model. It begins as OpenAI's API, and learns.

    Attributes:
        where: The server and the model, for the log.
        names: Our name of a parameter -> the server's; None if it takes none.
        format: Which of the forms of `response_format` is sent: 0 for a JSON schema, 1 for any JSON object, 2 for none.
    """

    where: str
    names: dict[str, str | None] = field(default_factory=dict)
    format: int = 0

    def body(self, parameters: Mapping[str, Any], fixed: Collection[str]) -> dict[str, Any]:
        """
        Args:
            parameters: By our names.
            fixed: Names of those that the user has set, which are sent as they are.
        """
        named = ((name if name in fixed else self.names.get(name, name), value) for name, value in parameters.items())
        return {name: value for name, value in named if name is not None}

    def learn(self, refused: str, body: Mapping[str, Any], why: str) -> bool:
        """Do without a parameter from now on, or send it under another name.

        Args:
            refused: Its name in the body that was refused.
            body: What was sent; what other requests have learned meanwhile is not learned twice.
            why: The server's words, for the log.

        Returns:
            Whether another body can be sent. Without a limit of tokens none is: what an answer costs would be unknown.
        """
        if refused == "response_format":
            sent = 0 if body[refused].get("type") == "json_schema" else 1
            if self.format <= sent:
                self.format = sent + 1
                form = "any JSON object" if self.format == 1 else "plain text"
                self._tell(f"asks for {form} in place of the response_format {body[refused]['type']}", why)
            return True
        if refused == "max_tokens":
            if refused not in self.names:
                self.names[refused] = "max_completion_tokens"
                self._tell("sends max_completion_tokens in place of max_tokens", why)
            return True
        if refused in ("temperature", "seed"):
            if refused not in self.names:
                self.names[refused] = None
                self._tell(f"leaves out {refused}", why)
            return True
        return False

    def _tell(self, change: str, why: str) -> None:
        log.warning("%s: this run %s, since the server says: %s", self.where, change, why)


__all__ = ["Dialect", "Meaning", "meaning", "refused_parameter"]
