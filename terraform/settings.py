"""Makes the gateway's configuration file of a deployment's outputs:

    terraform output -json | python3 settings.py > gateway.toml

An output whose name has two underscores is a setting, section and key, and so is each part of `further_settings`; the
others are not the gateway's. Knows no setting.

What a plan comes to, before it is applied: `terraform show -json PLAN | jq .planned_values.outputs` instead. What AWS
has to make first has no value there, and is left out.
"""

import json
import sys


def value(said):
    """TOML writes texts, numbers, booleans and lists of them as JSON does, and a key as a text."""
    if isinstance(said, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {value(item)}" for key, item in said.items()) + " }"
    if isinstance(said, list):
        return "[" + ", ".join(value(item) for item in said) + "]"
    return json.dumps(said, ensure_ascii=False)


def settings(outputs):
    """Every setting, by section and key with two underscores between."""
    named = {name: output["value"] for name, output in outputs.items() if "__" in name and "value" in output}
    return named | outputs["further_settings"]["value"]


def configuration(outputs):
    sections = {}
    for name, said in sorted(settings(outputs).items()):
        section, _, key = name.partition("__")
        sections.setdefault(section, {})[key] = said
    blocks = []
    for section, keys in sections.items():
        lines = [f"{key} = {value(said)}" for key, said in keys.items()]
        blocks.append("\n".join([f"[{section}]", *lines]) + "\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    sys.stdout.write(configuration(json.load(sys.stdin)))
