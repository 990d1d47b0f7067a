"""The deployment's outputs, as the gateway's settings: the service gets the same ones as its environment, and the
configuration file that is made of them says the same."""

import json
import os
import re
import subprocess
import sys
import tomllib
import unittest
from pathlib import Path

from deployment import ROOT, applied

sys.path.append(str(ROOT / "terraform"))

import settings  # noqa: E402  It lies beside what it is for.
from extract import SCHEMA, types_in_use  # noqa: E402


SECTION = re.compile(r"^    pub struct (\w+) \{\n(.*?)^    \}", re.DOTALL | re.MULTILINE)
TABLES = re.compile(r"\n    tables \{\n(.*?)^    \}", re.DOTALL | re.MULTILINE)
FIELD = re.compile(r"^        (\w+): ", re.MULTILINE)

CONFIGURATION = ROOT / "gateway" / "src" / "config"
GATEWAY = ROOT / "target" / "debug" / "shellgate-gateway"


def known_to_the_gateway():
    """Section and key of every setting, as the gateway's code declares them: a struct a section, a field a key."""
    known = {("auth", "issuers")}
    for path in CONFIGURATION.glob("*.rs"):
        for section, fields in SECTION.findall(path.read_text()):
            known.update((section.lower(), key) for key in FIELD.findall(fields))
    return known


def template_keys():
    """What a template may say, as the gateway's code declares it."""
    code = (CONFIGURATION / "template.rs").read_text()
    return {
        key
        for found in (SECTION.search(code).group(2), TABLES.search(code).group(1))
        for key in re.findall(r"^ +(\w+): ", found, re.MULTILINE)
    }


def seconds(said):
    """How long `"90s"` is."""
    assert said.endswith("s"), said
    return int(said.removesuffix("s"))


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
        outputs = {name: {"value": value} for name, value in cls.deployment.outputs.items()}
        cls.settings = {tuple(name.split("__")): value for name, value in settings.settings(outputs).items()}
        cls.file = settings.configuration(outputs)
        definition = cls.deployment.one("module.gateway.aws_ecs_task_definition.this")
        (cls.container,) = json.loads(definition["container_definitions"])

    def test_every_one_is_a_setting_that_the_gateway_knows(self):
        named = {(section, key) for section, key in self.settings if section != "templates"}
        self.assertEqual(named - known_to_the_gateway(), set())

    def test_templates_and_further_settings_are_among_them(self):
        self.assertEqual(self.settings["templates", "agent"]["limits"], {"cpu": "500m", "memory": "1GiB"})
        self.assertEqual(self.settings["limits", "sessions_per_user"], 3)

    def test_a_template_may_say_what_the_gateway_knows_of_one(self):
        (listed,) = re.findall(r"template_keys = \[(.*?)\]", (ROOT / "terraform" / "settings.tf").read_text(), re.DOTALL)
        self.assertEqual(set(re.findall(r'"(\w+)"', listed)), template_keys())

    def test_the_service_has_every_setting_in_its_environment_and_no_other(self):
        environment = {
            section_and_key(variable["name"]): as_the_gateway_reads_it(variable["value"])
            for variable in self.container["environment"]
        }
        self.assertEqual(environment, self.settings)

    def test_the_gateway_takes_them_from_its_environment_and_from_the_file(self):
        if not GATEWAY.exists():
            self.skipTest(f"{GATEWAY.relative_to(ROOT)} is not built")
        environment = {variable["name"]: variable["value"] for variable in self.container["environment"]}
        file = Path(os.environ["SHELLGATE_DEPLOYMENT"]) / "gateway.toml"
        file.write_text(self.file)
        for words, variables in ((["check-config"], environment), (["check-config", "--config", file], {})):
            said = subprocess.run([GATEWAY, *words], env=variables, capture_output=True, text=True, timeout=60)
            faults = [line for line in (said.stdout + said.stderr).splitlines() if line != "ok"]
            self.assertEqual(faults, [])

    def test_a_gateway_has_left_before_it_is_killed(self):
        # What it takes, after its drain, to end what it still does.
        code = (ROOT / "gateway" / "src" / "gateway.rs").read_text()
        (last,) = re.findall(r"const LAST_TASKS: Duration = Duration::from_secs\((\d+)\);", code)
        left = seconds(self.settings["server", "drain"]) + int(last)
        self.assertLess(left, self.container["stopTimeout"])
        groups = [one for _, one in self.deployment.all("aws_lb_target_group")]
        self.assertTrue(groups)
        for group in groups:
            self.assertLess(int(group["deregistration_delay"]), left)

    def test_the_configuration_file_says_the_same(self):
        read = tomllib.loads(self.file)
        flat = {(section, key): value for section, keys in read.items() for key, value in keys.items()}
        self.assertEqual(flat, self.settings)

    def test_what_a_plan_does_not_know_yet_is_left_out_of_the_file(self):
        planned = {
            "ecs__cluster": {"sensitive": False},
            "ecs__spot": {"value": True},
            "further_settings": {"value": {"templates__x": {"env": {"A": 'b"'}}}},
        }
        read = tomllib.loads(settings.configuration(planned))
        self.assertEqual(read, {"ecs": {"spot": True}, "templates": {"x": {"env": {"A": 'b"'}}}})

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
