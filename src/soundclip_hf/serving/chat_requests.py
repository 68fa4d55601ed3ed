"""The body of a chat request: its fields are checked, and what is wrong gets an HTTP status and a reason."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from ..modeling.configuration_soundclip import PatchMode
from ..text_tables import check_writable

# A video is never cut into more pictures than this: each is decoded, and takes its tokens.
MAX_FRAMES = 32
MAX_STOPS = 4
ALIGNMENTS = ("projected", "raw")


class RequestError(Exception):
    """
    A request that is not answered.

    Attributes:
        status: Of the HTTP response.
        param: The field of the request, in OpenAI's form, such as `messages[0].content[1]`; None where there is none.
        code: A word for programs, such as "model_not_found"; None for most errors.
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def body(self) -> dict[str, Any]:
        """The JSON of the response, as OpenAI's clients read it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class SoundOptions:
    """
    How sounds are heard; None takes the setting of the model. See `SoundLlavaModel.get_image_features`.

    Attributes:
        adapter: Name of a sound adapter of the server.
    """

    top_k: int | list[int | None] | None = None
    patches: str | None = None
    alignment: str | None = None
    alpha: float | None = None
    adapter: str | None = None


@dataclass(frozen=True)
class ChatRequest:
    """
    A chat request whose fields are checked; its messages are not read yet.

    Attributes:
        model: The name that the request gives; None if it gives none.
        max_new_tokens: None if the request does not say.
        temperature, top_p: None takes the setting of the model; a temperature of 0 takes the most probable token.
        stop: The answer ends before the first of these.
        frame, num_frames: See `SoundLlavaProcessor.apply_chat_template`.
        return_sound_info: Whether the response says what was heard.
    """

    messages: list[Any]
    model: str | None
    stream: bool
    max_new_tokens: int | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    stop: tuple[str, ...]
    sound: SoundOptions
    frame: str | float
    num_frames: int
    return_sound_info: bool


Check = Callable[[Any], bool]


def _is_int(value: Any, low: int, high: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _is_top_k(value: Any) -> bool:
    return _is_int(value, 0) or (isinstance(value, list) and all(one is None or _is_int(one, 0) for one in value))


def _is_stop(value: Any) -> bool:
    stops = value if isinstance(value, list) else [value]
    return len(stops) <= MAX_STOPS and all(isinstance(one, str) and one for one in stops)


def _one_of(*allowed: Any) -> tuple[Check, str]:
    return (lambda value: value in allowed), "must be " + " or ".join(map(repr, allowed))


# Field -> what its value must be, and how that is said. A value of None counts as absent.
FIELDS: dict[str, tuple[Check, str]] = {
    "model": (lambda value: isinstance(value, str), "must be a string"),
    "messages": (lambda value: isinstance(value, list) and bool(value), "must be a list of at least one message"),
    "stream": (lambda value: isinstance(value, bool), "must be true or false"),
    "max_tokens": (lambda value: _is_int(value, 1), "must be an int >= 1"),
    "max_completion_tokens": (lambda value: _is_int(value, 1), "must be an int >= 1"),
    "temperature": (lambda value: _is_number(value, 0, 2), "must be a number in 0..2"),
    "top_p": (lambda value: _is_number(value, 0, 1) and value > 0, "must be a number above 0 and at most 1"),
    "seed": (lambda value: _is_int(value, -(2**63), 2**63 - 1), "must be a 64-bit int"),
    "stop": (_is_stop, f"must be a string, or a list of at most {MAX_STOPS}; none may be empty"),
    "sound_top_k": (_is_top_k, "must be an int >= 0, or a list with one for each picture"),
    "sound_patches": _one_of(*get_args(PatchMode)),
    "sound_alignment": _one_of(*ALIGNMENTS),
    "sound_alpha": (lambda value: _is_number(value, 0, 1), "must be a number in 0..1"),
    "sound_adapter": (lambda value: isinstance(value, str), "must be the name of a sound adapter of this server"),
    "frame": (
        lambda value: value in ("middle", "first") if isinstance(value, str) else _is_number(value, 0, 1e9),
        "must be 'middle', 'first', or seconds >= 0",
    ),
    "num_frames": (lambda value: _is_int(value, 1, MAX_FRAMES), f"must be an int in 1..{MAX_FRAMES}"),
    "return_sound_info": (lambda value: isinstance(value, bool), "must be true or false"),
}
# Fields of OpenAI that do not change an answer.
_WITHOUT_EFFECT = {
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "store",
    "stream_options",
    "user",
}
# Fields of OpenAI that this server does not have, and the values that ask for nothing.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none",),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}


def read_request(body: Mapping[str, Any]) -> ChatRequest:
    """
    Check the fields of a request, and give those that are absent their defaults.

    Raises:
        RequestError: If there is a field that is not known, or a value that is not allowed; 400, with the field.
    """
    for name, value in body.items():
        _check_field(name, value)
    given = {name: value for name, value in body.items() if value is not None}
    if "messages" not in given:
        raise RequestError("messages: the request has none; give a list of at least one message", param="messages")
    limits = [given[name] for name in ("max_completion_tokens", "max_tokens") if name in given]
    stop = given.get("stop", [])
    return ChatRequest(
        messages=given["messages"],
        model=given.get("model"),
        stream=given.get("stream", False),
        max_new_tokens=limits[0] if limits else None,
        temperature=given.get("temperature"),
        top_p=given.get("top_p"),
        seed=given.get("seed"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        sound=SoundOptions(
            top_k=given.get("sound_top_k"),
            patches=given.get("sound_patches"),
            alignment=given.get("sound_alignment"),
            alpha=given.get("sound_alpha"),
            adapter=given.get("sound_adapter"),
        ),
        frame=given.get("frame", "middle"),
        num_frames=given.get("num_frames", 1),
        return_sound_info=given.get("return_sound_info", False),
    )


def check_value(name: str, value: Any, where: str = "") -> None:
    """
    Check the value of one field of a request; None is allowed everywhere.

    Args:
        where: Put in front of the name in the message, where the field stands in a part of a message.

    Raises:
        RequestError: If it is not allowed.
    """
    allowed, words = FIELDS[name]
    if value is not None and not allowed(value):
        raise RequestError(f"{where}{name}={_short(value)}: {words}", param=name)
    if name == "stop":
        check_text(value, name, name)


def check_text(value: Any, place: str, param: str) -> None:
    """
    Raises:
        RequestError: If a text, or one of a list, holds what no tokenizer can read.
    """
    try:
        check_writable(value)
    except ValueError as error:
        raise RequestError(f"{place}: {error}", param=param) from error


def _check_field(name: str, value: Any) -> None:
    if name in FIELDS:
        check_value(name, value)
    elif name in _UNSUPPORTED:
        # 0 and False are equal in Python, and both ask for nothing.
        if value is not None and value not in _UNSUPPORTED[name]:
            raise RequestError(f"{name}={_short(value)}: not supported by this server; leave it out", param=name)
    elif name not in _WITHOUT_EFFECT:
        near = get_close_matches(name, FIELDS, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Its own options are {', '.join(_own_options())}."
        raise RequestError(f"{name}: this server has no such option. {hint}", param=name)


def _own_options() -> Sequence[str]:
    names = list(FIELDS)
    return names[names.index("sound_top_k") :]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


__all__ = [
    "FIELDS",
    "MAX_FRAMES",
    "ChatRequest",
    "RequestError",
    "SoundOptions",
    "check_text",
    "check_value",
    "read_request",
]
