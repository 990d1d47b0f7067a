output "file_system_ids" {
  description = "The file systems, in the order in which they were named."
  value       = [for name in var.file_systems : aws_efs_file_system.this[name].id]
}

output "file_system_arns" {
  description = "The same, as policies name them."
  value       = [for name in var.file_systems : aws_efs_file_system.this[name].arn]
}
