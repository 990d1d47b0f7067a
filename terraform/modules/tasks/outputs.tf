output "cluster_arn" {
  description = "The cluster that tasks run in."
  value       = aws_ecs_cluster.this.arn
}

output "cluster_name" {
  description = "Its name."
  value       = aws_ecs_cluster.this.name
}

output "repository_urls" {
  description = "Where images are pushed, for gateways and for tasks."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "repository_arns" {
  description = "The same, as policies name them."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.arn }
}

output "task_role_arn" {
  description = "The role of users' tasks."
  value       = aws_iam_role.task.arn
}

output "execution_role_arn" {
  description = "The role with which ECS prepares users' tasks."
  value       = aws_iam_role.execution.arn
}

output "log_group_name" {
  description = "Where bridges write their logs."
  value       = aws_cloudwatch_log_group.sessions.name
}
