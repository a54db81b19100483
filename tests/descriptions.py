"""Model descriptions as a hostile writer would leave them."""

import json

from epixs.storage.fingerprint import digest


def rewrite(folder, change):
    """Change a description and sign it again, as a hostile writer would."""
    content = json.loads((folder / "model.json").read_text())
    del content["fingerprint"]
    change(content)
    content["fingerprint"] = digest(content)
    (folder / "model.json").write_text(json.dumps(content))
