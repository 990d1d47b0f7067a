# Three keys, so that who may use one may not use the others: the gateway's role decrypts with the key of the secrets
# alone. Each is rotated by AWS every year.

locals {
  keys = {
    storage   = aws_kms_key.storage.key_id
    secrets   = aws_kms_key.secrets.key_id
    telemetry = aws_kms_key.telemetry.key_id
  }
}

# The account's own policies decide who else may use a key; without this nobody could ever change it.
data "aws_iam_policy_document" "account_key" {
  # checkov:skip=CKV_AWS_109:A key's policy speaks of that key only, and its account has to be able to manage it.
  # checkov:skip=CKV_AWS_111:Likewise.
  # checkov:skip=CKV_AWS_356:Likewise: "*" in a key's policy is the key.
  statement {
    sid       = "AccountManagesItsKey"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["${local.iam}:root"]
    }
  }
}

data "aws_iam_policy_document" "telemetry_key" {
  source_policy_documents = [data.aws_iam_policy_document.account_key.json]

  statement {
    sid = "LogGroupsOfThisDeployment"
    actions = [
      "kms:Decrypt",
      "kms:Describe*",
      "kms:Encrypt",
      "kms:GenerateDataKey*",
      "kms:ReEncrypt*",
    ]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        for group in ["/${var.name}/*", "aws-waf-logs-${var.name}", "/aws/ecs/containerinsights/${var.name}-*", "/aws/rds/cluster/${var.name}/*"] :
        "arn:${local.partition}:logs:${var.region}:${var.account_id}:log-group:${group}"
      ]
    }
  }

  statement {
    sid       = "AlarmsToTheirTopic"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_kms_key" "storage" {
  description             = "${var.name}: files, rows, images and their backups"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.account_key.json
}

resource "aws_kms_key" "secrets" {
  description             = "${var.name}: users' and gateways' secrets in Parameter Store"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.account_key.json
}

resource "aws_kms_key" "telemetry" {
  description             = "${var.name}: logs and alarms"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.telemetry_key.json
}

resource "aws_kms_alias" "this" {
  for_each = local.keys

  name          = "alias/${var.name}-${each.key}"
  target_key_id = each.value
}
