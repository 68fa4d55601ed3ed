"""Rewrites conversations with image, audio and video parts as conversations of images and text, and finds their slots.

The chat template of the base model then renders them, so that a prompt without sound is the same as the base model's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from ...media import Clip, read_clip
from ..slots.pairing import pair_sounds
from ..slots.slot import BatchSlots, VideoSound
from .arguments import as_int
from .message_parts import MISSING, Part, accepted_keys, media_outside_parts, read_part


@dataclass(frozen=True)
class ChatOptions:
    """
    How the media of a conversation are read.

    Attributes:
        load: False opens no file and only determines the slots (`tokenize=False`), and the sources of their sounds.
        frame: Default of a video part's `frame`: "middle", "first" or seconds.
        num_frames: Default of a video part's `num_frames`; each frame is an image, and all share the video's sound.
        load_audio: Default of a video part's `load_audio`; False takes the frames without the sound.
        sampling_rate: The rate at which the sound of a video is read, in Hz.
        source_rate: The rate of arrays whose part has no `sampling_rate`, in Hz.
        audio_token: The marker, which a text part must not contain; `None` allows it as ordinary text.
        images_elsewhere: The pictures come in `processor_kwargs`, so that image parts need no source.
    """

    load: bool
    frame: str | float
    num_frames: int
    load_audio: bool
    sampling_rate: int | None
    source_rate: int | None
    audio_token: str | None
    images_elsewhere: bool = False


def is_batched(conversation: Any) -> bool:
    """Whether there are several conversations: a list of lists, or of objects that have `messages`."""
    if not isinstance(conversation, (list, tuple)) or not conversation:
        return False
    return isinstance(conversation[0], (list, tuple)) or hasattr(conversation[0], "messages")


def rewrite_conversations(conversations: Sequence[Any], options: ChatOptions) -> tuple[list[list[dict]], BatchSlots]:
    """
    Rewrite audio and video parts into image parts, one for each visual slot.

    A video part is replaced by its frames. An audio part is removed from a conversation with images, and replaced by
    an image part without source in one without. The sound of a video belongs to its frames. Audio parts belong to the
    other images, in order: one for all of them, or one each. `{"type": "audio", "audio": None}` marks a silent image.

    A conversation is a list of messages, or an object with `messages`. Messages and their parts are dictionaries,
    dataclasses or pydantic models, such as those of an OpenAI client.

    Returns:
        New conversations (the given ones are not changed) and the slots of each.

    Raises:
        ValueError: If a conversation is empty, a message has no role, no content, or media beside it; if a part cannot
            be read (see [`read_part`]) or has no source; if the numbers of sounds and images do not fit, or a text
            holds the marker.
        TypeError: If a message is neither a dictionary, nor a dataclass, nor a pydantic model.
        MediaError: If a video cannot be read, or has no picture or no sound.
    """
    batch, rewritten = BatchSlots(), []
    for index, conversation in enumerate(conversations):
        where = f"conversation {index}"
        rewritten.append(_rewrite(_plain_messages(conversation, where), batch, options, where))
    return rewritten, batch


def _plain_messages(conversation: Any, where: str) -> list[dict]:
    """The messages as new dictionaries, whose `content` is a text, `None` or a list of [`Part`]s."""
    messages = []
    conversation = getattr(conversation, "messages", conversation)
    if not isinstance(conversation, Iterable):
        raise TypeError(f"{where} is a {type(conversation).__name__}; give a list of messages.")
    for index, given in enumerate(conversation):
        message, place = _plain(given), f"{where}: message {index}"
        if not isinstance(message, dict):
            raise TypeError(
                f"{place} is a {type(given).__name__}; give a dictionary, a dataclass or a pydantic model with `role` "
                "and `content`."
            )
        if not isinstance(message.get("role"), str):
            raise ValueError(
                f"{place} has no `role`; its keys are {', '.join(map(repr, message)) or 'none'}. Give a message such "
                'as {"role": "user", "content": [...]}, with the parts inside `content`.'
            )
        if outside := media_outside_parts(message):
            raise ValueError(
                f"{place} has {', '.join(map(repr, outside))} beside its content, which would not be read: give media "
                'as parts of `content`, such as {"type": "audio", "path": ...}.'
            )
        content = message.get("content")
        if isinstance(content, (list, tuple)):
            message["content"] = [
                read_part(_plain(part), f"{place}, part {number}") for number, part in enumerate(content)
            ]
        elif content is None and message["role"] == "assistant":
            message.pop("content", None)  # an answer that only calls tools
        elif not isinstance(content, str):
            raise ValueError(
                f"{place}: its content is {'missing' if content is None else f'a {type(content).__name__}'}; give a "
                "string or a list of parts."
            )
        messages.append(message)
    if not messages:
        raise ValueError(f"{where} has no messages.")
    return messages


def _plain(value: Any) -> Any:
    """A message or a part as a new dictionary. Its values are not converted: they may be clips or arrays."""
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return value.model_dump() if hasattr(value, "model_dump") else value


def _rewrite(conversation: Sequence[dict], batch: BatchSlots, options: ChatOptions, where: str) -> list[dict]:
    contents = [message.get("content") for message in conversation]
    has_images = any(part.kind in ("image", "video") for c in contents if isinstance(c, list) for part in c)
    heard: list[int | None] = []  # for each slot the row of its sound; None where an audio part may fill it
    audio: list[tuple[Any, int | None] | None] = []
    messages = []
    for index, (message, content) in enumerate(zip(conversation, contents)):
        if isinstance(content, str):
            _check_text(content, options, where)
        if not isinstance(content, list):
            messages.append(message)
            continue
        new_content: list[dict] = []
        for number, part in enumerate(content):
            place = f"{where}: message {index}, part {number}"
            if part.kind == "text":
                _check_text(part.source, options, where)
                new_content.append({**part.others, "type": "text", "text": part.source})
            elif part.kind == "image":
                _check_given(part, options, place)
                new_content.append(_image_part(part))
                heard.append(None)
            elif part.kind == "audio":
                _check_given(part, options, place)
                rate = options.source_rate if part.sampling_rate is None else part.sampling_rate
                audio.append(None if part.source is None else (part.source, rate))
                if not has_images:
                    new_content.append({"type": "image"})
            else:
                _check_given(part, options, place)
                frames, sound = _read_video(part, options, where)
                new_content.extend(frames)
                heard.extend([None if sound is None else batch.add_sounds([sound])[0]] * len(frames))
        messages.append({**message, "content": new_content})
    _pair(heard, audio, has_images, batch, where)
    return messages


def _pair(
    heard: list[int | None],
    audio: list[tuple[Any, int | None] | None],
    has_images: bool,
    batch: BatchSlots,
    where: str,
) -> None:
    """Add the slots of a conversation to `batch`."""
    free = [index for index, row in enumerate(heard) if row is None]
    if has_images and not free and any(sound is not None for sound in audio):
        raise ValueError(
            f"{where}: {len(audio)} audio part{'s' * (len(audio) != 1)} beside videos that bring their own sound: 0 "
            'images are left for them. Take the audio part out, or set "load_audio": False in the video part.'
        )
    pairs = pair_sounds(len(free) if has_images else 0, audio, where)
    rows = batch.add_sounds(audio)
    paired = [rows[sound] if sound >= 0 else -1 for sound in pairs]
    if has_images:
        remaining = iter(paired)
        paired = [next(remaining) if row is None else row for row in heard]
    batch.add_sample(paired, has_images)


def _check_text(text: Any, options: ChatOptions, where: str) -> None:
    if options.audio_token is not None and isinstance(text, str) and options.audio_token in text:
        raise ValueError(
            f"{where}: {options.audio_token} in a text part: give the sound as a part of its own, "
            '{"type": "audio", "path": ...}, without the marker.'
        )


def _image_part(part: Part) -> dict:
    """An image part for the template, which may write its `url` or `path`."""
    if part.source is MISSING:
        return {**part.others, "type": "image"}
    key = part.key if part.key in ("image", "url", "path") else "url" if isinstance(part.source, str) else "image"
    return {**part.others, "type": "image", key: part.source}


def _check_given(part: Part, options: ChatOptions, where: str) -> None:
    if part.source is not MISSING or not options.load or (part.kind == "image" and options.images_elsewhere):
        return
    raise ValueError(
        f"{where}: a part of type {part.kind!r} has no source: give one of {accepted_keys(part.kind)}; to render the "
        "text alone, pass tokenize=False."
    )


def _read_video(part: Part, options: ChatOptions, where: str) -> tuple[list[dict], tuple[Any, int | None] | None]:
    """The image parts that replace a video part, and its sound."""
    chosen = {name: value for name, value in part.others.items() if value is not None}
    count = as_int("num_frames", chosen.get("num_frames", options.num_frames), 1)
    with_sound = chosen.get("load_audio", options.load_audio)
    if not options.load:
        return [{"type": "image"} for _ in range(count)], (VideoSound(part.source), None) if with_sound else None
    clip = part.source
    if not isinstance(clip, Clip):
        frame = chosen.get("frame", options.frame)
        clip = read_clip(clip, frame=frame, sampling_rate=options.sampling_rate, frames=count)
    if clip.frame is None:
        raise ValueError(f'{where}: {clip.path} has no video stream; give it as {{"type": "audio", ...}}.')
    if with_sound and clip.waveform is None:
        raise ValueError(
            f'{where}: {clip.path} has no audio stream; set "load_audio": False in the video part, or give a frame as '
            '{"type": "image", ...}.'
        )
    frames = clip.frames if count > 1 and clip.frames else (clip.frame,)
    sound = (clip.waveform, clip.sampling_rate) if with_sound else None
    return [{"type": "image", "image": frame} for frame in frames], sound


def default_chat_template(tokenizer: Any, image_token: str) -> str:
    """The template for a base model without one: the tokenizer's if it renders images, else LLaVA-1.5's."""
    own = getattr(tokenizer, "chat_template", None)
    # The template of a tokenizer is often that of a text-only model, and does not render images.
    if isinstance(own, str) and "image" in own:
        return own
    template = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
    return template.replace("<image>", image_token)


__all__ = ["ChatOptions", "default_chat_template", "is_batched", "rewrite_conversations"]
