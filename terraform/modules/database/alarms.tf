# A database that is at its limits. That it is not there at all shows in the gateways' readiness.

locals {
  alarms = {
    capacity = {
      metric    = "ACUUtilization"
      statistic = "Average"
      above     = 90
      means     = "The database has used more than 90 % of its largest capacity for 15 minutes."
    }
    connections = {
      metric    = "DatabaseConnections"
      statistic = "Maximum"
      above     = var.connections
      means     = "The database has more connections than all gateways should need, also while they are replaced."
    }
    deadlocks = {
      metric    = "Deadlocks"
      statistic = "Maximum"
      above     = 0
      means     = "Statements of the database wait for each other, which the gateway's should not."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-database-${each.key}"
  alarm_description   = each.value.means
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = { DBClusterIdentifier = aws_rds_cluster.this.cluster_identifier }
  statistic           = each.value.statistic
  period              = 300
  evaluation_periods  = 3
  threshold           = each.value.above
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}
