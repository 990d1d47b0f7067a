# The AWS services that are reached without leaving the VPC, and by whom. An endpoint's policy holds whatever
# credentials somebody brings along: without one, a program in a task could carry data into an account of its own.

locals {
  # Tasks and gateways: pulling an image and writing logs.
  shared_services = {
    ecr_api = { service = "ecr.api", policy = data.aws_iam_policy_document.images.json }
    ecr_dkr = { service = "ecr.dkr", policy = data.aws_iam_policy_document.images.json }
    logs    = { service = "logs", policy = data.aws_iam_policy_document.logs.json }
  }

  # Gateways only. Their own role says what they may do there.
  gateway_services = {
    ecs = { service = "ecs", policy = data.aws_iam_policy_document.gateway["ecs"].json }
    efs = { service = "elasticfilesystem", policy = data.aws_iam_policy_document.gateway["elasticfilesystem"].json }
    ssm = { service = "ssm", policy = data.aws_iam_policy_document.gateway["ssm"].json }
    kms = { service = "kms", policy = data.aws_iam_policy_document.gateway["kms"].json }
  }
}

resource "aws_vpc_endpoint" "shared" {
  for_each = local.shared_services

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.value.service}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for subnet in aws_subnet.gateway : subnet.id]
  security_group_ids  = [aws_security_group.this["endpoints"].id]
  policy              = each.value.policy

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_endpoint" "gateway" {
  for_each = local.gateway_services

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.value.service}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for subnet in aws_subnet.gateway : subnet.id]
  security_group_ids  = [aws_security_group.this["gateway_endpoints"].id]
  policy              = each.value.policy

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = concat([aws_route_table.tasks.id], [for table in aws_route_table.gateway : table.id])
  policy            = data.aws_iam_policy_document.layers.json

  tags = { Name = "${var.name}-s3" }
}

data "aws_iam_policy_document" "images" {
  statement {
    sid       = "SignIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [var.account_id]
    }
  }

  statement {
    sid = "PullThisDeploymentsImages"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:GetDownloadUrlForLayer",
    ]
    resources = ["arn:${var.partition}:ecr:${var.region}:${var.account_id}:repository/${var.name}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "logs" {
  statement {
    sid       = "WriteThisDeploymentsLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:/${var.name}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [var.account_id]
    }
  }
}

# ECR signs the addresses of its layers itself, so whose request it is cannot be a condition: the bucket is.
data "aws_iam_policy_document" "layers" {
  # checkov:skip=CKV_AWS_283:The one bucket is AWS's, who may read it is in the address, and it is nothing but image layers.
  statement {
    sid       = "ReadLayers"
    actions   = ["s3:GetObject"]
    resources = ["arn:${var.partition}:s3:::prod-${var.region}-starport-layer-bucket/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }
}

data "aws_iam_policy_document" "gateway" {
  for_each = toset(["ecs", "elasticfilesystem", "ssm", "kms"])

  statement {
    sid       = "GatewaysOnly"
    actions   = ["${each.key}:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:PrincipalArn"
      values   = [var.gateway_role_arn]
    }
  }
}
