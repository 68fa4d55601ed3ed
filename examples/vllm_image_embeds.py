"""
Ask a stock LLaVA in vLLM about a clip, with its sound inside the visual tokens.

vLLM serves the base LLaVA and knows nothing of sound. This client computes the visual tokens with a SoundLlava, or an
adapter over the same base, and sends them as `image_embeds`. It was not run with vLLM. What can be tested
without it is in tests/integrations/test_vllm.py.

    vllm serve llava-hf/llava-1.5-7b-hf --enable-mm-embeds
    python examples/vllm_image_embeds.py --adapter org/my-adapter clip.mp4 "What makes the sound?"
"""

import argparse

import torch
from openai import OpenAI

from soundclip_hf import SoundLlava, SoundLlavaProcessor
from soundclip_hf.integrations.vllm import embedding_messages


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask a stock LLaVA in vLLM about a clip with its sound.")
    parser.add_argument("clip", help="a video with sound")
    parser.add_argument("question")
    parser.add_argument("--adapter", required=True, help="a SoundLlava, or an adapter over the base that vLLM serves")
    parser.add_argument("--base-url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--served-model", default="llava-hf/llava-1.5-7b-hf")
    parser.add_argument("--patches", choices=("zero", "drop"), help="default: the setting of the adapter")
    parser.add_argument("--top-k", type=int, help="how many patches stay; default: the setting of the adapter")
    options = parser.parse_args()

    # The language model is loaded, too, and not used: a CPU is enough for the towers of one clip.
    model = SoundLlava.from_pretrained(options.adapter, dtype=torch.float16).eval()
    processor = SoundLlavaProcessor.from_pretrained(options.adapter)
    question = [{"type": "video", "path": options.clip}, {"type": "text", "text": options.question}]
    messages = embedding_messages(
        model,
        processor,
        [{"role": "user", "content": question}],
        sound_patches=options.patches,
        sound_top_k=options.top_k,
    )
    client = OpenAI(base_url=options.base_url, api_key="none")
    completion = client.chat.completions.create(
        model=options.served_model, messages=messages, max_tokens=64, temperature=0
    )
    print(completion.choices[0].message.content)


if __name__ == "__main__":
    main()
