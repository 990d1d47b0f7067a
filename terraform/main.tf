# The whole deployment: five modules, and what they have in common. Settings are in settings.tf, keys in keys.tf, who
# hears of alarms in alerts.tf.

data "aws_partition" "current" {}

locals {
  partition = data.aws_partition.current.partition
  iam       = "arn:${local.partition}:iam::${var.account_id}"

  ports = { client = 7800, admin = 7801, task = 7802, peer = 7803, database = 5432 }

  # Names that more than one module speaks of, so that none has to wait for another.
  gateway_role   = "${var.name}-gateway"
  task_role      = "${var.name}-task"
  execution_role = "${var.name}-task-execution"
  internal_zone  = "${var.name}.internal"
  task_host      = "tasks.${local.internal_zone}"
  family         = "${var.name}-session"
  secrets_prefix = var.name
  state_dir      = "/var/lib/shellgate"
  database       = { name = "shellgate", user = "gateway" }

  # Of the database. Each gateway has as many as it is told to and one for signs of life, and while one version replaces another there are twice
  # the gateways. AWS keeps some for itself, and setting up takes one or two.
  connections = {
    each     = try(tonumber(var.extra_settings.store__connections), local.usual_settings.store__connections)
    reserved = 25
    # By its largest capacity an instance takes 189 at one unit, 823 at four, 1,669 at eight, and so on to 5,000: this
    # stays below. One that may shrink to half a unit takes 2,000 at most.
    possible = min(floor(180 * var.database.max_capacity), var.database.min_capacity < 1 ? 2000 : 5000)
  }
  connections_needed = 2 * var.gateway.max * (local.connections.each + 1) + local.connections.reserved

  issuer_hosts = distinct([for issuer in var.issuers : regex("^https://([a-z0-9.-]+)/", issuer.jwks_url)[0]])
}

module "network" {
  source = "./modules/network"

  name               = var.name
  region             = var.region
  account_id         = var.account_id
  partition          = local.partition
  cidr               = var.cidr
  zones              = var.zones
  nat_per_zone       = var.nat_per_zone
  tasks_max          = var.sessions_max
  client_cidrs       = var.client_cidrs
  issuer_hosts       = local.issuer_hosts
  internal_zone      = local.internal_zone
  gateway_role_arn   = "${local.iam}:role/${local.gateway_role}"
  ports              = local.ports
  logs_key_arn       = aws_kms_key.telemetry.arn
  log_retention_days = var.log_retention_days
  alarm_topic_arn    = aws_sns_topic.alarms.arn
}

module "database" {
  source = "./modules/database"

  name               = var.name
  account_id         = var.account_id
  partition          = local.partition
  engine_version     = var.database.engine_version
  instances          = var.database.instances
  capacity           = { min = var.database.min_capacity, max = var.database.max_capacity }
  database           = local.database.name
  port               = local.ports.database
  connections        = local.connections_needed
  subnet_ids         = module.network.subnet_ids.database
  security_group_id  = module.network.group_ids.database
  backup_days        = var.backup_days
  protect            = var.protect
  storage_key_arn    = aws_kms_key.storage.arn
  logs_key_arn       = aws_kms_key.telemetry.arn
  log_retention_days = var.log_retention_days
  alarm_topic_arn    = aws_sns_topic.alarms.arn
}

module "volumes" {
  source = "./modules/volumes"

  name              = var.name
  region            = var.region
  account_id        = var.account_id
  partition         = local.partition
  file_systems      = var.file_systems
  subnet_ids        = module.network.subnet_ids.tasks
  security_group_id = module.network.group_ids.volumes
  task_role_arn     = module.tasks.task_role_arn
  storage_key_arn   = aws_kms_key.storage.arn
  backup_days       = var.backup_days
  protect           = var.protect
  alarm_topic_arn   = aws_sns_topic.alarms.arn
}

module "tasks" {
  source = "./modules/tasks"

  name                     = var.name
  region                   = var.region
  account_id               = var.account_id
  partition                = local.partition
  role_names               = { task = local.task_role, execution = local.execution_role }
  file_system_arns         = module.volumes.file_system_arns
  manage_registry_scanning = var.manage_registry_scanning
  images_kept              = var.images_kept
  storage_key_arn          = aws_kms_key.storage.arn
  logs_key_arn             = aws_kms_key.telemetry.arn
  log_retention_days       = var.log_retention_days
  alarm_topic_arn          = aws_sns_topic.alarms.arn
}

module "gateway" {
  source = "./modules/gateway"

  name           = var.name
  region         = var.region
  account_id     = var.account_id
  partition      = local.partition
  role_name      = local.gateway_role
  image          = "${module.tasks.repository_urls["gateway"]}:${var.images.gateway}"
  repository_arn = module.tasks.repository_arns["gateway"]
  architecture   = var.architecture
  cpu            = var.gateway.cpu
  memory         = var.gateway.memory
  count_range    = { min = var.gateway.min, max = var.gateway.max }
  user           = var.gateway.user
  settings       = local.settings
  state_dir      = local.state_dir
  ports          = { client = local.ports.client, admin = local.ports.admin, task = local.ports.task, peer = local.ports.peer }
  seconds = {
    balancer_idle  = var.balancer_idle_seconds
    deregistration = var.leaving.deregistration
    stop_timeout   = var.leaving.stop_timeout
  }

  vpc_id               = module.network.vpc_id
  subnet_ids           = { public = module.network.subnet_ids.public, gateway = module.network.subnet_ids.gateway }
  group_ids            = module.network.group_ids
  certificate_arn      = var.certificate_arn
  public_zone_id       = var.public_zone_id
  public_host          = var.domain
  internal_zone_id     = module.network.internal_zone_id
  task_host            = local.task_host
  requests_per_address = var.requests_per_address

  grants = {
    session_cluster  = module.tasks.cluster_name
    family           = local.family
    passed_roles     = [module.tasks.task_role_arn, module.tasks.execution_role_arn]
    file_systems     = module.volumes.file_system_arns
    secrets_prefix   = local.secrets_prefix
    secrets_key      = aws_kms_key.secrets.arn
    database_cluster = module.database.resource_id
    database_user    = local.database.user
  }

  protect            = var.protect
  logs_key_arn       = aws_kms_key.telemetry.arn
  log_retention_days = var.log_retention_days
  alarm_topic_arn    = aws_sns_topic.alarms.arn
}
