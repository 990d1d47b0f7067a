"""Stands in for the Terraform AWS provider: serves its argument schema (schema.json) to the real
terraform, so that a configuration is checked, planned and "applied" without AWS. Knows no resource: what it
"creates" is its own configuration, with made-up values where AWS would have filled one in.

    python provider.py      # prints what TF_REATTACH_PROVIDERS has to be, and serves until it is told to stop

It shows that arguments and blocks are spelt, nested and typed as the provider has them, and that references lead
somewhere. It does not show that AWS would accept a value.
"""

import hashlib
import json
import os
import signal
import tempfile
import threading
from concurrent import futures
from pathlib import Path

import grpc
import msgpack
from tf.gen import tfplugin_pb2 as wire
from tf.gen import tfplugin_pb2_grpc as grpc_wire

SCHEMA = json.loads((Path(__file__).parent / "schema.json").read_text())
SINGLE_LIST_SET_MAP = {"single": 1, "list": 2, "set": 3, "map": 4}

# How terraform writes "known after apply".
UNKNOWN = msgpack.ExtType(0, b"\0")

# The ARNs that policies speak of, as AWS writes them; every other one is made up.
ARNS = {
    "aws_cloudwatch_log_group": "arn:aws:logs:{region}:{account}:log-group:{name}",
    "aws_ecr_repository": "arn:aws:ecr:{region}:{account}:repository/{name}",
    "aws_ecs_cluster": "arn:aws:ecs:{region}:{account}:cluster/{name}",
    "aws_efs_file_system": "arn:aws:elasticfilesystem:{region}:{account}:file-system/{id}",
    "aws_iam_role": "arn:aws:iam::{account}:role/{name}",
    "aws_kms_key": "arn:aws:kms:{region}:{account}:key/{id}",
    "aws_rds_cluster": "arn:aws:rds:{region}:{account}:cluster:{cluster_identifier}",
    "aws_s3_bucket": "arn:aws:s3:::{bucket}",
    "aws_sns_topic": "arn:aws:sns:{region}:{account}:{name}",
}
ID_PREFIXES = {"aws_efs_file_system": "fs-", "aws_security_group": "sg-", "aws_subnet": "subnet-"}

# Longest that it serves, in seconds: it outlives nobody who forgets it.
LONGEST = 1800

# What the provider block says: filled in when terraform configures the provider.
where = {"region": "us-east-1", "account": "000000000000"}


def attribute(name, said):
    made = wire.Schema.Attribute(
        name=name,
        required=said.get("required", False),
        optional=said.get("optional", False),
        computed=said.get("computed", False),
    )
    if "nested_type" in said:
        nested = said["nested_type"]
        members = [attribute(key, value) for key, value in sorted(nested["attributes"].items())]
        nesting = SINGLE_LIST_SET_MAP[nested["nesting_mode"]]
        made.nested_type.CopyFrom(wire.Schema.Object(attributes=members, nesting=nesting))
    else:
        made.type = json.dumps(said["type"]).encode()
    return made


def block(said):
    return wire.Schema.Block(
        version=0,
        attributes=[attribute(name, value) for name, value in sorted(said["attributes"].items())],
        block_types=[
            wire.Schema.NestedBlock(
                type_name=name,
                block=block(value["block"]),
                nesting=SINGLE_LIST_SET_MAP[value["nesting_mode"]],
                min_items=value["min_items"],
                max_items=value["max_items"],
            )
            for name, value in sorted(said["block_types"].items())
        ],
    )


def schema(said):
    return wire.Schema(version=said["version"], block=block(said["block"]))


def read(value):
    if value.msgpack:
        return msgpack.unpackb(value.msgpack, raw=False, strict_map_key=False)
    return json.loads(value.json) if value.json else None


def write(value):
    return wire.DynamicValue(msgpack=msgpack.packb(value, use_bin_type=True))


def is_unknown(value):
    return isinstance(value, msgpack.ExtType)


def planned(said, value):
    """What is computed is not known yet; what may be left out is what was written, or nothing."""
    for name, about in said["attributes"].items():
        only_computed = about.get("computed") and not about.get("optional")
        if only_computed or (name in ("id", "arn") and value.get(name) is None):
            value[name] = UNKNOWN
    for name, about in said["block_types"].items():
        for inner in nested(about, value.get(name)):
            planned(about["block"], inner)
    return value


def created(type_name, said, value):
    """As planned, with a made-up value wherever none was known."""
    text = json.dumps(value, sort_keys=True, default=str)
    identity = ID_PREFIXES.get(type_name, "") + hashlib.sha256((type_name + text).encode()).hexdigest()[:17]
    known = {key: item for key, item in value.items() if isinstance(item, str)}
    names = {"name": identity, "bucket": identity, **known, **where, "id": identity}
    arn = ARNS.get(type_name, "arn:aws:" + type_name + ":{region}:{account}:{id}").format_map(names)
    return filled(said, value, {"id": identity, "arn": arn})


def filled(said, value, own):
    for name, about in said["attributes"].items():
        only_computed = about.get("computed") and not about.get("optional")
        if is_unknown(value.get(name)) or (only_computed and value.get(name) is None):
            value[name] = own.get(name) or made_up(about.get("type"), name, own["id"])
    for name, about in said["block_types"].items():
        for inner in nested(about, value.get(name)):
            filled(about["block"], inner, {"id": own["id"]})
    return value


def nested(about, value):
    """The blocks of one kind that there are, none where that is not known."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value] if about["nesting_mode"] == "single" else list(value.values())
    return []


def made_up(kind, name, identity):
    if kind == "string":
        return f"{name}-{identity}"
    if kind in ("number", "bool"):
        return {"number": 1, "bool": False}[kind]
    if isinstance(kind, list) and kind[0] in ("list", "set"):
        return []
    if isinstance(kind, list) and kind[0] == "map":
        return {}
    if isinstance(kind, list) and kind[0] == "object":
        return {key: made_up(inner, key, identity) for key, inner in kind[1].items()}
    return None


def one_or_list(values):
    values = sorted(values)
    return values[0] if len(values) == 1 else values


def policy_document(value):
    """The data source that is no AWS resource: a policy's JSON out of its blocks."""
    statements = []
    for said in value["statement"]:
        statement = {"Effect": said.get("effect") or "Allow"}
        if said.get("sid"):
            statement["Sid"] = said["sid"]
        for key, name in (
            ("actions", "Action"),
            ("not_actions", "NotAction"),
            ("resources", "Resource"),
            ("not_resources", "NotResource"),
        ):
            if said.get(key):
                statement[name] = one_or_list(said[key])
        for key, name in (("principals", "Principal"), ("not_principals", "NotPrincipal")):
            for principal in said.get(key) or []:
                if principal["type"] == "*":
                    statement[name] = "*"
                else:
                    statement.setdefault(name, {})[principal["type"]] = one_or_list(principal["identifiers"])
        for condition in said.get("condition") or []:
            tests = statement.setdefault("Condition", {}).setdefault(condition["test"], {})
            tests[condition["variable"]] = one_or_list(condition["values"])
        statements.append(statement)
    return json.dumps({"Version": value.get("version") or "2012-10-17", "Statement": statements})


def looked_up(type_name, said, value):
    if type_name == "aws_iam_policy_document":
        value["json"] = value["minified_json"] = policy_document(value)
    if type_name == "aws_partition":
        value.update(partition="aws", dns_suffix="amazonaws.com", reverse_dns_prefix="com.amazonaws")
    return created(type_name, said, value)


class Provider(grpc_wire.ProviderServicer):
    """The provider protocol, version 6, as far as plan, apply and destroy need it."""

    def GetMetadata(self, request, context):
        return wire.GetMetadata.Response(
            resources=[wire.GetMetadata.ResourceMetadata(type_name=name) for name in SCHEMA["resource"]],
            data_sources=[wire.GetMetadata.DataSourceMetadata(type_name=name) for name in SCHEMA["data"]],
        )

    def GetProviderSchema(self, request, context):
        return wire.GetProviderSchema.Response(
            provider=schema(SCHEMA["provider"]),
            resource_schemas={name: schema(said) for name, said in SCHEMA["resource"].items()},
            data_source_schemas={name: schema(said) for name, said in SCHEMA["data"].items()},
        )

    def ValidateProviderConfig(self, request, context):
        return wire.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request, context):
        return wire.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request, context):
        return wire.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, request, context):
        said = read(request.config)
        where["region"] = said.get("region") or where["region"]
        where["account"] = (said.get("allowed_account_ids") or [where["account"]])[0]
        return wire.ConfigureProvider.Response()

    def UpgradeResourceState(self, request, context):
        return wire.UpgradeResourceState.Response(upgraded_state=wire.DynamicValue(json=request.raw_state.json))

    def ReadResource(self, request, context):
        return wire.ReadResource.Response(new_state=request.current_state)

    def ReadDataSource(self, request, context):
        said = SCHEMA["data"][request.type_name]["block"]
        return wire.ReadDataSource.Response(state=write(looked_up(request.type_name, said, read(request.config))))

    def PlanResourceChange(self, request, context):
        value = read(request.proposed_new_state)
        if value is not None and read(request.prior_state) is None:
            value = planned(SCHEMA["resource"][request.type_name]["block"], value)
        return wire.PlanResourceChange.Response(planned_state=write(value))

    def ApplyResourceChange(self, request, context):
        value = read(request.planned_state)
        if value is not None:
            value = created(request.type_name, SCHEMA["resource"][request.type_name]["block"], value)
        return wire.ApplyResourceChange.Response(new_state=write(value))

    def GetFunctions(self, request, context):
        return wire.GetFunctions.Response()

    def StopProvider(self, request, context):
        return wire.StopProvider.Response()


def main():
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=10))
    grpc_wire.add_ProviderServicer_to_server(Provider(), server)
    # A path of a socket has 107 characters at most, which a folder of the project may exceed.
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/provider"
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        address = {"Network": "unix", "String": socket}
        about = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}
        print(json.dumps({"hashicorp/aws": about}), flush=True)
        stopped.wait(LONGEST)
        server.stop(grace=None).wait()


if __name__ == "__main__":
    main()
