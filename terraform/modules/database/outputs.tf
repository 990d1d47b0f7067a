output "host" {
  description = "Where the instance is that writes."
  value       = aws_rds_cluster.this.endpoint
}

output "port" {
  description = "Its port."
  value       = aws_rds_cluster.this.port
}

output "cluster_arn" {
  description = "The cluster, for setting up by the AWS API."
  value       = aws_rds_cluster.this.arn
}

output "cluster_identifier" {
  description = "The cluster, as metrics name it."
  value       = aws_rds_cluster.this.cluster_identifier
}

output "resource_id" {
  description = "The cluster, as policies for signing in name it."
  value       = aws_rds_cluster.this.cluster_resource_id
}

output "master_secret_arn" {
  description = "Where AWS keeps the master's password."
  value       = one(aws_rds_cluster.this.master_user_secret[*].secret_arn)
}
