# Where users' tasks run: a cluster of their own, so that who may stop tasks here can stop no gateway, and the one
# log group that their bridges write to. The gateway registers the definitions and starts the tasks.

resource "aws_ecs_cluster" "this" {
  # checkov:skip=CKV_AWS_65:Insights are metrics of each family, paid by the metric, and here every user has one (docs/cost.md).
  name = "${var.name}-sessions"

  setting {
    name  = "containerInsights"
    value = "disabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_cloudwatch_log_group" "sessions" {
  name              = "/${var.name}/sessions"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}
