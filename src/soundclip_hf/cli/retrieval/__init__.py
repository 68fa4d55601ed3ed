"""`soundclip embed`, `index` and `search`: vectors of sounds and pictures, and finding one by the other."""
