variable "name" {
  description = "The deployment's name, which everything that has a name begins with."
  type        = string
}

variable "region" {
  description = "The region, as ARNs have it."
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

variable "role_names" {
  description = "Names of the task role and of the execution role."
  type = object({
    task      = string
    execution = string
  })
}

variable "file_system_arns" {
  description = "The file systems that users' homes are on."
  type        = list(string)
}

variable "manage_registry_scanning" {
  description = "Whether the account's rules for scanning images are kept here. They are one set a region: by one deployment only."
  type        = bool
}

variable "images_kept" {
  description = "Images kept in each repository: how far back one can roll."
  type        = number
}

variable "storage_key_arn" {
  description = "The key that images are encrypted with."
  type        = string
}

variable "logs_key_arn" {
  description = "The key that log groups are encrypted with."
  type        = string
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}

variable "alarm_topic_arn" {
  description = "Where alarms go."
  type        = string
}
