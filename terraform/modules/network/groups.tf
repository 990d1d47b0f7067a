# Who may talk to whom: one table, and out of it one rule at each end of every line. What is not in the table
# cannot be reached. Only DNS goes by no security group: that is dns.tf's.

locals {
  groups = {
    balancer          = "The load balancer that clients come to"
    gateway           = "Gateways"
    task_balancer     = "The load balancer that tasks come to"
    tasks             = "Tasks: hostile programs run in them"
    volumes           = "Mount targets of the file systems"
    database          = "The database"
    endpoints         = "AWS services that tasks and gateways need"
    gateway_endpoints = "AWS services that only gateways need"
  }

  # Between two groups.
  flows = {
    requests        = { from = "balancer", to = "gateway", port = var.ports.client, why = "Clients" }
    health          = { from = "balancer", to = "gateway", port = var.ports.admin, why = "Health checks" }
    dials           = { from = "tasks", to = "task_balancer", port = var.ports.task, why = "Bridges dial a gateway" }
    dials_forwarded = { from = "task_balancer", to = "gateway", port = var.ports.task, why = "Bridges with their own addresses" }
    task_health     = { from = "task_balancer", to = "gateway", port = var.ports.admin, why = "Health checks" }
    relays          = { from = "gateway", to = "gateway", port = var.ports.peer, why = "Gateways among themselves" }
    files           = { from = "tasks", to = "volumes", port = 2049, why = "Users files by NFS over TLS" }
    rows            = { from = "gateway", to = "database", port = var.ports.database, why = "Sessions" }
    task_services   = { from = "tasks", to = "endpoints", port = 443, why = "Images and logs" }
    services        = { from = "gateway", to = "endpoints", port = 443, why = "Images and logs" }
    providers       = { from = "gateway", to = "gateway_endpoints", port = 443, why = "Tasks, volumes and secrets" }
  }

  # To and from what has no group.
  outside = {
    clients  = { port = 443, cidrs = var.client_cidrs, why = "Clients" }
    redirect = { port = 80, cidrs = var.client_cidrs, why = "Sent on to 443" }
  }
  from_outside = merge([
    for name, flow in local.outside : {
      for cidr in flow.cidrs : "${name}-${cidr}" => { port = flow.port, cidr = cidr, why = flow.why }
    }
  ]...)
}

resource "aws_security_group" "this" {
  # checkov:skip=CKV2_AWS_5:They are attached in the modules that own what they protect.
  for_each = local.groups

  name        = "${var.name}-${replace(each.key, "_", "-")}"
  description = each.value
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-${replace(each.key, "_", "-")}" }
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = each.value.why
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = each.value.why
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = local.from_outside

  security_group_id = aws_security_group.this["balancer"].id
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  description       = each.value.why
}

# Issuers have names, and their addresses change: DNS Firewall decides which names there are.
resource "aws_vpc_security_group_egress_rule" "issuers" {
  security_group_id = aws_security_group.this["gateway"].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  description       = "Key sets of the issuers"
}

resource "aws_vpc_security_group_egress_rule" "layers" {
  for_each = toset(["tasks", "gateway"])

  security_group_id = aws_security_group.this[each.key].id
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  description       = "Image layers, which ECR keeps in S3"
}
