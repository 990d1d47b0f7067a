variable "name" {
  description = "The deployment's name, which everything that has a name begins with."
  type        = string
}

variable "account_id" {
  description = "The account, as ARNs have it."
  type        = string
}

variable "partition" {
  description = "The partition, as ARNs have it."
  type        = string
}

variable "region" {
  description = "The region, as ARNs have it."
  type        = string
}

variable "file_systems" {
  description = "Names of the file systems. Each holds up to 10,000 users; a further one is added at the end."
  type        = list(string)
}

variable "subnet_ids" {
  description = "The tasks' subnets, one a zone: each gets a mount target of each file system."
  type        = list(string)
}

variable "security_group_id" {
  description = "The group of the mount targets."
  type        = string
}

variable "task_role_arn" {
  description = "The one role that may mount."
  type        = string
}

variable "storage_key_arn" {
  description = "The key that files and their backups are encrypted with."
  type        = string
}

variable "backup_days" {
  description = "How long backups are kept."
  type        = number
}

variable "protect" {
  description = "Whether backups are kept when somebody destroys the deployment."
  type        = bool
}

variable "alarm_topic_arn" {
  description = "Where alarms go."
  type        = string
}
