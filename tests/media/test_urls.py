"""URLs that do not answer."""

from __future__ import annotations

import pytest

from soundclip_hf.media import MediaError, limits, load_sound


def test_bad_urls(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "URL_TIMEOUT_SECONDS", 0.3)
    with pytest.raises(MediaError, match=r"/gone.wav: the server answered 404"):
        load_sound(f"{site}/gone.wav", sampling_rate=16000)
    with pytest.raises(MediaError, match=r"/slow: cannot be fetched \(no answer within 0.3 s\)"):
        load_sound(f"{site}/slow", sampling_rate=16000)
    with pytest.raises(MediaError, match="cannot be fetched"):
        load_sound("http://127.0.0.1:1/a.wav", sampling_rate=16000)
    with pytest.raises(MediaError, match="cannot be fetched"):
        load_sound("http://[bad/a.wav", sampling_rate=16000)
