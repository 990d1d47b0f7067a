"""What moto imports and ECS, EFS and SSM make no use of: placed where Python looks before it imports.

The real ones take longer to import than all the rest: EC2 knows every machine type of every region.
Knows no service.
"""

import sys
import types
from types import SimpleNamespace
from uuid import uuid4

ACCOUNT = "123456789012"
REGIONS = ["us-east-1", "eu-central-1"]


class Ec2:
    """Enough of EC2 for a task's network interface."""

    def __getitem__(self, _account_or_region):
        return self

    def create_network_interface(self, **_arguments):
        return SimpleNamespace(
            id=f"eni-{uuid4().hex[:17]}",
            mac_address="02:00:00:00:00:01",
            private_dns_name="",
            private_ip_address="",
        )


class Session:
    """Enough of boto3 for moto to know its regions."""

    def get_available_partitions(self):
        return ["aws"]

    def get_available_regions(self, _service, partition_name):
        return REGIONS


class Everybody:
    """Who may do all: the deployment's policies are held against the code elsewhere."""

    set_initial_no_auth_action_count = None

    def _authenticate_and_authorize_normal_action(self, _resource):
        pass


def stands_in(name, **contents):
    """There is such a module from now on, with this in it."""
    made = types.ModuleType(name)
    made.__path__ = []
    made.__dict__.update(contents)
    sys.modules[name] = made


nothing = type("Nothing", (Exception,), {})
stands_in("boto3", Session=Session)
stands_in(
    "moto.core.authorization",
    ActionAuthenticatorMixin=Everybody,
    disable_iam_authentication=None,
    enable_iam_authentication=None,
)
stands_in(
    "moto.core.models",
    DEFAULT_ACCOUNT_ID=ACCOUNT,
    MockAWS=nothing,
    ProxyModeMockAWS=nothing,
    ServerModeMockAWS=nothing,
    patch_client=None,
    patch_resource=None,
)
stands_in("moto.ec2", ec2_backends=Ec2())
stands_in(
    "moto.ec2.exceptions", InvalidSecurityGroupNotFoundError=nothing, InvalidSubnetIdError=nothing
)
stands_in("moto.ec2.models")
stands_in("moto.ec2.models.elastic_network_interfaces", NetworkInterface=nothing)
stands_in("moto.ec2.models.subnets", Subnet=nothing)
stands_in("moto.ec2.utils", random_private_ip=lambda: "")
stands_in("moto.iam")
stands_in(
    "moto.iam.models",
    get_account_id_from=lambda _key: ACCOUNT,
    mark_account_as_visited=lambda *_call, **_more: None,
)
stands_in("moto.secretsmanager", secretsmanager_backends={})
stands_in("moto.secretsmanager.exceptions", SecretsManagerClientError=nothing)
