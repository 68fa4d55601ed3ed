"""What the SoundLlava models return."""

from dataclasses import dataclass

from torch import Tensor
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling
from transformers.utils import ModelOutput

from .substitution import SoundInfo


@dataclass
class SoundLlavaImageFeatures(BaseModelOutputWithPooling):
    """
    Args:
        pooler_output (`list[torch.Tensor]`):
            One `(tokens, hidden_size)` tensor per visual slot, in placeholder order.
        sound_info (`list[SoundInfo]`, *optional*):
            What the sound did to each slot; `None` for a silent batch.
    """

    sound_info: list[SoundInfo] | None = None


@dataclass
class SoundLlavaModelOutputWithPast(BaseModelOutputWithPast):
    """`BaseModelOutputWithPast` with the visual tokens (`image_hidden_states`) and `sound_info`."""

    image_hidden_states: Tensor | None = None
    sound_info: list[SoundInfo] | None = None


@dataclass
class SoundLlavaCausalLMOutputWithPast(ModelOutput):
    """
    Args:
        loss (`torch.Tensor` of shape `(1,)`, *optional*): Language modeling loss, with `labels`.
        logits (`torch.Tensor` of shape `(batch, sequence, vocab_size)`): Scores before the softmax.
        past_key_values (`Cache`, *optional*): Keys and values of the language model.
        hidden_states, attentions (`tuple`, *optional*): Of the language model, on request.
        image_hidden_states (`torch.Tensor` of shape `(visual tokens, hidden_size)`, *optional*): What was put in place
            of the placeholders.
        sound_info (`list[SoundInfo]`, *optional*): With `return_sound_info=True`, one entry per visual slot.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    image_hidden_states: Tensor | None = None
    sound_info: list[SoundInfo] | None = None
