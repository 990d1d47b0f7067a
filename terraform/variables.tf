# What a deployment decides. environments/ has the answers of two.

variable "name" {
  description = "The deployment's name. Everything that has a name begins with it, so an account can hold several."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "3 to 20 lower-case letters, digits and hyphens, with a letter first and no hyphen last."
  }

  # Parameters' names begin with it, and Parameter Store keeps these two for itself.
  validation {
    condition     = !startswith(var.name, "aws") && !startswith(var.name, "ssm")
    error_message = "A name that begins neither with \"aws\" nor with \"ssm\"."
  }
}

variable "account_id" {
  description = "The AWS account. Credentials of another one are refused. A deployment should have an account of its own."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account's id is 12 digits."
  }
}

variable "region" {
  description = "The AWS region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region, such as \"us-east-1\"."
  }
}

variable "zones" {
  description = "The availability zones, two or three. With one gone everything goes on in the others."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 3 && length(distinct(var.zones)) == length(var.zones)
    error_message = "Two or three different zones."
  }

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "The zones must be the region's."
  }
}

variable "cidr" {
  description = "The VPC's addresses. Each task takes one: of a /16 a zone's tasks have 16,368."
  type        = string
  default     = "10.64.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && can(regex("/(1[6-9]|20)$", var.cidr))
    error_message = "A network from /16 to /20."
  }
}

variable "nat_per_zone" {
  description = "Whether each zone has a NAT gateway of its own: one costs less, and all gateways lose the issuers' keys with its zone."
  type        = bool
  default     = true
}

variable "domain" {
  description = "The public host name, as it stands in browsers."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "A host name, such as \"shell.example.com\"."
  }
}

variable "certificate_arn" {
  description = "The public host name's certificate in ACM, in this region."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "The ARN of a certificate in ACM."
  }
}

variable "public_zone_id" {
  description = "The Route 53 zone that gets the public host name's record. Where it is not set the record is made elsewhere."
  type        = string
  default     = null
}

variable "client_cidrs" {
  description = "Networks from which clients may come."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.client_cidrs) > 0 && alltrue([for cidr in var.client_cidrs : can(cidrhost(cidr, 0))])
    error_message = "At least one network of IPv4."
  }
}

variable "issuers" {
  description = "Who issues users' tokens: `iss`, what may stand in `aud`, where the keys are published, and, if it is to be other than usual, with which algorithms it signs, how often keys are fetched and how long they are believed without."
  type = list(object({
    issuer     = string
    audience   = list(string)
    jwks_url   = string
    algorithms = optional(list(string))
    refresh    = optional(string)
    max_age    = optional(string)
  }))

  validation {
    condition     = length(var.issuers) > 0 && alltrue([for issuer in var.issuers : can(regex("^https://[a-z0-9.-]+/", issuer.jwks_url))])
    error_message = "At least one issuer, whose keys are at an https URL with a host name and no port: only 443 leads out."
  }
}

variable "images" {
  description = "Tags of the images, in the repositories that are made here."
  type = object({
    gateway = string
    task    = string
  })

  validation {
    condition     = alltrue([for tag in values(var.images) : can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", tag)) && tag != "latest"])
    error_message = "Tags that say which image it is: \"latest\" does not."
  }
}

variable "architecture" {
  description = "What both images are built for."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "\"X86_64\" or \"ARM64\"."
  }
}

variable "gateway" {
  description = "A gateway's size (1024 a vCPU, MiB), how many there are at least and at most, and the uid:gid of their image. With two or more, one zone may go."
  type = object({
    cpu    = optional(number, 1024)
    memory = optional(number, 2048)
    min    = optional(number, 2)
    max    = optional(number, 6)
    user   = optional(string, "900:900")
  })
  default = {}

  validation {
    condition = contains(
      { 512 = [1024, 2048, 3072, 4096], 1024 = [2048, 3072, 4096, 5120, 6144, 7168, 8192], 2048 = [4096, 8192, 12288, 16384], 4096 = [8192, 16384] }[tostring(var.gateway.cpu)],
      var.gateway.memory,
    )
    error_message = "A pair of processor and memory that Fargate has: 1024 and 2048, say."
  }

  # Twenty, and as many beside them while they are replaced, have addresses in one zone of the smallest VPC.
  validation {
    condition     = var.gateway.min >= 1 && var.gateway.max >= var.gateway.min && var.gateway.max <= 20 && floor(var.gateway.min) == var.gateway.min && floor(var.gateway.max) == var.gateway.max
    error_message = "One gateway at least, no fewer at most than at least, and 20 at most."
  }
}

# Of any type, because templates differ in what they say: the gateway checks what stands in them.
variable "templates" {
  description = "What a session can run, by name, as `[templates.NAME]` of docs/configuration.md: command, mode, env, secrets, idle, limits and so on. A session that asks for none gets `default`."
  type        = any
  default = {
    # The smallest size of Fargate that an editor, a compiler and an agent have room in (docs/cost.md).
    default = { limits = { cpu = "1core", memory = "2GiB" } }
  }

  validation {
    condition     = can(keys(var.templates)) && alltrue([for name, template in var.templates : can(regex("^[a-z]([a-z0-9-]|_[a-z0-9-])*$", name)) && can(keys(template))])
    error_message = "Tables by name: lower-case letters, digits, - and single _, with a letter first."
  }

  validation {
    condition     = alltrue(flatten([for template in var.templates : [for key in keys(template) : contains(local.template_keys, key)]]))
    error_message = "A template says some of ${join(", ", local.template_keys)}, and nothing else."
  }
}

variable "extra_settings" {
  description = "Further settings of the gateway, section and key with two underscores between, as docs/configuration.md has them: { limits__sessions_per_user = 3, secrets__max_age = \"5m\" }."
  type        = any
  default     = {}

  validation {
    condition     = can(keys(var.extra_settings)) && alltrue([for name in keys(var.extra_settings) : can(regex("^[a-z]+__[a-z]+(_[a-z]+)*$", name)) && !startswith(name, "templates__")])
    error_message = "Settings by section and key: limits__sessions_per_user, say. Templates have a variable of their own."
  }
}

variable "sessions_max" {
  description = "Sessions that there may be, of all gateways together, and for whose tasks there are addresses, with one zone gone, too. One gateway takes as many, because it may be the last that is there."
  type        = number
  default     = 500

  validation {
    condition     = var.sessions_max >= 1 && floor(var.sessions_max) == var.sessions_max
    error_message = "A whole number."
  }
}

variable "spot" {
  description = "Whether sessions run on Spot unless their template says otherwise: about 70 % cheaper, and ended with two minutes' notice."
  type        = bool
  default     = false
}

variable "file_systems" {
  description = "Names of the file systems for users' homes, up to 10,000 users each. Add at the end; never take one away."
  type        = list(string)
  default     = ["homes-1"]

  validation {
    condition     = length(var.file_systems) > 0 && length(distinct(var.file_systems)) == length(var.file_systems) && alltrue([for name in var.file_systems : can(regex("^[a-z0-9-]{1,32}$", name))])
    error_message = "At least one name, each once, of lower-case letters, digits and hyphens."
  }
}

variable "uid_range" {
  description = "The uids that users get, one each: the first and the last."
  type        = string
  default     = "2000000-2999999"

  validation {
    condition     = can(regex("^[0-9]+-[0-9]+$", var.uid_range)) && try(tonumber(split("-", var.uid_range)[1]) - tonumber(split("-", var.uid_range)[0]), 0) >= 9999 && try(tonumber(split("-", var.uid_range)[0]), 0) >= 1000
    error_message = "A range of at least 10,000 uids from 1000 up, such as \"2000000-2999999\"."
  }
}

variable "database" {
  description = "The database: the version that it is made with, instances, and Aurora capacity units (2 GiB each) between which they scale."
  type = object({
    engine_version = optional(string, "17.5")
    instances      = optional(number, 2)
    min_capacity   = optional(number, 0.5)
    max_capacity   = optional(number, 4)
  })
  default = {}

  validation {
    condition     = var.database.instances >= 1 && var.database.min_capacity >= 0.5 && var.database.max_capacity >= var.database.min_capacity
    error_message = "At least one instance, at least half a unit, and no less at most than at least."
  }
}

variable "backup_days" {
  description = "How long backups of database and files are kept."
  type        = number
  default     = 30

  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 35
    error_message = "7 to 35 days."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept: CloudWatch has only certain numbers."
  type        = number
  default     = 400

  validation {
    condition     = contains([7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "One of the numbers that CloudWatch has, such as 30, 90, 365 or 400."
  }
}

variable "leaving" {
  description = "The stages of a gateway's leaving, in seconds: new connections go elsewhere and those of clients are cut, bridges are told and requests under way end, the process is killed."
  type = object({
    deregistration = optional(number, 5)
    drain          = optional(number, 90)
    stop_timeout   = optional(number, 120)
  })
  default = {}

  validation {
    condition     = var.leaving.drain <= 90
    error_message = "A gateway drains for 90 seconds at most, so that it has left after 100."
  }

  validation {
    condition     = var.leaving.stop_timeout >= var.leaving.drain + 15 && var.leaving.stop_timeout <= 120
    error_message = "The process has 15 seconds after its drain, of which it takes 10 to end what is left, and Fargate waits 120 seconds at most."
  }

  validation {
    condition     = var.leaving.deregistration < min(var.leaving.drain, var.leaving.stop_timeout)
    error_message = "Connections are taken from a gateway in less time than it drains."
  }
}

variable "balancer_idle_seconds" {
  description = "How long a connection may be silent at the load balancer. Gateways ping every 20 s ± 10 %."
  type        = number
  default     = 120

  validation {
    condition     = var.balancer_idle_seconds > 3 * 22 && var.balancer_idle_seconds <= 4000
    error_message = "More than three pings at their slowest, 66 seconds, and no more than 4000."
  }
}

variable "requests_per_address" {
  description = "Requests and handshakes that one address may make in five minutes. Many people may share one."
  type        = number
  default     = 3000

  validation {
    condition     = var.requests_per_address >= 100
    error_message = "At least 100."
  }
}

variable "task_authorities" {
  description = "Parameters below the prefix and /gateway/ that hold the certificates of the tasks' private CA: one, or two while one replaces the other."
  type        = list(string)
  default     = ["task-authority"]

  validation {
    condition     = length(var.task_authorities) >= 1 && length(var.task_authorities) <= 2 && alltrue([for name in var.task_authorities : can(regex("^[A-Za-z0-9_.-]+$", name))])
    error_message = "One name, or two."
  }
}

variable "task_authority_key" {
  description = "The parameter there that holds the private key of one of them."
  type        = string
  default     = "task-authority-key"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+$", var.task_authority_key))
    error_message = "A name of letters, digits, _, . and -."
  }
}

variable "manage_registry_scanning" {
  description = "Whether the rules for scanning images are kept here. They are the account's, one set a region: by one deployment only."
  type        = bool
  default     = true
}

variable "images_kept" {
  description = "Images kept in each repository: how far back one can roll."
  type        = number
  default     = 50

  validation {
    condition     = var.images_kept >= 5
    error_message = "At least 5."
  }
}

variable "protect" {
  description = "Whether database and load balancers refuse to be deleted, and backups outlive them."
  type        = bool
  default     = true
}

variable "alarm_emails" {
  description = "Who gets a message when an alarm goes off. Each address has to confirm once."
  type        = list(string)
  default     = []
}
