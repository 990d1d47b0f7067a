output "cluster_name" {
  description = "The gateways' cluster."
  value       = aws_ecs_cluster.this.name
}

output "service_name" {
  description = "Their service."
  value       = aws_ecs_service.this.name
}

output "balancer_dns_name" {
  description = "Where the public name has to lead."
  value       = aws_lb.clients.dns_name
}

output "metrics" {
  description = "What the dashboard shows of the load balancers, as metrics name them."
  value = {
    balancer          = aws_lb.clients.arn_suffix
    task_balancer     = aws_lb.tasks.arn_suffix
    target_group      = aws_lb_target_group.clients.arn_suffix
    task_target_group = aws_lb_target_group.tasks.arn_suffix
  }
}
