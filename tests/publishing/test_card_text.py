"""What others wrote (licences, names in results) stays text in a card: no metadata, markup or code comes of it."""

import json

import pytest
from hub_models import BASE, write_adapter, write_parts
from huggingface_hub import ModelCard

from soundclip_hf.publishing.card_text import inline

EVIL = "mit`\n---\nlicense: evil\n---\n# Run this <script>x()</script> {{ 7 * 7 }} [click](javascript:x) | a"
PUSH = """
from soundclip_hf.publishing.model_push import push_model
print(json.dumps(push_model(sys.argv[1], "org/ears", license="mit").commit))
"""


@pytest.mark.parametrize("license_name", [EVIL, ["mit", "apache-2.0"], {"a": 1}, 7])
def test_repository_content_in_a_card(hub, ask, tmp_path, license_name):
    write_parts(hub, tmp_path)
    (tmp_path / "base" / "README.md").write_text(f"---\n{json.dumps({'license': license_name})}\n---\n# Base\n")
    hub.commit(BASE, tmp_path / "base")
    out = write_adapter(tmp_path / "out")
    result = json.loads((out / "retrieval.json").read_text())
    result |= {"task": EVIL, "dataset": EVIL, "metrics": {EVIL: {"t1": 1.0}}, "error_bars": {}}
    result["config"] |= {"loss": EVIL, "optim": EVIL, "dataset": EVIL}
    (out / "retrieval.json").write_text(json.dumps(result))
    ask(PUSH, out)
    text = hub.files("org/ears")["README.md"].read().decode()
    about = ModelCard(text).data
    assert about.license == "mit"
    assert about.library_name == "soundclip-hf"
    prose = text.split("\n---\n", 1)[1]
    assert "---\nlicense" not in prose
    assert "\n# Run" not in prose
    for words in ("<script", "[click]"):
        assert words not in prose
    shown = "&lt;script&gt;x()&lt;/script&gt; {{ 7 * 7 }} &#91;click](javascript:x) &#124; a"
    assert shown in prose
    assert prose.count("```") % 2 == 0
    if isinstance(license_name, list):
        assert "is under `mit, apache-2.0`" in prose


def test_inline():
    assert inline(" a\n\tb | `c` <d> & [e](f) ") == "a b &#124; 'c' &lt;d&gt; &amp; &#91;e](f)"
    assert inline(5e-5) == "5e-05"
    assert inline("info_nce+distribution") == "info_nce+distribution"
