"""Rebuilds the argument schema of the Terraform AWS provider from its CDKTF bindings, and keeps what
terraform/ uses. Knows how the bindings are generated, and nothing of what the resources mean.

    python3 tests/terraform/extract.py            # gets the bindings from npm into a folder of its own
    python3 tests/terraform/extract.py BINDINGS   # takes an unpacked package

The bindings (npm `@cdktf/provider-aws`, MPL-2.0, HashiCorp) are generated from the provider's own schema:
each resource is a class that lists its arguments with their types, and an interface that says which
of them are required. Run it again after a resource or data source of another type has come into use.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TERRAFORM = HERE.parent.parent / "terraform"
SCHEMA = HERE / "schema.json"

PACKAGE = "@cdktf/provider-aws@21.22.1"
PROVIDER_VERSION = "6.25.0"

PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "string"}

# `name: { value: …, isBlock: …, type: …, storageClassType: … }`, the way each argument is listed.
ARGUMENT = re.compile(
    r'^ +(\w+): \{\n +value: (.*),\n +isBlock: (true|false),\n +type: "(\w+)",\n +storageClassType: "(\w+)",',
    re.MULTILINE,
)
STRUCT = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
CLASS = re.compile(r"^class (\w+) extends cdktf\.(\w+) \{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
INTERFACE = re.compile(r"export interface (\w+)(?: extends [\w.]+)? \{\n(.*?)\n\}", re.DOTALL)
PROPERTY = re.compile(
    r"#(\w+) \w+#\1\}(?:(?!readonly ).)*?readonly (\w+)(\??): ([^;]*);", re.DOTALL
)
TOP_LEVEL = re.compile(r"synthesizeHclAttributes\(\) \{\n(.*?)\n    \}\n", re.DOTALL)
READ_ONLY = re.compile(
    r"return this\.get(String|Number|Boolean|List|NumberList|StringMap|BooleanMap|NumberMap)Attribute\('(\w+)'\)"
)
READ_ONLY_SET = re.compile(
    r"cdktf\.(?:Fn\.tolist|Token\.asNumberList\(cdktf\.Fn\.tolist)\(this\.get(Number)?ListAttribute\('(\w+)'\)"
)
MEMBER = re.compile(r'= new (cdktf\.)?(\w+)\(this, "(\w+)"(?:, (true|false))?\)')

READ_ONLY_TYPES = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
    "BooleanMap": ["map", "bool"],
    "NumberMap": ["map", "number"],
    "StringMapList": ["list", ["map", "string"]],
}


class Binding:
    """One resource, data source or the provider itself, as its two generated files tell."""

    def __init__(self, folder):
        script = (folder / "index.js").read_text()
        declarations = (folder / "index.d.ts").read_text()
        named = re.search(r"terraformResourceType: '(\w+)'", script)
        self.type_name = named.group(1) if named else "aws"
        self.structs = {
            upper_first(name): ARGUMENT.findall(body) for name, body in STRUCT.findall(script)
        }
        self.classes = {name: (base, body) for name, base, body in CLASS.findall(script)}
        self.required, self.is_list = {}, {}
        for name, body in INTERFACE.findall(declarations):
            properties = PROPERTY.findall(body)
            self.required[name] = {key for key, _, optional, _ in properties if not optional}
            self.is_list[name] = {
                key for key, _, _, kind in properties if "[]" in kind and "{ [" not in kind
            }
        bases = ("TerraformResource", "TerraformDataSource", "TerraformProvider")
        self.main = next(name for name, (base, _) in self.classes.items() if base in bases)

    def schema(self):
        listed = TOP_LEVEL.search(self.classes[self.main][1])
        arguments = ARGUMENT.findall(listed.group(1)) if listed else []
        written = listed.group(1).count("storageClassType") if listed else 0
        # A form of argument that the expression above does not know must not get lost in silence.
        assert written == len(arguments), f"{self.type_name}: {written} arguments, {len(arguments)} read"
        return {"version": 0, "block": self.block(arguments, self.main + "Config", self.main)}

    def block(self, arguments, interface, class_name):
        attributes, blocks = {}, {}
        required = self.required.get(interface, set())
        lists = self.is_list.get(interface, set())
        for argument in arguments:
            name, value, is_block, kind, _ = argument
            struct = struct_of(value)
            needed = name in required
            if is_block == "true" and struct:
                nesting = {"list": "list", "set": "set", "map": "map", "struct": "single"}[kind]
                counted = nesting in ("list", "set")
                blocks[name] = {
                    "nesting_mode": nesting,
                    "min_items": int(needed and counted),
                    "max_items": int(counted and name not in lists),
                    "block": self.block(self.structs[struct], struct, struct + "OutputReference"),
                }
            elif struct:
                inner = self.block(self.structs[struct], struct, struct + "OutputReference")
                nested = dict(inner["attributes"])
                for inner_name, inner_block in inner["block_types"].items():
                    nested[inner_name] = {
                        "nested_type": {
                            "attributes": inner_block["block"]["attributes"],
                            "nesting_mode": inner_block["nesting_mode"],
                        },
                        "optional": True,
                        "computed": True,
                    }
                nesting = {"struct": "single", "simple": "single"}.get(kind, kind)
                attributes[name] = {
                    "nested_type": {"attributes": nested, "nesting_mode": nesting}, **presence(needed),
                }
            else:
                attributes[name] = {"type": self.type_of(argument), **presence(needed)}
        for name, kind in self.read_only(class_name).items():
            if name not in attributes and name not in blocks:
                attributes[name] = {"type": self.resolved(kind), "computed": True}
        return {"attributes": attributes, "block_types": blocks}

    def read_only(self, class_name):
        """What can be read of a class: type by name; `("struct", NAME)` where that is a struct."""
        found = {}
        body = self.classes.get(class_name, ("", ""))[1]
        for kind, name in READ_ONLY.findall(body):
            found[name] = READ_ONLY_TYPES[kind]
        for number, name in READ_ONLY_SET.findall(body):
            found[name] = ["set", "number" if number else "string"]
        for is_library, kind, name, is_set in MEMBER.findall(body):
            if is_library:
                found[name] = READ_ONLY_TYPES.get(kind, "string")
            elif kind.endswith("OutputReference"):
                found[name] = ("struct", kind.removesuffix("OutputReference"))
            elif kind.endswith("List"):
                found[name] = ["set" if is_set == "true" else "list", ("struct", kind.removesuffix("List"))]
            elif kind.endswith("Map"):
                found[name] = ["map", ("struct", kind.removesuffix("Map"))]
        return found

    def resolved(self, kind, seen=()):
        if isinstance(kind, tuple):
            return self.object(kind[1], seen)
        if isinstance(kind, list):
            return [kind[0], self.resolved(kind[1], seen)]
        return kind

    def object(self, struct, seen):
        if struct in seen:
            return "string"
        seen = (*seen, struct)
        members = {
            name: self.resolved(kind, seen)
            for name, kind in self.read_only(struct + "OutputReference").items()
        }
        for argument in self.structs.get(struct, []):
            members[argument[0]] = self.type_of(argument, seen)
        return ["object", members]

    def type_of(self, argument, seen=()):
        _, value, _, kind, _ = argument
        struct = struct_of(value)
        if struct:
            whole = self.object(struct, seen)
            return whole if kind in ("struct", "simple") else [kind, whole]
        primitive = re.search(r"cdktf\.(string|number|boolean|any)ToHclTerraform", value)
        primitive = PRIMITIVES[primitive.group(1)] if primitive else "string"
        return primitive if kind == "simple" else [kind, primitive]


def upper_first(name):
    return name[0].upper() + name[1:]


def struct_of(value):
    """The struct that an argument's value is mapped by, if it is not a primitive."""
    found = re.search(r"(\w+)ToHclTerraform\b", re.sub(r"cdktf\.\w+ToHclTerraform", "", value))
    return upper_first(found.group(1)) if found else None


def presence(needed):
    # The bindings do not tell whether the provider fills in an argument that is left out.
    return {"required": True} if needed else {"optional": True, "computed": True}


def optional(kind, needed=False):
    return {"type": kind, **presence(needed)}


def one(attributes, blocks=None, least=0, most=1):
    block = {"attributes": attributes, "block_types": blocks or {}}
    return {"nesting_mode": "list", "min_items": least, "max_items": most, "block": block}


def web_acl_statement():
    """A statement of a web ACL is recursive, and so the bindings call it "any". Written out here is what
    terraform/ uses of it, as the provider documents it."""
    actions = {name: one({}) for name in ("allow", "block", "captcha", "challenge", "count")}
    override = one({"name": optional("string", True)}, {"action_to_use": one({}, actions, 1)}, 0, 100)
    return one(
        {},
        {
            "managed_rule_group_statement": one(
                {
                    "name": optional("string", True),
                    "vendor_name": optional("string", True),
                    "version": optional("string"),
                },
                {"rule_action_override": override},
            ),
            "rate_based_statement": one(
                {
                    "limit": optional("number", True),
                    "aggregate_key_type": optional("string"),
                    "evaluation_window_sec": optional("number"),
                }
            ),
        },
        1,
    )


def types_in_use():
    """`("resource" | "data", TYPE)` of every block in terraform/ that is the provider's."""
    found = set()
    for path in TERRAFORM.rglob("*.tf"):
        found.update(re.findall(r'^(resource|data) "(aws_\w+)"', path.read_text(), re.MULTILINE))
    return found


def extract(library):
    schema = {"provider_version": PROVIDER_VERSION, "bindings": PACKAGE}
    schema["provider"] = Binding(library / "provider").schema()
    schema["resource"], schema["data"] = {}, {}
    for kind, type_name in sorted(types_in_use()):
        folder = type_name.removeprefix("aws_").replace("_", "-")
        folder = library / (folder if kind == "resource" else f"data-aws-{folder}")
        binding = Binding(folder)
        assert binding.type_name == type_name, f"{folder} is {binding.type_name}"
        schema[kind][type_name] = binding.schema()
    if "aws_wafv2_web_acl" in schema["resource"]:
        rule = schema["resource"]["aws_wafv2_web_acl"]["block"]["block_types"]["rule"]["block"]
        del rule["attributes"]["statement"]
        rule["block_types"]["statement"] = web_acl_statement()
    return schema


def written(schema):
    """One line a type, so that a difference shows which type it is in."""

    def line(value):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    parts = [f" {line(key)}: {line(schema[key])}" for key in ("provider_version", "bindings", "provider")]
    for kind in ("resource", "data"):
        types = ",\n".join(f"  {line(name)}: {line(value)}" for name, value in schema[kind].items())
        parts.append(f" {line(kind)}: {{\n{types}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def fetched(folder):
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
    archive = next(Path(folder).glob("*.tgz"))
    subprocess.run(["tar", "-xzf", archive, "-C", folder, "package/lib"], check=True)
    return Path(folder) / "package"


def main():
    with tempfile.TemporaryDirectory() as folder:
        bindings = Path(sys.argv[1]) if len(sys.argv) > 1 else fetched(folder)
        schema = extract(bindings / "lib")
    SCHEMA.write_text(written(schema))
    print(f"{len(schema['resource'])} resources, {len(schema['data'])} data sources")


if __name__ == "__main__":
    main()
