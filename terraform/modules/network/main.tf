# The VPC, its subnets and where each of them leads. Who may talk to whom is in groups.tf.
#
#   public    the load balancer and the NAT gateways       to and from everywhere
#   gateways  gateways, endpoints, the tasks' balancer     out through a NAT gateway, for the issuers' keys
#   tasks     tasks and the file systems' mount targets    nowhere
#   database  the database                                 nowhere

locals {
  zones = { for index, zone in var.zones : zone => index }

  # The VPC in quarters: one for each zone's tasks, the last for everything else, which is in sixteenths.
  task_cidrs = { for zone, index in local.zones : zone => cidrsubnet(var.cidr, 2, index) }
  rest       = cidrsubnet(var.cidr, 2, 3)
  cidrs = {
    public   = { for zone, index in local.zones : zone => cidrsubnet(local.rest, 4, index) }
    gateway  = { for zone, index in local.zones : zone => cidrsubnet(local.rest, 4, 4 + index) }
    database = { for zone, index in local.zones : zone => cidrsubnet(local.rest, 4, 8 + index) }
  }

  # Of each subnet AWS keeps five addresses, and a mount target of each file system takes one.
  task_addresses = pow(2, 32 - (tonumber(split("/", var.cidr)[1]) + 2)) - 16
  nat_zones      = var.nat_per_zone ? local.zones : { (var.zones[0]) = 0 }
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.name }

  lifecycle {
    precondition {
      condition     = var.tasks_max <= local.task_addresses * (length(var.zones) - 1)
      error_message = "The tasks' subnets have ${local.task_addresses} addresses each: with one zone gone, ${var.tasks_max} tasks do not fit."
    }
  }
}

# What nobody names belongs to this one, and this one lets nothing through.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-unused" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each = local.zones

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = local.cidrs.public[each.key]
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_subnet" "gateway" {
  for_each = local.zones

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = local.cidrs.gateway[each.key]
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-gateway-${each.key}" }
}

resource "aws_subnet" "tasks" {
  for_each = local.zones

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = local.task_cidrs[each.key]
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-tasks-${each.key}" }
}

resource "aws_subnet" "database" {
  for_each = local.zones

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = local.cidrs.database[each.key]
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-database-${each.key}" }
}

resource "aws_eip" "nat" {
  for_each = local.nat_zones

  domain = "vpc"

  tags = { Name = "${var.name}-nat-${each.key}" }
}

resource "aws_nat_gateway" "this" {
  for_each = local.nat_zones

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = { Name = "${var.name}-${each.key}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-public" }
}

resource "aws_route" "public" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "public" {
  for_each = local.zones

  subnet_id      = aws_subnet.public[each.key].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "gateway" {
  for_each = local.zones

  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-gateway-${each.key}" }
}

# The route to the issuers, who publish their keys outside. Gateways only: nothing else has such a route.
resource "aws_route" "gateway" {
  for_each = local.zones

  route_table_id         = aws_route_table.gateway[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[var.nat_per_zone ? each.key : var.zones[0]].id
}

resource "aws_route_table_association" "gateway" {
  for_each = local.zones

  subnet_id      = aws_subnet.gateway[each.key].id
  route_table_id = aws_route_table.gateway[each.key].id
}

# Without a route of its own but, by its endpoint, to ECR's layers.
resource "aws_route_table" "tasks" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-tasks" }
}

resource "aws_route_table_association" "tasks" {
  for_each = local.zones

  subnet_id      = aws_subnet.tasks[each.key].id
  route_table_id = aws_route_table.tasks.id
}

resource "aws_route_table" "database" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-database" }
}

resource "aws_route_table_association" "database" {
  for_each = local.zones

  subnet_id      = aws_subnet.database[each.key].id
  route_table_id = aws_route_table.database.id
}

# Where tasks find gateways by a name that their certificates can carry.
resource "aws_route53_zone" "internal" {
  name = var.internal_zone

  vpc {
    vpc_id = aws_vpc.this.id
  }
}
