# The network, with no AWS at all: addresses, the gateways' way out, and which names there are. Who reaches whom is
# tests/terraform's to show.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name               = "trial"
  account_id         = "123456789012"
  region             = "us-east-1"
  partition          = "aws"
  zones              = ["us-east-1a", "us-east-1b", "us-east-1c"]
  cidr               = "10.64.0.0/16"
  nat_per_zone       = true
  tasks_max          = 10
  client_cidrs       = ["0.0.0.0/0"]
  issuer_hosts       = ["keys.example.com"]
  internal_zone      = "trial.internal"
  gateway_role_arn   = "arn:aws:iam::123456789012:role/trial-gateway"
  ports              = { client = 7800, admin = 7801, task = 7802, peer = 7803, database = 5432 }
  logs_key_arn       = "arn:aws:kms:us-east-1:123456789012:key/x"
  log_retention_days = 400
  alarm_topic_arn    = "arn:aws:sns:us-east-1:123456789012:x"
}

run "every_task_of_the_largest_deployment_has_an_address_with_one_zone_gone" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    tasks_max = 32000
  }

  assert {
    condition     = [for zone in var.zones : aws_subnet.tasks[zone].cidr_block] == ["10.64.0.0/18", "10.64.64.0/18", "10.64.128.0/18"]
    error_message = "A quarter of the VPC is each zone's tasks'."
  }

  assert {
    condition = length(distinct(concat(
      [for subnet in aws_subnet.public : subnet.cidr_block],
      [for subnet in aws_subnet.gateway : subnet.cidr_block],
      [for subnet in aws_subnet.database : subnet.cidr_block],
    ))) == 9
    error_message = "No two subnets have the same addresses."
  }

  assert {
    condition     = alltrue([for subnet in merge(aws_subnet.public, aws_subnet.tasks) : !subnet.map_public_ip_on_launch])
    error_message = "Nothing gets a public address by itself."
  }

  assert {
    condition     = toset([for route in aws_route.gateway : route.destination_cidr_block]) == toset(["0.0.0.0/0"]) && length(aws_route.gateway) == 3
    error_message = "Gateways have a route to the issuers."
  }

  assert {
    condition     = toset([for endpoint in aws_vpc_endpoint.shared : endpoint.service_name]) == toset(["com.amazonaws.us-east-1.ecr.api", "com.amazonaws.us-east-1.ecr.dkr", "com.amazonaws.us-east-1.logs"])
    error_message = "Tasks have endpoints for images and logs."
  }

  assert {
    condition     = toset(keys(aws_vpc_endpoint.gateway)) == toset(["ecs", "efs", "ssm", "kms"])
    error_message = "Gateways have endpoints for tasks, volumes and secrets."
  }
}

# Applied, because the groups' ids are not known before.
run "gateways_alone_reach_each_other" {
  module {
    source = "./modules/network"
  }

  assert {
    condition = [
      for rule in aws_vpc_security_group_ingress_rule.flow : [rule.security_group_id, rule.referenced_security_group_id, rule.to_port, rule.ip_protocol]
      if rule.from_port <= 7803 && rule.to_port >= 7803
    ] == [[aws_security_group.this["gateway"].id, aws_security_group.this["gateway"].id, 7803, "tcp"]]
    error_message = "The listener for other gateways is reached from the gateways' own group, and from nowhere else."
  }

  assert {
    condition = [
      for rule in aws_vpc_security_group_egress_rule.flow : [rule.security_group_id, rule.referenced_security_group_id, rule.to_port, rule.ip_protocol]
      if rule.from_port <= 7803 && rule.to_port >= 7803
    ] == [[aws_security_group.this["gateway"].id, aws_security_group.this["gateway"].id, 7803, "tcp"]]
    error_message = "Gateways call their own group there, and nobody else calls there."
  }

  assert {
    condition = toset([
      for rule in aws_vpc_security_group_egress_rule.flow : "${rule.referenced_security_group_id} ${rule.to_port}" if rule.security_group_id == aws_security_group.this["tasks"].id
      ]) == toset([
      for group, port in { task_balancer = 7802, volumes = 2049, endpoints = 443 } : "${aws_security_group.this[group].id} ${port}"
    ])
    error_message = "Tasks reach the load balancer for bridges, their files, images and logs: no gateway itself, at no port."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_egress_rule.flow : rule.from_port == rule.to_port]) && alltrue([for rule in merge(aws_vpc_security_group_ingress_rule.clients, { issuers = aws_vpc_security_group_egress_rule.issuers }, aws_vpc_security_group_egress_rule.layers) : rule.from_port == rule.to_port && contains([80, 443], rule.to_port)])
    error_message = "What comes from elsewhere and goes elsewhere has ports of its own."
  }
}

run "what_is_not_named_has_no_answer" {
  command = plan

  module {
    source = "./modules/network"
  }

  assert {
    condition     = aws_route53_resolver_firewall_rule.everything_else.action == "BLOCK" && aws_route53_resolver_firewall_rule.allowed.priority < aws_route53_resolver_firewall_rule.everything_else.priority && aws_route53_resolver_firewall_config.this.firewall_fail_open == "DISABLED"
    error_message = "What is not allowed has no answer, also when the firewall fails."
  }

  assert {
    condition     = alltrue([for name in aws_route53_resolver_firewall_domain_list.allowed.domains : name == "keys.example.com" || endswith(name, ".amazonaws.com") || endswith(name, ".trial.internal")])
    error_message = "Names are AWS's, the deployment's and the issuers'."
  }
}

run "more_tasks_than_there_are_addresses_is_refused" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    cidr      = "10.64.0.0/20"
    tasks_max = 3000
  }

  expect_failures = [aws_vpc.this]
}

run "one_nat_gateway_carries_all_zones_where_it_is_asked_for" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    nat_per_zone = false
    client_cidrs = ["198.51.100.0/24", "203.0.113.0/24"]
  }

  assert {
    condition     = keys(aws_nat_gateway.this) == ["us-east-1a"] && length(aws_route.gateway) == 3
    error_message = "One NAT gateway, and every zone's gateways have a route to it."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.clients : rule.cidr_ipv4]) == toset(["198.51.100.0/24", "203.0.113.0/24"])
    error_message = "Clients come from where they may."
  }
}
