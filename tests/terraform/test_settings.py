"""The deployment's outputs, as the gateway's settings: the service gets the same ones as its environment, and the
configuration file that is made of them says the same."""

import json
import re
import sys
import tomllib
import unittest

from deployment import ROOT, applied

sys.path.append(str(ROOT / "terraform"))

import settings  # noqa: E402  It lies beside what it is for.
from extract import SCHEMA, types_in_use  # noqa: E402


SECTION = re.compile(r"^    pub struct (\w+) \{\n(.*?)^    \}", re.DOTALL | re.MULTILINE)


def known_to_the_gateway():
    """Section and key of every setting, as the gateway's code declares them: a struct a section, a field a key."""
    known = {("auth", "issuers")}
    for path in (ROOT / "gateway" / "src" / "config").glob("*.rs"):
        for section, fields in SECTION.findall(path.read_text()):
            known.update((section.lower(), key) for key in re.findall(r"^        (\w+): ", fields, re.MULTILINE))
    return known


def section_and_key(variable):
    """`("ecs", "cluster")` of `SHELLGATE_GATEWAY__ECS__CLUSTER`."""
    prefix, section, key = variable.split("__")
    assert prefix == "SHELLGATE_GATEWAY", variable
    return section.lower(), key.lower()


def as_the_gateway_reads_it(text):
    """A variable's value is TOML where it is TOML, else a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


class Settings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.deployment = applied()
        cls.settings = {
            tuple(name.split("__")): value for name, value in cls.deployment.outputs.items() if "__" in name
        }

    def test_every_one_is_a_setting_that_the_gateway_knows(self):
        unknown = set(self.settings) - known_to_the_gateway()
        self.assertEqual(unknown, set())

    def test_the_service_has_every_setting_in_its_environment_and_no_other(self):
        definition = self.deployment.one("module.gateway.aws_ecs_task_definition.this")
        (container,) = json.loads(definition["container_definitions"])
        environment = {
            section_and_key(variable["name"]): as_the_gateway_reads_it(variable["value"])
            for variable in container["environment"]
        }
        self.assertEqual(environment, self.settings)

    def test_the_configuration_file_says_the_same(self):
        outputs = {name: {"value": value} for name, value in self.deployment.outputs.items()}
        read = tomllib.loads(settings.configuration(outputs))
        flat = {(section, key): value for section, keys in read.items() for key, value in keys.items()}
        self.assertEqual(flat, self.settings)

    def test_the_tasks_cluster_is_not_the_gateways(self):
        service = self.deployment.one("module.gateway.aws_ecs_service.this")
        self.assertNotEqual(service["cluster"], self.deployment.outputs["ecs__cluster"])

    def test_no_value_is_a_secret(self):
        for name, value in self.deployment.outputs.items():
            self.assertNotIn("PRIVATE KEY", str(value), name)
            self.assertFalse(re.search(r"pass(word|phrase)", str(value)), name)


class Schema(unittest.TestCase):
    def test_it_has_the_types_that_are_in_use_and_no_others(self):
        schema = json.loads(SCHEMA.read_text())
        has = {(kind, name) for kind in ("resource", "data") for name in schema[kind]}
        self.assertEqual(has, types_in_use(), "run tests/terraform/extract.py again")


if __name__ == "__main__":
    unittest.main()
