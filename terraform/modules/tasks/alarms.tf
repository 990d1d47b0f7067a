# The account's limits: tasks that do not start because of them wait in the gateway's queue.

locals {
  vcpu_classes = { on_demand = "Standard/OnDemand", spot = "Standard/Spot" }
}

resource "aws_cloudwatch_metric_alarm" "vcpus" {
  for_each = local.vcpu_classes

  alarm_name          = "${var.name}-vcpus-${replace(each.key, "_", "-")}"
  alarm_description   = "More than 80 % of the account's Fargate vCPUs (${each.value}) are in use. Ask for a higher quota."
  evaluation_periods  = 2
  threshold           = 80
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]

  metric_query {
    id          = "share"
    label       = "Per cent of the quota"
    expression  = "(used / SERVICE_QUOTA(used)) * 100"
    return_data = true
  }

  metric_query {
    id = "used"

    metric {
      namespace   = "AWS/Usage"
      metric_name = "ResourceCount"
      stat        = "Maximum"
      period      = 300
      dimensions = {
        Service  = "Fargate"
        Type     = "Resource"
        Resource = "vCPU"
        Class    = each.value
      }
    }
  }
}
