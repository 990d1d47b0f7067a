# The gateway's settings, by section and key with two underscores between. The gateways' service gets them as its
# environment, and outputs.tf hands them on.

locals {
  # Those that follow from the deployment, and are nobody's to set otherwise.
  derived_settings = {
    server__state_dir = local.state_dir
    server__drain     = "${var.leaving.drain}s"
    log__format       = "json"

    listen__client  = "0.0.0.0:${local.ports.client}"
    listen__admin   = "0.0.0.0:${local.ports.admin}"
    listen__task    = "0.0.0.0:${local.ports.task}"
    listen__peer    = "0.0.0.0:${local.ports.peer}"
    listen__proxies = module.network.balancer_cidrs
    listen__origins = ["https://${var.domain}"]

    # What is not said of an issuer is the gateway's to fill in.
    auth__issuers = [for issuer in var.issuers : { for key, value in issuer : key => value if value != null }]

    store__kind     = "postgres"
    store__host     = module.database.host
    store__port     = local.ports.database
    store__database = local.database.name
    store__user     = local.database.user
    store__auth     = "iam"
    store__ca       = "ssm:/${local.secrets_prefix}/gateway/database-ca"

    aws__region = var.region

    tasks__compute       = "ecs"
    tasks__dial          = "wss://${local.task_host}:${local.ports.task}"
    tasks__authorities   = [for name in var.task_authorities : "ssm:/${local.secrets_prefix}/gateway/${name}"]
    tasks__enrolment_key = "ssm:/${local.secrets_prefix}/gateway/enrolment-key"
    tasks__authority_key = "ssm:/${local.secrets_prefix}/gateway/${var.task_authority_key}"

    ecs__cluster         = module.tasks.cluster_arn
    ecs__family          = local.family
    ecs__image           = "${module.tasks.repository_urls["task"]}:${var.images.task}"
    ecs__architecture    = lower(var.architecture)
    ecs__subnets         = module.network.subnet_ids.tasks
    ecs__security_groups = [module.network.group_ids.tasks]
    ecs__execution_role  = module.tasks.execution_role_arn
    ecs__task_role       = module.tasks.task_role_arn
    ecs__log_group       = module.tasks.log_group_name
    ecs__spot            = var.spot

    volumes__kind     = "efs"
    efs__file_systems = module.volumes.file_system_ids
    efs__root         = "/users"
    efs__uid_range    = var.uid_range

    secrets__kind   = "ssm"
    secrets__prefix = "/${local.secrets_prefix}"

    limits__sessions = var.sessions_max
  }

  # Those that are other here than on one machine.
  usual_settings = {
    # A start is some calls to AWS, which takes 20 a second of the account. So many under way, of all gateways together,
    # keep it busy, and a storm is a line.
    limits__parallel_starts = 64
    limits__start_queue     = 2000
    # A task on Fargate takes some half a minute, most of it to fetch its image, and longer when many start at once.
    limits__start_deadline = "5m"
    # Of each gateway: main.tf holds all of them together against what the database takes.
    store__connections = 8
  }

  template_settings = { for name, template in var.templates : "templates__${name}" => template }

  settings = merge(local.usual_settings, local.template_settings, var.extra_settings, local.derived_settings)

  # Those whose names only the deployment's variables know.
  further_settings = {
    for name, value in local.settings : name => value
    if !contains(keys(merge(local.usual_settings, local.derived_settings)), name)
  }

  taken_settings = setintersection(keys(var.extra_settings), keys(local.derived_settings))

  # What a template may say. A test holds it against the gateway's code.
  template_keys = [
    "command", "mode", "env", "cwd", "secrets", "idle", "lifetime", "lifetime_limit", "spot", "motd", "limits",
  ]
}
