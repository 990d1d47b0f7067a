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

variable "role_name" {
  description = "The name of the gateway's role."
  type        = string
}

variable "image" {
  description = "The gateway's image, with a tag that never moves."
  type        = string
}

variable "repository_arn" {
  description = "The repository that it is pulled from."
  type        = string
}

variable "architecture" {
  description = "What the image is built for, as ECS says it."
  type        = string
}

variable "cpu" {
  description = "Each gateway's share of a processor, 1024 a vCPU."
  type        = number
}

variable "memory" {
  description = "Each gateway's memory, in MiB."
  type        = number
}

variable "count_range" {
  description = "Between how many gateways the service scales."
  type = object({
    min = number
    max = number
  })
}

variable "settings" {
  description = "The gateway's settings: values by section and key, two underscores between."
  type        = any
}

variable "ports" {
  description = "The ports of the gateway's listeners."
  type = object({
    client = number
    admin  = number
    task   = number
    peer   = number
  })
}

variable "seconds" {
  description = "How long things take: an idle connection at the load balancer, and the stages of a gateway's leaving."
  type = object({
    balancer_idle  = number
    deregistration = number
    stop_timeout   = number
  })
}

variable "state_dir" {
  description = "The one place in the container that can be written to."
  type        = string
}

variable "user" {
  description = "The uid and gid that the image's gateway runs as."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "The subnets of load balancer and gateways, one a zone."
  type = object({
    public  = list(string)
    gateway = list(string)
  })
}

variable "group_ids" {
  description = "The security groups of both load balancers and of gateways."
  type = object({
    balancer      = string
    task_balancer = string
    gateway       = string
  })
}

variable "certificate_arn" {
  description = "The certificate for the public name, in ACM."
  type        = string
}

variable "public_zone_id" {
  description = "The public DNS zone that gets the record for the public name; none, and it is made elsewhere."
  type        = string
}

variable "public_host" {
  description = "The public name."
  type        = string
}

variable "internal_zone_id" {
  description = "The private DNS zone in which tasks find gateways."
  type        = string
}

variable "task_host" {
  description = "The name that tasks dial."
  type        = string
}

variable "requests_per_address" {
  description = "Requests that one address may make in five minutes."
  type        = number
}

variable "grants" {
  description = "What the gateway's role may touch, as policies name it."
  type = object({
    session_cluster  = string
    family           = string
    passed_roles     = list(string)
    file_systems     = list(string)
    secrets_prefix   = string
    secrets_key      = string
    database_cluster = string
    database_user    = string
  })
}

variable "protect" {
  description = "Whether load balancers refuse to be deleted."
  type        = bool
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
