# What somebody has to look at. What to do about each is in docs/operations.md, by its name.

locals {
  # Of the load balancers.
  balancer_alarms = {
    "5xx" = {
      metric     = "HTTPCode_Target_5XX_Count"
      namespace  = "AWS/ApplicationELB"
      dimensions = { LoadBalancer = aws_lb.clients.arn_suffix }
      statistic  = "Sum"
      above      = 20
      means      = "Gateways fail their callers: more than 20 answers of 500 and above in each of 3 minutes. A deployment is rolled back."
    }
    "unhealthy" = {
      metric     = "UnHealthyHostCount"
      namespace  = "AWS/ApplicationELB"
      dimensions = { LoadBalancer = aws_lb.clients.arn_suffix, TargetGroup = aws_lb_target_group.clients.arn_suffix }
      statistic  = "Maximum"
      above      = 0
      means      = "A gateway is not ready for clients."
    }
    "tasks-unhealthy" = {
      metric     = "UnHealthyHostCount"
      namespace  = "AWS/NetworkELB"
      dimensions = { LoadBalancer = aws_lb.tasks.arn_suffix, TargetGroup = aws_lb_target_group.tasks.arn_suffix }
      statistic  = "Maximum"
      above      = 0
      means      = "A gateway is not ready for tasks: their bridges cannot dial it."
    }
    "rejected" = {
      metric     = "RejectedConnectionCount"
      namespace  = "AWS/ApplicationELB"
      dimensions = { LoadBalancer = aws_lb.clients.arn_suffix }
      statistic  = "Sum"
      above      = 0
      means      = "The load balancer is full and turns clients away."
    }
  }

  # Of the service's processor and memory, which scaling should have kept low.
  service_alarms = { cpu = "CPUUtilization", memory = "MemoryUtilization" }

  # Of what gateways write to their log, by a text that stands in the code.
  log_alarms = {
    errors = {
      pattern = "{ $.level = \"ERROR\" }"
      above   = 5
      means   = "A gateway writes errors: each is something that should not happen."
    }
    "start-failed" = {
      pattern = "{ $.message = \"a start failed\" }"
      above   = 5
      means   = "Sessions do not start; the log says why, by session."
    }
    "permission-missing" = {
      pattern = "\"role must be allowed\""
      above   = 0
      means   = "IAM refuses what the gateway needs; the log names the action."
    }
    throttled = {
      pattern = "\"AWS takes no more calls for now\""
      above   = 5
      means   = "AWS takes fewer calls than are needed, and has for minutes: starts take longer."
    }
    compromised = {
      pattern = "{ $.action = \"enrolment.compromised\" }"
      above   = 0
      means   = "A task's enrolment token was used by two: somebody has read what only the bridge should."
    }
    "access-points" = {
      pattern = "\"access points: add a file system\""
      above   = 0
      means   = "A file system has 80 % of the access points that it can have: soon no new user gets a home on it."
    }
    authority = {
      pattern = "\"authority runs out within 30 days\""
      above   = 0
      means   = "The tasks' private CA runs out: then no task can dial a gateway, and no gateway another."
    }
    "gateway-dead" = {
      pattern = "{ $.message = \"a gateway is declared dead\" }"
      above   = 0
      means   = "A gateway gave no sign of life and had not said that it leaves: the others take its sessions."
    }
    "gateway-stalled" = {
      pattern = "\"this gateway was declared dead\""
      above   = 0
      means   = "A gateway that the others had declared dead was alive: it stood still, or could not reach the database. It leaves."
    }
    secrets = {
      pattern = "{ $.message = \"secrets are as they were read before\" }"
      above   = 5
      means   = "SSM does not answer: sessions keep the secrets that they have, and new ones may not start."
    }
    "issuer-keys" = {
      pattern = "{ $.message = \"signing keys could not be fetched\" }"
      above   = 0
      means   = "An issuer's keys cannot be fetched. Tokens are believed for as long as auth.issuers.max_age says."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "balancer" {
  for_each = local.balancer_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.means
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = 60
  evaluation_periods  = 3
  threshold           = each.value.above
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "service" {
  for_each = local.service_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "Gateways use more than 85 % of their ${each.key} for 15 minutes."
  namespace           = "AWS/ECS"
  metric_name         = each.value
  dimensions          = { ClusterName = aws_ecs_cluster.this.name, ServiceName = aws_ecs_service.this.name }
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  threshold           = 85
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

# Fewer gateways than there have to be, or none: then nothing else is measured either.
resource "aws_cloudwatch_metric_alarm" "running" {
  alarm_name          = "${var.name}-running"
  alarm_description   = "Fewer gateways run than the service is to have at least."
  namespace           = "ECS/ContainerInsights"
  metric_name         = "RunningTaskCount"
  dimensions          = { ClusterName = aws_ecs_cluster.this.name, ServiceName = aws_ecs_service.this.name }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 5
  threshold           = var.count_range.min
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "certificate" {
  alarm_name          = "${var.name}-certificate"
  alarm_description   = "The public certificate runs out in less than 30 days: ACM has not renewed it."
  namespace           = "AWS/CertificateManager"
  metric_name         = "DaysToExpiry"
  dimensions          = { CertificateArn = var.certificate_arn }
  statistic           = "Minimum"
  period              = 86400
  evaluation_periods  = 1
  threshold           = 30
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.log_alarms

  name           = "${var.name}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.gateway.name
  pattern        = each.value.pattern

  metric_transformation {
    name          = "Log-${each.key}"
    namespace     = var.name
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "log" {
  for_each = local.log_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.means
  namespace           = var.name
  metric_name         = aws_cloudwatch_log_metric_filter.this[each.key].metric_transformation[0].name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = each.value.above
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}
