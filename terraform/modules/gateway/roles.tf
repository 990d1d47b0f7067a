# What gateways may do, statement by statement. A test holds it against what the code calls: nothing is missing,
# and nothing is there that nobody needs.

locals {
  ecs     = "arn:${var.partition}:ecs:${var.region}:${var.account_id}"
  efs     = "arn:${var.partition}:elasticfilesystem:${var.region}:${var.account_id}"
  ssm     = "arn:${var.partition}:ssm:${var.region}:${var.account_id}"
  cluster = "${local.ecs}:cluster/${var.grants.session_cluster}"
  tasks   = "${local.ecs}:task/${var.grants.session_cluster}/*"
  # A definition for each user and template; the gateways' own family is another.
  definitions = "${local.ecs}:task-definition/${var.grants.family}-*"
  parameters  = "${local.ssm}:parameter/${var.grants.secrets_prefix}/*"
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.ecs}:*"]
    }
  }
}

data "aws_iam_policy_document" "gateway" {
  statement {
    sid       = "StartTasksOfThisFamilyInThisCluster"
    actions   = ["ecs:RunTask"]
    resources = [local.definitions]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster]
    }

    # Nobody opens a shell in a task but through its bridge.
    condition {
      test     = "StringEqualsIfExists"
      variable = "ecs:enable-execute-command"
      values   = ["false"]
    }
  }

  statement {
    sid       = "StopAndWatchTasksOfThisCluster"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = [local.tasks]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster]
    }
  }

  # Whether the cluster is there, before anybody asks for a session.
  statement {
    sid       = "SeeThisCluster"
    actions   = ["ecs:DescribeClusters"]
    resources = [local.cluster]
  }

  # Its resource type is the container instance, of which Fargate has none: the condition names the cluster.
  statement {
    sid       = "FindTasksOfThisCluster"
    actions   = ["ecs:ListTasks"]
    resources = ["*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster]
    }
  }

  # None of these knows a resource. What is registered can be used for no more than the roles below may be
  # passed to, and run in no cluster but this one; what could be deregistered is any definition of the
  # account, which is why a deployment is to have an account of its own (docs/operations.md).
  statement {
    sid = "KeepDefinitions"
    actions = [
      "ecs:DeregisterTaskDefinition",
      "ecs:DescribeTaskDefinition",
      "ecs:ListTaskDefinitionFamilies",
      "ecs:ListTaskDefinitions",
      "ecs:RegisterTaskDefinition",
    ]
    resources = ["*"]
  }

  # Tags are given as something is made, and never changed afterwards.
  statement {
    sid       = "TagWhatItStarts"
    actions   = ["ecs:TagResource"]
    resources = [local.tasks, local.definitions]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RegisterTaskDefinition", "RunTask"]
    }
  }

  statement {
    sid       = "GiveTasksTheirTwoRoles"
    actions   = ["iam:PassRole"]
    resources = var.grants.passed_roles

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid = "MakeAndCountAccessPoints"
    actions = [
      "elasticfilesystem:CreateAccessPoint",
      "elasticfilesystem:DescribeAccessPoints",
      "elasticfilesystem:DescribeFileSystems",
    ]
    resources = var.grants.file_systems
  }

  # One access point, by its own id: its ARN does not name its file system.
  statement {
    sid       = "FindAccessPoints"
    actions   = ["elasticfilesystem:DescribeAccessPoints"]
    resources = ["${local.efs}:access-point/*"]
  }

  # One that gateways made, which they have tagged; no other of the account.
  statement {
    sid       = "RemoveUsersAccessPoints"
    actions   = ["elasticfilesystem:DeleteAccessPoint"]
    resources = ["${local.efs}:access-point/*"]

    condition {
      test     = "Null"
      variable = "aws:ResourceTag/shellgate:user"
      values   = ["false"]
    }
  }

  statement {
    sid       = "TagAccessPoints"
    actions   = ["elasticfilesystem:TagResource"]
    resources = concat(var.grants.file_systems, ["${local.efs}:access-point/*"])

    condition {
      test     = "StringEquals"
      variable = "elasticfilesystem:CreateAction"
      values   = ["CreateAccessPoint"]
    }
  }

  statement {
    sid = "ReadItsSecrets"
    actions = [
      "ssm:GetParameter",
      "ssm:GetParametersByPath",
    ]
    resources = [local.parameters]
  }

  # The key opens nothing for the gateway but through SSM, and nothing but parameters below the prefix.
  statement {
    sid       = "DecryptItsSecrets"
    actions   = ["kms:Decrypt"]
    resources = [var.grants.secrets_key]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ssm.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "StringLike"
      variable = "kms:EncryptionContext:PARAMETER_ARN"
      values   = [local.parameters]
    }
  }

  statement {
    sid       = "SignInToTheDatabase"
    actions   = ["rds-db:connect"]
    resources = ["arn:${var.partition}:rds-db:${var.region}:${var.account_id}:dbuser:${var.grants.database_cluster}/${var.grants.database_user}"]
  }
}

resource "aws_iam_role" "gateway" {
  name               = var.role_name
  description        = "A gateway: starts and stops users' tasks, makes their access points, reads their secrets"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "gateway" {
  name   = "gateway"
  role   = aws_iam_role.gateway.id
  policy = data.aws_iam_policy_document.gateway.json
}

# What ECS does on a gateway's behalf before it runs.
data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "SignInToTheRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "PullTheGatewaysImage"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:GetDownloadUrlForLayer",
    ]
    resources = [var.repository_arn]
  }

  statement {
    sid       = "WriteTheGatewaysLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.gateway.arn}:*"]
  }
}

resource "aws_iam_role" "execution" {
  name               = "${var.role_name}-execution"
  description        = "ECS for gateways: pulls their image, writes their logs"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "execution" {
  name   = "pull-and-log"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}
