# How many gateways there are. What a gateway does is move bytes, so its processor tells how much of it there is, and its
# memory how many sessions it keeps. A session stays where it is until its link breaks: a new gateway gets new sessions,
# and what it takes from the others is little at first. One that leaves has its sessions move: so scaling in is slow.

locals {
  targets = {
    cpu    = { metric = "ECSServiceAverageCPUUtilization", value = 50 }
    memory = { metric = "ECSServiceAverageMemoryUtilization", value = 60 }
  }

  cooldowns = {
    # Until a gateway that was asked for is ready and counted in the average.
    out = 180
    # Everybody who moved has settled.
    in = 1800
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
    scale_out_cooldown = local.cooldowns.out
    scale_in_cooldown  = local.cooldowns.in

    predefined_metric_specification {
      predefined_metric_type = each.value.metric
    }
  }
}
