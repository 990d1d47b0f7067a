"""Makes the gateway's configuration file of a deployment's outputs:

    terraform output -json | python3 settings.py > gateway.toml

An output whose name has two underscores is a setting, section and key; the others are not the gateway's. Knows no
setting.
"""

import json
import sys


def value(said):
    """TOML writes texts, numbers, booleans and lists of them as JSON does."""
    if isinstance(said, dict):
        return "{ " + ", ".join(f"{key} = {value(item)}" for key, item in said.items()) + " }"
    if isinstance(said, list):
        return "[" + ", ".join(value(item) for item in said) + "]"
    return json.dumps(said, ensure_ascii=False)


def configuration(outputs):
    sections = {}
    for name, output in sorted(outputs.items()):
        section, separator, key = name.partition("__")
        if separator:
            sections.setdefault(section, {})[key] = output["value"]
    blocks = []
    for section, settings in sections.items():
        lines = [f"{key} = {value(said)}" for key, said in settings.items()]
        blocks.append("\n".join([f"[{section}]", *lines]) + "\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    sys.stdout.write(configuration(json.load(sys.stdin)))
