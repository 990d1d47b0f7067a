variable "name" {
  description = "The deployment's name, which everything that has a name begins with."
  type        = string
}

variable "account_id" {
  description = "The account, whose databases alone may take the monitoring role."
  type        = string
}

variable "partition" {
  description = "The partition, as ARNs have it."
  type        = string
}

variable "engine_version" {
  description = "Aurora PostgreSQL's version, major and minor, as the cluster is made: AWS moves minor ones on."
  type        = string
}

variable "instances" {
  description = "Instances: one writes, the others take over when it fails."
  type        = number
}

variable "capacity" {
  description = "Between how many Aurora capacity units (2 GiB each) an instance scales."
  type = object({
    min = number
    max = number
  })
}

variable "database" {
  description = "The database's name."
  type        = string
}

variable "port" {
  description = "Where it listens."
  type        = number
}

variable "connections" {
  description = "The most connections that there should be: those of all gateways while one version replaces another, and a reserve."
  type        = number
}

variable "subnet_ids" {
  description = "The database's subnets, one a zone."
  type        = list(string)
}

variable "security_group_id" {
  description = "The database's group."
  type        = string
}

variable "backup_days" {
  description = "How far back the database can be restored to any second."
  type        = number
}

variable "protect" {
  description = "Whether the database refuses to be deleted, and leaves a last snapshot."
  type        = bool
}

variable "storage_key_arn" {
  description = "The key that rows, snapshots and the master password are encrypted with."
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
