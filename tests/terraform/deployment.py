"""The deployment that `make terraform` has "applied" with the stand-in for AWS: its resources with every value, and
its outputs. Knows no policy.
"""

import json
import os
from pathlib import Path

from iam import Policy

ROOT = Path(__file__).parent.parent.parent

# The services that the deployment's endpoints are of, by the names that actions begin with.
ENDPOINTS = {
    "ecr": "ecr.api",
    "logs": "logs",
    "ecs": "ecs",
    "elasticfilesystem": "elasticfilesystem",
    "ssm": "ssm",
    "kms": "kms",
}


class Deployment:
    def __init__(self, folder):
        state = json.loads((folder / "production.json").read_text())
        outputs = json.loads((folder / "outputs.json").read_text())
        self.outputs = {name: output["value"] for name, output in outputs.items()}
        self.resources = list(resources(state["values"]["root_module"]))

    def all(self, type_name):
        """`(address, values)` of every resource of a type."""
        return [(one["address"], one["values"]) for one in self.resources if one["type"] == type_name]

    def one(self, address):
        (found,) = [one["values"] for one in self.resources if one["address"] == address]
        return found

    def role(self, address):
        """The ARN of a role, and what its own policies say."""
        role = self.one(address)
        own = [Policy(one["policy"]) for _, one in self.all("aws_iam_role_policy") if one["role"] == role["id"]]
        assert own, f"{address} has no policy"
        return role["arn"], own

    def endpoint(self, service):
        """The policy of the endpoint by which a service is reached."""
        (found,) = [
            one["policy"]
            for _, one in self.all("aws_vpc_endpoint")
            if one["service_name"].split(".", 3)[3] == service
        ]
        return Policy(found)


def resources(module):
    yield from (one for one in module.get("resources", []) if one["mode"] == "managed")
    for child in module.get("child_modules", []):
        yield from resources(child)


def applied():
    folder = os.environ.get("SHELLGATE_DEPLOYMENT")
    assert folder, "sh scripts/terraform.sh policies applies the deployment and says where it is"
    return Deployment(Path(folder))
