# Where clients come in: TLS ends here, and a firewall looks at what is asked (firewall.tf).

resource "aws_lb" "clients" {
  # checkov:skip=CKV2_AWS_76:The rules against Log4j are there; the check wants the list of anonymous addresses besides, and programs in data centres are clients.
  name               = "${var.name}-clients"
  load_balancer_type = "application"
  internal           = false
  subnets            = var.subnet_ids.public
  security_groups    = [var.group_ids.balancer]

  # A WebSocket on which nobody types has the gateway's pings only: this is above three of them.
  idle_timeout = var.seconds.balancer_idle

  # The gateway takes the last address that is none of its proxies': what a client claims stands before it.
  xff_header_processing_mode = "append"
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  enable_waf_fail_open       = false
  enable_deletion_protection = var.protect

  access_logs {
    bucket  = aws_s3_bucket.access_logs.bucket
    prefix  = "clients"
    enabled = true
  }

  depends_on = [aws_s3_bucket_policy.access_logs]
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.clients.arn
  port              = 443
  protocol          = "HTTPS"
  # TLS 1.2 and 1.3, with forward secrecy and authenticated encryption only.
  ssl_policy      = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
  certificate_arn = var.certificate_arn

  # So that a browser that was here once does not come without TLS again.
  routing_http_response_strict_transport_security_header_value = "max-age=31536000"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.clients.arn
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.clients.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_target_group" "clients" {
  # A prefix, because one that replaces another is there before the other is gone.
  name_prefix                   = "client"
  port                          = var.ports.client
  protocol                      = "HTTP"
  target_type                   = "ip"
  vpc_id                        = var.vpc_id
  load_balancing_algorithm_type = "least_outstanding_requests"
  # ECS waits for this before it tells a gateway to leave. No WebSocket ends in that time: what is left then the load
  # balancer cuts off, all at once and without a goaway, and clients' own back-off spreads them. So it is short.
  deregistration_delay = var.seconds.deregistration

  tags = { Name = "${var.name}-clients" }

  # ECS replaces a gateway that fails here. One that cannot reach the database is no better anew, and the database's
  # failing over takes a minute: so it takes two and a half.
  health_check {
    port                = var.ports.admin
    path                = "/readyz"
    matcher             = "200"
    interval            = 15
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 10
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "public" {
  count = var.public_zone_id == null ? 0 : 1

  zone_id = var.public_zone_id
  name    = var.public_host
  type    = "A"

  alias {
    name                   = aws_lb.clients.dns_name
    zone_id                = aws_lb.clients.zone_id
    evaluate_target_health = true
  }
}
