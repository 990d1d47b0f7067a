# What the load balancer turns away before a gateway sees it. It sees requests and handshakes; what goes through
# a WebSocket it does not see.

resource "aws_wafv2_web_acl" "this" {
  name  = "${var.name}-clients"
  scope = "REGIONAL"

  default_action {
    allow {}
  }

  rule {
    name     = "reputation"
    priority = 10

    override_action {
      none {}
    }

    statement {
      managed_rule_group_statement {
        vendor_name = "AWS"
        name        = "AWSManagedRulesAmazonIpReputationList"
      }
    }

    visibility_config {
      metric_name                = "${var.name}-reputation"
      cloudwatch_metrics_enabled = true
      sampled_requests_enabled   = false
    }
  }

  rule {
    name     = "flood"
    priority = 20

    action {
      block {}
    }

    statement {
      rate_based_statement {
        limit                 = var.requests_per_address
        aggregate_key_type    = "IP"
        evaluation_window_sec = 300
      }
    }

    visibility_config {
      metric_name                = "${var.name}-flood"
      cloudwatch_metrics_enabled = true
      sampled_requests_enabled   = false
    }
  }

  rule {
    name     = "known-bad"
    priority = 30

    override_action {
      none {}
    }

    statement {
      managed_rule_group_statement {
        vendor_name = "AWS"
        name        = "AWSManagedRulesKnownBadInputsRuleSet"
      }
    }

    visibility_config {
      metric_name                = "${var.name}-known-bad"
      cloudwatch_metrics_enabled = true
      sampled_requests_enabled   = false
    }
  }

  rule {
    name     = "common"
    priority = 40

    override_action {
      none {}
    }

    statement {
      managed_rule_group_statement {
        vendor_name = "AWS"
        name        = "AWSManagedRulesCommonRuleSet"

        # Programs that speak the API need not say what they are.
        rule_action_override {
          name = "NoUserAgent_HEADER"

          action_to_use {
            count {}
          }
        }
      }
    }

    visibility_config {
      metric_name                = "${var.name}-common"
      cloudwatch_metrics_enabled = true
      sampled_requests_enabled   = false
    }
  }

  visibility_config {
    metric_name                = "${var.name}-clients"
    cloudwatch_metrics_enabled = true
    # Samples would show headers, and tokens are headers.
    sampled_requests_enabled = false
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  resource_arn = aws_lb.clients.arn
  web_acl_arn  = aws_wafv2_web_acl.this.arn
}

resource "aws_cloudwatch_log_group" "firewall" {
  # AWS WAF writes to groups of this prefix only.
  name              = "aws-waf-logs-${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_wafv2_web_acl_logging_configuration" "this" {
  resource_arn            = aws_wafv2_web_acl.this.arn
  log_destination_configs = [aws_cloudwatch_log_group.firewall.arn]

  # A bearer's token, and a browser's ticket.
  redacted_fields {
    single_header {
      name = "authorization"
    }
  }

  redacted_fields {
    single_header {
      name = "sec-websocket-protocol"
    }
  }
}
