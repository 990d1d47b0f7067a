# The record of who talked to whom, and who was refused.

resource "aws_cloudwatch_log_group" "flows" {
  name              = "/${var.name}/flows"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

data "aws_iam_policy_document" "flows_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["vpc-flow-logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "flows" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [aws_cloudwatch_log_group.flows.arn, "${aws_cloudwatch_log_group.flows.arn}:*"]
  }
}

resource "aws_iam_role" "flows" {
  name               = "${var.name}-flows"
  description        = "Writes the VPC's flow logs"
  assume_role_policy = data.aws_iam_policy_document.flows_trust.json
}

resource "aws_iam_role_policy" "flows" {
  name   = "write"
  role   = aws_iam_role.flows.id
  policy = data.aws_iam_policy_document.flows.json
}

resource "aws_flow_log" "this" {
  vpc_id                   = aws_vpc.this.id
  traffic_type             = "ALL"
  log_destination          = aws_cloudwatch_log_group.flows.arn
  iam_role_arn             = aws_iam_role.flows.arn
  max_aggregation_interval = 600

  tags = { Name = var.name }
}
