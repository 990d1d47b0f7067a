# What the deployment has come to. Names with two underscores are the gateway's settings, section and key; those in
# `further_settings` are, too. settings.py makes a configuration file of them.

output "server__state_dir" {
  description = "The one directory that the gateway writes to."
  value       = local.settings.server__state_dir
}

output "server__drain" {
  description = "How long a gateway that leaves waits for requests under way."
  value       = local.settings.server__drain
}

output "log__format" {
  description = "How log lines look: alarms read them."
  value       = local.settings.log__format
}

output "listen__client" {
  description = "Where the load balancer finds a gateway."
  value       = local.settings.listen__client
}

output "listen__admin" {
  description = "Where health checks find it."
  value       = local.settings.listen__admin
}

output "listen__task" {
  description = "Where bridges find it, with TLS of its own."
  value       = local.settings.listen__task
}

output "listen__peer" {
  description = "Where other gateways find it, with TLS by which both sides know each other."
  value       = local.settings.listen__peer
}

output "listen__proxies" {
  description = "Networks of the load balancer, whose X-Forwarded-For is believed."
  value       = local.settings.listen__proxies
}

output "listen__origins" {
  description = "Origins whose pages may open a WebSocket."
  value       = local.settings.listen__origins
}

output "auth__issuers" {
  description = "Who issues users' tokens."
  value       = local.settings.auth__issuers
}

output "store__kind" {
  description = "Where rows are kept."
  value       = local.settings.store__kind
}

output "store__host" {
  description = "The database's writing instance."
  value       = local.settings.store__host
}

output "store__port" {
  description = "Its port."
  value       = local.settings.store__port
}

output "store__database" {
  description = "The database in it."
  value       = local.settings.store__database
}

output "store__user" {
  description = "The user that signs in with the gateway's role."
  value       = local.settings.store__user
}

output "store__auth" {
  description = "How: by a token of it."
  value       = local.settings.store__auth
}

output "store__ca" {
  description = "The parameter with the authorities that have signed the database's certificate."
  value       = local.settings.store__ca
}

output "store__connections" {
  description = "Connections that each gateway has at most."
  value       = local.settings.store__connections

  precondition {
    condition     = local.connections_needed <= local.connections.possible
    error_message = "Twice ${var.gateway.max} gateways, as during a deployment, have ${local.connections.each} connections each, and ${local.connections.reserved} are kept in reserve: a database of ${var.database.max_capacity} capacity units takes ${local.connections.possible}. Raise database.max_capacity, or lower gateway.max or store__connections in extra_settings."
  }
}

output "aws__region" {
  description = "The region of all that follows."
  value       = local.settings.aws__region
}

output "tasks__compute" {
  description = "What runs tasks."
  value       = local.settings.tasks__compute
}

output "tasks__dial" {
  description = "What bridges dial."
  value       = local.settings.tasks__dial
}

output "tasks__authorities" {
  description = "Where the certificates of the tasks' private CA are."
  value       = local.settings.tasks__authorities
}

output "tasks__enrolment_key" {
  description = "Where the key of enrolment tokens is."
  value       = local.settings.tasks__enrolment_key
}

output "tasks__authority_key" {
  description = "Where its key is."
  value       = local.settings.tasks__authority_key
}

output "ecs__cluster" {
  description = "The cluster that tasks run in."
  value       = local.settings.ecs__cluster
}

output "ecs__family" {
  description = "What the families of their definitions begin with."
  value       = local.settings.ecs__family
}

output "ecs__image" {
  description = "Their image."
  value       = local.settings.ecs__image
}

output "ecs__architecture" {
  description = "What it is built for."
  value       = local.settings.ecs__architecture
}

output "ecs__subnets" {
  description = "Their subnets, one a zone."
  value       = local.settings.ecs__subnets
}

output "ecs__security_groups" {
  description = "Their security groups."
  value       = local.settings.ecs__security_groups
}

output "ecs__execution_role" {
  description = "The role with which ECS prepares them."
  value       = local.settings.ecs__execution_role
}

output "ecs__task_role" {
  description = "The role that they have."
  value       = local.settings.ecs__task_role
}

output "ecs__log_group" {
  description = "Where their bridges' logs go."
  value       = local.settings.ecs__log_group
}

output "ecs__spot" {
  description = "Whether they run on Spot unless their template says otherwise."
  value       = local.settings.ecs__spot
}

output "volumes__kind" {
  description = "What users' homes are."
  value       = local.settings.volumes__kind
}

output "efs__file_systems" {
  description = "The file systems that they are on."
  value       = local.settings.efs__file_systems
}

output "efs__root" {
  description = "The directory that holds them."
  value       = local.settings.efs__root
}

output "efs__uid_range" {
  description = "The uids that users get."
  value       = local.settings.efs__uid_range
}

output "secrets__kind" {
  description = "Where users' secrets are."
  value       = local.settings.secrets__kind
}

output "secrets__prefix" {
  description = "What their names begin with."
  value       = local.settings.secrets__prefix
}

output "limits__sessions" {
  description = "Sessions of all users that have not ended, all gateways together."
  value       = local.settings.limits__sessions
}

output "limits__parallel_starts" {
  description = "Sessions that are started at one time, all gateways together."
  value       = local.settings.limits__parallel_starts
}

output "limits__start_queue" {
  description = "Sessions that may wait for their turn at one gateway."
  value       = local.settings.limits__start_queue
}

output "limits__start_deadline" {
  description = "How long a start may take, from its turn."
  value       = local.settings.limits__start_deadline
}

output "further_settings" {
  description = "Templates and what `extra_settings` says, by section and key."
  value       = local.further_settings

  precondition {
    condition     = length(local.taken_settings) == 0
    error_message = "extra_settings says what follows from the deployment or from a variable of its own: ${join(", ", local.taken_settings)}."
  }
}

output "repositories" {
  description = "Where images are pushed."
  value       = module.tasks.repository_urls
}

output "balancer" {
  description = "Where the public host name's record has to lead, if it is made elsewhere."
  value       = module.gateway.balancer_dns_name
}

output "service" {
  description = "Cluster and service of the gateways."
  value       = { cluster = module.gateway.cluster_name, service = module.gateway.service_name }
}

output "database" {
  description = "What setting up the gateways' database user needs."
  value       = { cluster = module.database.cluster_arn, secret = module.database.master_secret_arn }
}

output "secrets_key" {
  description = "The key that parameters are to be encrypted with. Without it AWS takes one that everybody in the account who may read parameters can decrypt with."
  value       = aws_kms_alias.this["secrets"].name
}
