output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "Ids of the subnets by what is in them, in the order of the zones."
  value = {
    public   = [for zone in var.zones : aws_subnet.public[zone].id]
    gateway  = [for zone in var.zones : aws_subnet.gateway[zone].id]
    tasks    = [for zone in var.zones : aws_subnet.tasks[zone].id]
    database = [for zone in var.zones : aws_subnet.database[zone].id]
  }
}

output "balancer_cidrs" {
  description = "Where the load balancer's addresses are: what it says of a client's address is believed."
  value       = [for zone in var.zones : local.cidrs.public[zone]]
}

output "group_ids" {
  description = "Ids of the security groups by who is in them."
  value       = { for name, group in aws_security_group.this : name => group.id }
}

output "internal_zone_id" {
  description = "The private DNS zone."
  value       = aws_route53_zone.internal.zone_id
}
