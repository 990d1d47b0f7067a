# How many gateways there are. What a gateway does is move bytes, so its processor tells how much of it there is. A
# gateway that leaves closes its connections, and clients come back to another: so scaling in is slow.

locals {
  targets = {
    cpu    = { metric = "ECSServiceAverageCPUUtilization", value = 50 }
    memory = { metric = "ECSServiceAverageMemoryUtilization", value = 60 }
  }
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this.name}"
  min_capacity       = var.count_range.min
  max_capacity       = var.count_range.max
}

resource "aws_appautoscaling_policy" "this" {
  for_each = local.targets

  name               = each.key
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = each.value.value
    scale_out_cooldown = 60
    scale_in_cooldown  = 900

    predefined_metric_specification {
      predefined_metric_type = each.value.metric
    }
  }
}
