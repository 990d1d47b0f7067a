# The two roles of users' tasks. Whatever a role may do, the programs in a task may do: nothing keeps them from
# speaking NFS or signing requests themselves.

locals {
  ecs = "arn:${var.partition}:ecs:${var.region}:${var.account_id}"
}

# Only ECS, and only for this account's tasks.
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

# What a task is: it mounts its user's home through an access point, which decides directory and uid, and nothing
# else. It can't list access points, so it would have to know another user's: 17 hex digits that stand in no
# name and no answer that it gets. It can't mount a root, on which all homes lie: without an access point the
# condition does not hold.
data "aws_iam_policy_document" "task" {
  statement {
    sid       = "MountThroughAnAccessPoint"
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = var.file_system_arns

    condition {
      test     = "ArnLike"
      variable = "elasticfilesystem:AccessPointArn"
      values   = ["arn:${var.partition}:elasticfilesystem:${var.region}:${var.account_id}:access-point/fsap-*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["true"]
    }
  }
}

resource "aws_iam_role" "task" {
  name               = var.role_names.task
  description        = "A user's task: mounts a home through its access point, and nothing else"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "task" {
  name   = "mount"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}

# What ECS does on a task's behalf before it runs. The task itself never holds this role.
data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "SignInToTheRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "PullTheTasksImage"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:GetDownloadUrlForLayer",
    ]
    resources = [aws_ecr_repository.this["task"].arn]
  }

  statement {
    sid       = "WriteTheSessionsLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.sessions.arn}:*"]
  }
}

resource "aws_iam_role" "execution" {
  name               = var.role_names.execution
  description        = "ECS for users' tasks: pulls their image, writes their logs"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "execution" {
  name   = "pull-and-log"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}
