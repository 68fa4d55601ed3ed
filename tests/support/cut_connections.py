"""What a client runs while the Hub cuts its connection at every request in turn, before or after it was answered."""

# `sys.argv` names the old and the new folder; prints, for each request, what was said, and the commits.
CUT = """
import urllib.request
from pathlib import Path
from soundclip_hf.publishing.model_push import push_model
old, new = map(Path, sys.argv[1:])
def control(path, method):
    asked = urllib.request.Request(f"{os.environ['HF_ENDPOINT']}/test/cut{path}", method=method)
    return json.loads(urllib.request.urlopen(asked).read())["pending"]
def push(folder, name):
    return push_model(folder, f"org/{name}", tag="v2" if folder == new else None).commit
told, number, hit = [], 0, True
while hit:
    number += 1
    for moment in ("before", "after"):
        name = f"ears-{number}-{moment}"
        first = push(old, name)
        control(f"/{number}/{moment}", "POST")
        said = attempt(push, new, name)
        hit = not control("", "GET")
        if not hit:
            control("/1/before", "POST")
            attempt(urllib.request.urlopen, os.environ["HF_ENDPOINT"])  # takes it away
        told.append({"repo": f"org/{name}", "first": first, "said": said, "hit": hit, "done": push(new, name)})
print(json.dumps(told))
"""

__all__ = ["CUT"]
