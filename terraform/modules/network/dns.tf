# Which names can be looked up. A resolver answers everybody in the VPC whatever their security groups say, and a
# name is enough to carry data out: only these are asked for outside, and everything else has no answer.

locals {
  aws = "${var.region}.amazonaws.com"

  # Names in AWS's own zones, whose name servers nobody but AWS reads, and exact names.
  names = concat(
    [
      "api.ecr.${local.aws}",
      "${var.account_id}.dkr.ecr.${local.aws}",
      "prod-${var.region}-starport-layer-bucket.s3.${local.aws}",
      "logs.${local.aws}",
      "*.efs.${local.aws}",
      "ecs.${local.aws}",
      "elasticfilesystem.${local.aws}",
      "ssm.${local.aws}",
      "kms.${local.aws}",
      "*.${var.region}.rds.amazonaws.com",
      "*.${var.internal_zone}",
    ],
    var.issuer_hosts,
  )
}

resource "aws_route53_resolver_firewall_domain_list" "allowed" {
  name    = "${var.name}-allowed"
  domains = local.names
}

resource "aws_route53_resolver_firewall_domain_list" "everything" {
  name    = "${var.name}-everything"
  domains = ["*"]
}

resource "aws_route53_resolver_firewall_rule_group" "this" {
  name = var.name
}

resource "aws_route53_resolver_firewall_rule" "allowed" {
  name                    = "allowed"
  firewall_rule_group_id  = aws_route53_resolver_firewall_rule_group.this.id
  firewall_domain_list_id = aws_route53_resolver_firewall_domain_list.allowed.id
  priority                = 100
  action                  = "ALLOW"
  # A name that is allowed may lead to another: issuers are behind content networks.
  firewall_domain_redirection_action = "TRUST_REDIRECTION_DOMAIN"
}

resource "aws_route53_resolver_firewall_rule" "everything_else" {
  name                    = "everything-else"
  firewall_rule_group_id  = aws_route53_resolver_firewall_rule_group.this.id
  firewall_domain_list_id = aws_route53_resolver_firewall_domain_list.everything.id
  priority                = 200
  action                  = "BLOCK"
  block_response          = "NODATA"
}

resource "aws_route53_resolver_firewall_rule_group_association" "this" {
  name                   = var.name
  firewall_rule_group_id = aws_route53_resolver_firewall_rule_group.this.id
  vpc_id                 = aws_vpc.this.id
  priority               = 101
  mutation_protection    = "DISABLED"
}

# A firewall that fails lets nothing through.
resource "aws_route53_resolver_firewall_config" "this" {
  resource_id        = aws_vpc.this.id
  firewall_fail_open = "DISABLED"
}

resource "aws_cloudwatch_log_group" "dns" {
  name              = "/${var.name}/dns"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_route53_resolver_query_log_config" "this" {
  name            = var.name
  destination_arn = aws_cloudwatch_log_group.dns.arn
}

resource "aws_route53_resolver_query_log_config_association" "this" {
  resolver_query_log_config_id = aws_route53_resolver_query_log_config.this.id
  resource_id                  = aws_vpc.this.id
}

resource "aws_cloudwatch_log_metric_filter" "blocked" {
  name           = "${var.name}-dns-blocked"
  log_group_name = aws_cloudwatch_log_group.dns.name
  pattern        = "{ $.firewall_rule_action = \"BLOCK\" }"

  metric_transformation {
    name          = "DnsBlocked"
    namespace     = var.name
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "blocked" {
  alarm_name          = "${var.name}-dns-blocked"
  alarm_description   = "Programs look up names that are not theirs: somebody tries what is not allowed, or a name is missing."
  namespace           = var.name
  metric_name         = "DnsBlocked"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 1000
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}
