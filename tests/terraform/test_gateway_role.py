"""What gateways may do, held against what the code does: each action that it calls is allowed, on what it calls it
on, and nothing else is."""

import re
import unittest

from deployment import ENDPOINTS, ROOT, applied
from iam import Policy, is_allowed

CODE = ROOT / "infra" / "src"

# What the code does not call by name and needs all the same.
IMPLIED = {
    "ecs:TagResource": "RunTask and RegisterTaskDefinition give tags",
    "elasticfilesystem:TagResource": "CreateAccessPoint gives tags",
    "iam:PassRole": "RegisterTaskDefinition names the tasks' two roles",
    "kms:Decrypt": "SSM decrypts a SecureString on its caller's behalf",
    "rds-db:connect": "signing in to the database is no call of an SDK",
}

# Every call goes through `aws::call`, with IAM's name for it.
ACTION = re.compile(r'"([a-z][a-z-]+:[A-Z][a-z][A-Za-z]+)"')


def actions_in(sources):
    """The actions that stand in Rust code as texts, comments left out."""
    found = set()
    for text in sources:
        code = "\n".join(line.split("//")[0] for line in text.splitlines())
        found.update(ACTION.findall(code))
    return found


def differences(called, allowed):
    """What is wrong between code and policy, in words."""
    missing = called - allowed
    needless = allowed - called - set(IMPLIED)
    unfounded = set(IMPLIED) - allowed
    return (
        [f"the code calls {action}, and the gateway's role may not" for action in sorted(missing)]
        + [f"the gateway's role may {action}, and the code does not call it" for action in sorted(needless)]
        + [f"the gateway's role needs {action} ({IMPLIED[action]})" for action in sorted(unfounded)]
    )


class GatewayRole(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.deployment = applied()
        outputs = cls.deployment.outputs
        cls.arn, cls.own = cls.deployment.role("module.gateway.aws_iam_role.gateway")
        _, _, _, cls.region, cls.account, _ = outputs["ecs__cluster"].split(":", 5)
        cls.ecs = f"arn:aws:ecs:{cls.region}:{cls.account}"
        cls.efs = f"arn:aws:elasticfilesystem:{cls.region}:{cls.account}"
        cls.cluster = outputs["ecs__cluster"]
        cls.task = f"{cls.ecs}:task/{cls.cluster.split('/')[1]}/0123456789abcdef"
        cls.definition = f"{cls.ecs}:task-definition/{outputs['ecs__family']}-{'0' * 32}"
        cls.file_system = f"{cls.efs}:file-system/{outputs['efs__file_systems'][0]}"
        cls.access_point = f"{cls.efs}:access-point/fsap-0123456789abcdef0"
        cls.parameter = f"arn:aws:ssm:{cls.region}:{cls.account}:parameter{outputs['secrets__prefix']}"
        (cls.key,) = [
            one["target_key_id"]
            for _, one in cls.deployment.all("aws_kms_alias")
            if one["name"] == outputs["secrets_key"]
        ]
        cls.key = next(one["arn"] for _, one in cls.deployment.all("aws_kms_key") if one["key_id"] == cls.key)

    def may(self, action, resource="*", **context):
        context = {key.replace("__", ":").replace("_", "-"): value for key, value in context.items()}
        context["aws:PrincipalArn"] = self.arn
        service = ENDPOINTS.get(action.split(":")[0])
        boundaries = [self.deployment.endpoint(service)] if service else []
        return is_allowed(action, resource, context, self.own, boundaries=boundaries)

    def test_every_action_that_the_code_calls_is_allowed_and_nothing_more(self):
        sources = [path.read_text() for path in CODE.rglob("*.rs")]
        self.assertTrue(sources, "the code is there")
        allowed = set().union(*(policy.allowed_actions() for policy in self.own))
        self.assertEqual(differences(actions_in(sources), allowed), [])

    def test_no_action_is_allowed_by_a_pattern(self):
        for policy in self.own:
            self.assertEqual([action for action in policy.allowed_actions() if "*" in action], [])

    def test_an_action_too_many_and_one_too_few_are_found(self):
        allowed = {"ecs:RunTask", "ecs:StopTask", *IMPLIED}
        self.assertEqual(differences({"ecs:RunTask", "ecs:StopTask"}, allowed), [])
        self.assertEqual(
            differences({"ecs:RunTask"}, allowed),
            ["the gateway's role may ecs:StopTask, and the code does not call it"],
        )
        self.assertEqual(
            differences({"ecs:RunTask", "ecs:StopTask", "ecs:ListTasks"}, allowed),
            ["the code calls ecs:ListTasks, and the gateway's role may not"],
        )
        self.assertEqual(
            differences({"ecs:RunTask", "ecs:StopTask"}, allowed - {"iam:PassRole"}),
            [f"the gateway's role needs iam:PassRole ({IMPLIED['iam:PassRole']})"],
        )

    def test_actions_are_read_from_code_and_not_from_comments(self):
        code = 'call("ecs:RunTask", x) // as in call("ecs:StopTask", x)\n/// "ecs:ListTasks"\n"ssm:NAME" "file:PATH"'
        self.assertEqual(actions_in([code]), {"ecs:RunTask"})

    def test_it_starts_its_own_family_in_its_own_cluster_only(self):
        self.assertTrue(self.may("ecs:RunTask", self.definition, ecs__cluster=self.cluster))
        self.assertTrue(self.may("ecs:RunTask", self.definition + ":7", ecs__cluster=self.cluster))
        self.assertFalse(self.may("ecs:RunTask", self.definition))
        other = self.cluster.replace("-sessions", "-gateway")
        self.assertFalse(self.may("ecs:RunTask", self.definition, ecs__cluster=other))
        service = self.deployment.one("module.gateway.aws_ecs_task_definition.this")["family"]
        for family in (service, "somebody-elses"):
            definition = f"{self.ecs}:task-definition/{family}:1"
            self.assertFalse(self.may("ecs:RunTask", definition, ecs__cluster=self.cluster), family)

    def test_it_starts_no_task_that_somebody_could_open_a_shell_in_by_the_api(self):
        for wanted, may in (("false", True), ("true", False)):
            context = {"ecs__cluster": self.cluster, "ecs__enable_execute_command": wanted}
            self.assertEqual(self.may("ecs:RunTask", self.definition, **context), may)

    def test_it_stops_and_sees_tasks_of_its_own_cluster_only(self):
        gateways = self.task.replace("-sessions/", "-gateway/")
        for action in ("ecs:StopTask", "ecs:DescribeTasks"):
            self.assertTrue(self.may(action, self.task, ecs__cluster=self.cluster))
            self.assertFalse(self.may(action, gateways, ecs__cluster=self.cluster))
            self.assertFalse(self.may(action, gateways, ecs__cluster=self.cluster.replace("-sessions", "-gateway")))
        self.assertTrue(self.may("ecs:DescribeClusters", self.cluster))
        self.assertFalse(self.may("ecs:DescribeClusters", self.cluster.replace("-sessions", "-gateway")))
        self.assertTrue(self.may("ecs:ListTasks", ecs__cluster=self.cluster))
        self.assertFalse(self.may("ecs:ListTasks", ecs__cluster=self.cluster + "-2"))

    def test_it_tags_what_it_makes_and_nothing_afterwards(self):
        self.assertTrue(self.may("ecs:TagResource", self.task, ecs__CreateAction="RunTask"))
        self.assertTrue(self.may("ecs:TagResource", self.definition, ecs__CreateAction="RegisterTaskDefinition"))
        self.assertFalse(self.may("ecs:TagResource", self.task))
        made = {"elasticfilesystem__CreateAction": "CreateAccessPoint"}
        self.assertTrue(self.may("elasticfilesystem:TagResource", self.access_point, **made))
        self.assertFalse(self.may("elasticfilesystem:TagResource", self.access_point))

    def test_it_passes_the_tasks_two_roles_to_ecs_and_no_other_role_to_anybody(self):
        outputs = self.deployment.outputs
        ecs = {"iam__PassedToService": "ecs-tasks.amazonaws.com"}
        for role in (outputs["ecs__task_role"], outputs["ecs__execution_role"]):
            self.assertTrue(self.may("iam:PassRole", role, **ecs))
            self.assertFalse(self.may("iam:PassRole", role, iam__PassedToService="lambda.amazonaws.com"))
            self.assertFalse(self.may("iam:PassRole", role))
        self.assertFalse(self.may("iam:PassRole", self.arn, **ecs))

    def test_it_makes_access_points_on_its_file_systems_only(self):
        actions = ("CreateAccessPoint", "DescribeAccessPoints", "DescribeFileSystems")
        for action in (f"elasticfilesystem:{name}" for name in actions):
            self.assertTrue(self.may(action, self.file_system))
            self.assertFalse(self.may(action, f"{self.efs}:file-system/fs-0"))
        self.assertFalse(self.may("elasticfilesystem:DescribeAccessPoints", "*"))
        self.assertFalse(self.may("elasticfilesystem:DeleteFileSystem", self.file_system))

    def test_it_removes_access_points_that_gateways_made_and_no_others(self):
        self.assertFalse(self.may("elasticfilesystem:DeleteAccessPoint", self.access_point))
        made = {"aws__ResourceTag/shellgate__user": "0123"}
        self.assertTrue(self.may("elasticfilesystem:DeleteAccessPoint", self.access_point, **made))

    def test_it_reads_its_own_secrets_and_writes_none(self):
        for action in ("ssm:GetParameter", "ssm:GetParametersByPath"):
            for name in ("shared", "shared/x", "users/0123", "users/0123/x", "gateway/task-authority-key"):
                self.assertTrue(self.may(action, f"{self.parameter}/{name}"), name)
                self.assertFalse(self.may(action, f"{self.parameter}-2/{name}"), name)
        self.assertFalse(self.may("ssm:PutParameter", f"{self.parameter}/shared/x"))

    def test_its_key_opens_its_own_parameters_through_ssm_only(self):
        def opens(through, name):
            context = {"aws:PrincipalArn": self.arn, "kms:EncryptionContext:PARAMETER_ARN": name}
            if through:
                context["kms:ViaService"] = through
            return is_allowed("kms:Decrypt", self.key, context, self.own)

        ssm = f"ssm.{self.region}.amazonaws.com"
        self.assertTrue(opens(ssm, f"{self.parameter}/shared/x"))
        self.assertFalse(opens(None, f"{self.parameter}/shared/x"))
        self.assertFalse(opens(f"secretsmanager.{self.region}.amazonaws.com", f"{self.parameter}/shared/x"))
        self.assertFalse(opens(ssm, f"{self.parameter}-2/shared/x"))

    def test_it_signs_in_as_one_user_of_one_database(self):
        cluster = self.deployment.one("module.database.aws_rds_cluster.this")["cluster_resource_id"]
        user = self.deployment.outputs["store__user"]
        database = f"arn:aws:rds-db:{self.region}:{self.account}:dbuser:{cluster}"
        self.assertTrue(self.may("rds-db:connect", f"{database}/{user}"))
        self.assertFalse(self.may("rds-db:connect", f"{database}/master"))

    def test_nobody_else_comes_through_its_endpoints(self):
        task, own = self.deployment.role("module.tasks.aws_iam_role.task")
        stolen = Policy('{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}')
        for action in ("ecs:RunTask", "elasticfilesystem:DescribeAccessPoints", "ssm:GetParameter", "kms:Decrypt"):
            endpoint = self.deployment.endpoint(ENDPOINTS[action.split(":")[0]])
            self.assertTrue(is_allowed(action, "*", {"aws:PrincipalArn": self.arn}, [stolen], boundaries=[endpoint]))
            for caller in (task, "arn:aws:iam::999999999999:role/elsewhere"):
                context = {"aws:PrincipalArn": caller}
                self.assertFalse(is_allowed(action, "*", context, [*own, stolen], boundaries=[endpoint]))


if __name__ == "__main__":
    unittest.main()
