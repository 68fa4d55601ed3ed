"""A chat request to vLLM's OpenAI-compatible server, in which the pictures of a stock LLaVA carry a sound.

vLLM runs the language model of the base LLaVA, and takes its visual tokens as `image_embeds`. Towers and projectors run
here, on the client's side. The form of the request is that of "Embedding Inputs" in vLLM's documentation; no vLLM was
run to test it.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from ..modeling.processing_soundllava import SoundLlavaProcessor
from ..modeling.prompts.chat_messages import ChatOptions, rewrite_conversations


def visual_tokens(model: SoundLlavaForConditionalGeneration, inputs: Mapping[str, Any], **options: Any) -> list[Tensor]:
    """
    The visual tokens that take the places of the images in a prompt.

    Args:
        model: The SoundLlava, whose base LLaVA vLLM serves. Its language model is not run.
        inputs: Of its processor, on its device.
        **options: `sound_alignment`, `sound_alpha` and `sound_adapter` of `SoundLlavaModel.get_image_features`.

    Returns:
        One `(tokens, hidden)` tensor for each picture, and for each sound without one, in the order of the prompt: the
        output of LLaVA's `multi_modal_projector`, in the precision of the model. In drop mode these are `1 + k` tokens;
        in zero mode as many as in the base, and one more if `sound_select_strategy` is "full".

    Raises:
        ValueError: As `get_image_features`.
    """
    prompt = ("input_ids", "attention_mask", "mm_token_type_ids")
    media = {name: value for name, value in inputs.items() if name not in prompt}
    with torch.no_grad():
        return list(model.get_image_features(**media, **options, return_dict=True).pooler_output)


def embedding_messages(
    model: SoundLlavaForConditionalGeneration,
    processor: SoundLlavaProcessor,
    conversation: Sequence[Mapping[str, Any]],
    *,
    frame: str | float = "middle",
    num_frames: int = 1,
    sound_patches: str | None = None,
    sound_top_k: Any = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """
    The messages of a request to vLLM: those of a conversation, in which each picture, sound and video is replaced by
    parts of type `image_embeds`.

    Args:
        model: The SoundLlava, whose base LLaVA vLLM serves.
        processor: Its processor.
        conversation: Messages as for `SoundLlavaProcessor.apply_chat_template`.
        frame, num_frames: Of videos.
        sound_patches, sound_top_k: See `SoundLlavaProcessor.__call__`.
        **options: See [`visual_tokens`].

    Raises:
        ValueError: As `apply_chat_template` and `get_image_features`; if the conversation has neither pictures nor
            sounds.
        MediaError: If a medium cannot be read.
    """
    call = {"return_tensors": "pt", "sound_patches": sound_patches, "sound_top_k": sound_top_k}
    inputs = processor.apply_chat_template(
        list(conversation),
        tokenize=True,
        return_dict=True,
        frame=frame,
        num_frames=num_frames,
        processor_kwargs=call,
    ).to(model.device, model.dtype)
    if not {"pixel_values", "input_features"} & set(inputs):
        raise ValueError("The conversation has neither pictures nor sounds: send it to vLLM as it is.")
    parts = image_embeds_parts(visual_tokens(model, inputs, **options))
    # The same conversation with one image part for each of these tensors, in the same order; no medium is opened again.
    places = ChatOptions(
        load=False,
        frame=frame,
        num_frames=num_frames,
        load_audio=True,
        sampling_rate=None,
        source_rate=None,
        audio_token=processor.audio_token,
    )
    (messages,), _ = rewrite_conversations([conversation], places)
    remaining = iter(parts)
    for message in messages:
        if isinstance(message.get("content"), list):
            message["content"] = [
                next(remaining) if part["type"] == "image" else {"type": "text", "text": part["text"]}
                for part in message["content"]
            ]
    if next(remaining, None) is not None:
        raise ValueError(f"{len(parts)} visual slots, but the conversation shows fewer; this is a fault of ours.")
    return messages


def image_embeds_parts(embeds: Sequence[Tensor]) -> list[dict[str, Any]]:
    """
    Parts of chat messages for all visual tokens of one request, in their order.

    Args:
        embeds: Of [`visual_tokens`].

    Returns:
        `{"type": "image_embeds", "image_embeds": base64 text}` each. As vLLM's documentation asks, a single one is
        `(1, tokens, hidden)`, and several are `(tokens, hidden)` each.
    """
    single = len(embeds) == 1
    return [{"type": "image_embeds", "image_embeds": encode_tensor(one[None] if single else one)} for one in embeds]


def encode_tensor(tensor: Tensor) -> str:
    """A tensor as base64 text of what `torch.save` writes; vLLM reads it by `torch.load(..., weights_only=True)`."""
    buffer = io.BytesIO()
    # A view would be saved with all the memory behind it.
    torch.save(tensor.detach().cpu().clone(), buffer)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


__all__ = ["embedding_messages", "encode_tensor", "image_embeds_parts", "visual_tokens"]
