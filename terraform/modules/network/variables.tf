variable "name" {
  description = "The deployment's name, which everything that has a name begins with."
  type        = string
}

variable "region" {
  description = "The region, as endpoints have it in their names."
  type        = string
}

variable "account_id" {
  description = "The account: endpoints let nobody else through."
  type        = string
}

variable "partition" {
  description = "The partition, as ARNs have it."
  type        = string
}

variable "cidr" {
  description = "The VPC's addresses. Three quarters are the tasks', a zone each."
  type        = string
}

variable "zones" {
  description = "The availability zones, two or three."
  type        = list(string)
}

variable "nat_per_zone" {
  description = "Whether each zone has a NAT gateway of its own, or all share the first zone's."
  type        = bool
}

variable "tasks_max" {
  description = "Tasks for which there are addresses, one each, also with one zone gone."
  type        = number
}

variable "client_cidrs" {
  description = "Networks from which clients may come to the load balancer."
  type        = list(string)
}

variable "issuer_hosts" {
  description = "Host names of the token issuers' key sets: what gateways look up and fetch outside."
  type        = list(string)
}

variable "internal_zone" {
  description = "The private DNS zone in which tasks find gateways."
  type        = string
}

variable "gateway_role_arn" {
  description = "The gateways' role, which alone may use the gateways' endpoints."
  type        = string
}

variable "ports" {
  description = "The ports of the gateway's listeners and of the database."
  type = object({
    client   = number
    admin    = number
    task     = number
    peer     = number
    database = number
  })
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
