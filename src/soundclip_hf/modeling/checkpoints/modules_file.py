"""`modules.json`, from which sentence-transformers reads which class embeds with a folder.

Without the file, it would take the language model of a SoundLlava, and average the hidden states of its tokens.
"""

import json

MODULES_NAME = "modules.json"
# The class is in a package above this one, and needs sentence-transformers: only its name is known here.
MODULE_CLASS = "soundclip_hf.integrations.sentence_transformers.SoundClipModule"
MODULES = json.dumps([{"idx": 0, "name": "0", "path": "", "type": MODULE_CLASS}], indent=2) + "\n"

__all__ = ["MODULES", "MODULES_NAME", "MODULE_CLASS"]
