# The file systems that users' homes are on. The gateway makes an access point for each user; tasks mount through
# it, and whoever comes without one, without TLS or with another role is refused by the file system itself.

locals {
  file_systems = toset(var.file_systems)
  # The mount targets: each file system in each of the tasks' subnets.
  targets = merge([
    for name in var.file_systems : {
      for index, subnet in var.subnet_ids : "${name}-${index}" => { file_system = name, subnet = subnet }
    }
  ]...)
}

resource "aws_efs_file_system" "this" {
  for_each = local.file_systems

  creation_token  = "${var.name}-${each.key}"
  encrypted       = true
  kms_key_id      = var.storage_key_arn
  throughput_mode = "elastic"

  lifecycle_policy {
    transition_to_ia = "AFTER_30_DAYS"
  }

  lifecycle_policy {
    transition_to_primary_storage_class = "AFTER_1_ACCESS"
  }

  tags = { Name = "${var.name}-${each.key}" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_efs_mount_target" "this" {
  for_each = local.targets

  file_system_id  = aws_efs_file_system.this[each.value.file_system].id
  subnet_id       = each.value.subnet
  security_groups = [var.security_group_id]
}

data "aws_iam_policy_document" "file_system" {
  for_each = local.file_systems

  statement {
    sid       = "TasksThroughTheirAccessPoint"
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = [aws_efs_file_system.this[each.key].arn]

    principals {
      type        = "AWS"
      identifiers = [var.task_role_arn]
    }

    condition {
      test     = "Bool"
      variable = "elasticfilesystem:AccessedViaMountTarget"
      values   = ["true"]
    }

    condition {
      test     = "ArnLike"
      variable = "elasticfilesystem:AccessPointArn"
      values   = ["arn:${var.partition}:elasticfilesystem:${var.region}:${var.account_id}:access-point/fsap-*"]
    }
  }

  # What follows holds whatever a role's own policy allows, now or later.
  statement {
    sid       = "NothingWithoutTls"
    effect    = "Deny"
    actions   = ["*"]
    resources = [aws_efs_file_system.this[each.key].arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  statement {
    sid       = "NothingWithoutAnAccessPoint"
    effect    = "Deny"
    actions   = ["elasticfilesystem:Client*"]
    resources = [aws_efs_file_system.this[each.key].arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Null"
      variable = "elasticfilesystem:AccessPointArn"
      values   = ["true"]
    }
  }

  statement {
    sid       = "NobodyIsRoot"
    effect    = "Deny"
    actions   = ["elasticfilesystem:ClientRootAccess"]
    resources = [aws_efs_file_system.this[each.key].arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }

  statement {
    sid       = "NobodyButTasks"
    effect    = "Deny"
    actions   = ["elasticfilesystem:Client*"]
    resources = [aws_efs_file_system.this[each.key].arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = [var.task_role_arn]
    }
  }
}

resource "aws_efs_file_system_policy" "this" {
  for_each = local.file_systems

  file_system_id = aws_efs_file_system.this[each.key].id
  policy         = data.aws_iam_policy_document.file_system[each.key].json
}

# Backups are the plan's in backup.tf, not EFS's own besides.
resource "aws_efs_backup_policy" "this" {
  for_each = local.file_systems

  file_system_id = aws_efs_file_system.this[each.key].id

  backup_policy {
    status = "DISABLED"
  }
}
