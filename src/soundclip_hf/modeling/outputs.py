"""What the SoundLlava models return."""

from dataclasses import dataclass

from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.llava.modeling_llava import LlavaCausalLMOutputWithPast, LlavaModelOutputWithPast

from .slots.assembly import SoundInfo


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
class SoundLlavaModelOutputWithPast(LlavaModelOutputWithPast):
    """LLaVA's output and `sound_info` (`list[SoundInfo]`, *optional*)."""

    sound_info: list[SoundInfo] | None = None


@dataclass
class SoundLlavaCausalLMOutputWithPast(LlavaCausalLMOutputWithPast):
    """LLaVA's output and `sound_info` (`list[SoundInfo]`, *optional*): with `return_sound_info=True`, one per slot."""

    sound_info: list[SoundInfo] | None = None
