"""What the programs in a task may do with its role, which is what hostile ones will try, and what ECS may do before a
task runs."""

import unittest

from deployment import applied
from iam import Policy, is_allowed

# A role that somebody gave everything to, by mistake or because it is theirs.
EVERYTHING = Policy('{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}')


class TaskRole(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.deployment = applied()
        outputs = cls.deployment.outputs
        cls.arn, cls.own = cls.deployment.role("module.tasks.aws_iam_role.task")
        _, _, _, cls.region, cls.account, _ = outputs["ecs__cluster"].split(":", 5)
        cls.efs = f"arn:aws:elasticfilesystem:{cls.region}:{cls.account}"
        cls.access_point = f"{cls.efs}:access-point/fsap-0123456789abcdef0"

    def mounts(self, action="ClientMount", caller=None, own=None, access_point=True, tls=True):
        """Whether each file system lets a caller do that: all of them, or none."""
        context = {
            "aws:PrincipalArn": caller or self.arn,
            "aws:SecureTransport": "true" if tls else "false",
            "elasticfilesystem:AccessedViaMountTarget": "true",
        }
        if access_point:
            context["elasticfilesystem:AccessPointArn"] = self.access_point
        own = self.own if own is None else own
        said = {
            is_allowed(
                f"elasticfilesystem:{action}",
                f"{self.efs}:file-system/{one['file_system_id']}",
                context,
                own,
                [Policy(one["policy"])],
            )
            for _, one in self.deployment.all("aws_efs_file_system_policy")
        }
        (answer,) = said
        return answer

    def test_every_file_system_has_a_policy(self):
        policies = {one["file_system_id"] for _, one in self.deployment.all("aws_efs_file_system_policy")}
        self.assertEqual(policies, set(self.deployment.outputs["efs__file_systems"]))

    def test_it_mounts_and_writes_through_an_access_point_and_tls(self):
        self.assertTrue(self.mounts("ClientMount"))
        self.assertTrue(self.mounts("ClientWrite"))

    def test_it_mounts_no_root_and_nothing_in_the_clear(self):
        for own in (self.own, [EVERYTHING], []):
            self.assertFalse(self.mounts(own=own, access_point=False))
            self.assertFalse(self.mounts(own=own, tls=False))

    def test_its_own_policy_alone_mounts_no_root(self):
        file_system = f"{self.efs}:file-system/{self.deployment.outputs['efs__file_systems'][0]}"
        context = {"aws:PrincipalArn": self.arn, "aws:SecureTransport": "true"}
        self.assertFalse(is_allowed("elasticfilesystem:ClientMount", file_system, context, self.own))

    def test_nobody_is_root_on_a_file_system(self):
        for own in (self.own, [EVERYTHING]):
            self.assertFalse(self.mounts("ClientRootAccess", own=own))

    def test_nobody_else_mounts_whatever_their_own_role_says(self):
        for caller in (
            self.deployment.role("module.gateway.aws_iam_role.gateway")[0],
            f"arn:aws:iam::{self.account}:role/administrator",
            "arn:aws:iam::999999999999:role/elsewhere",
        ):
            self.assertFalse(self.mounts(caller=caller, own=[EVERYTHING]), caller)

    def test_it_may_nothing_else(self):
        allowed = set().union(*(policy.allowed_actions() for policy in self.own))
        self.assertEqual(allowed, {"elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"})

    def test_no_policy_is_attached_to_it_from_elsewhere(self):
        name = self.arn.split("/")[1]
        attached = [one for _, one in self.deployment.all("aws_iam_role_policy_attachment") if one["role"] == name]
        self.assertEqual(attached, [])


class Execution(unittest.TestCase):
    """ECS's own role for users' tasks, and the way to images and logs that programs in a task have, too."""

    @classmethod
    def setUpClass(cls):
        cls.deployment = applied()
        cls.arn, cls.own = cls.deployment.role("module.tasks.aws_iam_role.execution")
        outputs = cls.deployment.outputs
        _, _, _, region, cls.account, _ = outputs["ecs__cluster"].split(":", 5)
        cls.images = {one["name"].split("/")[1]: one["arn"] for _, one in cls.deployment.all("aws_ecr_repository")}
        group = f"arn:aws:logs:{region}:{cls.account}:log-group:"
        cls.stream = group + outputs["ecs__log_group"] + ":log-stream:x"
        cls.other_stream = group + outputs["ecs__log_group"].replace("/sessions", "/gateway") + ":log-stream:x"

    def may(self, action, resource, own=None, account=None):
        account = account or self.account
        context = {"aws:PrincipalArn": f"arn:aws:iam::{account}:role/x", "aws:PrincipalAccount": account}
        service = {"ecr": ["ecr.api", "ecr.dkr"], "logs": ["logs"]}[action.split(":")[0]]
        boundaries = [self.deployment.endpoint(one) for one in service]
        return is_allowed(action, resource, context, own or self.own, boundaries=boundaries)

    def test_it_pulls_the_tasks_image_and_writes_the_sessions_logs(self):
        self.assertTrue(self.may("ecr:GetAuthorizationToken", "*"))
        for action in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"):
            self.assertTrue(self.may(f"ecr:{action}", self.images["task"]))
            self.assertFalse(self.may(f"ecr:{action}", self.images["gateway"]))
        for action in ("CreateLogStream", "PutLogEvents"):
            self.assertTrue(self.may(f"logs:{action}", self.stream))
            self.assertFalse(self.may(f"logs:{action}", self.other_stream))

    def test_nothing_is_carried_out_with_credentials_from_elsewhere(self):
        elsewhere = {"own": [EVERYTHING], "account": "999999999999"}
        self.assertFalse(self.may("ecr:GetAuthorizationToken", "*", **elsewhere))
        self.assertFalse(self.may("logs:PutLogEvents", self.stream, **elsewhere))
        self.assertFalse(self.may("logs:PutLogEvents", self.stream.replace(self.account, "999999999999"), **elsewhere))
        self.assertFalse(self.may("ecr:PutImage", self.images["task"], own=[EVERYTHING]))

    def test_of_s3_there_are_image_layers_and_nothing_else(self):
        layers = self.deployment.endpoint("s3")
        region = self.deployment.outputs["aws__region"]

        def may(action, bucket):
            # Layers come by addresses that ECR has signed.
            context = {"aws:PrincipalArn": "arn:aws:iam::999999999999:role/registry"}
            resource = f"arn:aws:s3:::{bucket}/x"
            return is_allowed(action, resource, context, [EVERYTHING], boundaries=[layers])

        bucket = f"prod-{region}-starport-layer-bucket"
        self.assertTrue(may("s3:GetObject", bucket))
        self.assertFalse(may("s3:PutObject", bucket))
        self.assertFalse(may("s3:GetObject", "mine"))


class Trust(unittest.TestCase):
    def test_a_role_is_taken_by_its_service_only(self):
        deployment = applied()
        for address, role in deployment.all("aws_iam_role"):
            (statement,) = Policy(role["assume_role_policy"]).statements
            self.assertEqual(set(statement["Principal"]), {"Service"}, address)
            self.assertEqual(statement["Action"], "sts:AssumeRole", address)


if __name__ == "__main__":
    unittest.main()
